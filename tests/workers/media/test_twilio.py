import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.media.sockets import Line, connected
from workers.media import mulaw, twilio
from workers.media.socket import BadFrame
from workers.media.wire import Audio, Dtmf, HungUp, Opened, PlayedTo, Reason

CALL = "CA" + "1" * 32
STREAM = "MZ" + "2" * 32
SILENCE = b"\xff" * 160
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
SIGNED = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def start(call: str = CALL) -> dict[str, object]:
    body = {
        "accountSid": "AC3",
        "streamSid": STREAM,
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"desk": "north"},
    }
    return {"event": "start", "sequenceNumber": "1", "start": body, "streamSid": STREAM}


def media(chunk: int, payload: bytes = SILENCE, track: str = "inbound") -> dict[str, object]:
    body = {"track": track, "chunk": str(chunk), "timestamp": str(20 * chunk), "payload": b64encode(payload).decode()}
    return {"event": "media", "sequenceNumber": str(chunk + 1), "media": body, "streamSid": STREAM}


def mark(name: str) -> dict[str, object]:
    return {"event": "mark", "sequenceNumber": "9", "streamSid": STREAM, "mark": {"name": name}}


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with connected(lambda request: twilio.TwilioWire(request, call_id=CALL)) as line:
        yield line


@pytest.fixture
async def call(line: Line) -> Line:
    """A line on which the stream has started."""
    await line.client.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    await line.client.send_json(start())
    assert isinstance(await line.heard(), Opened)
    return line


# -- frames ----------------------------------------------------------------------------------------------


def test_a_media_frame_carries_mulaw() -> None:
    frame = twilio.decode(json.dumps(media(2, b"\x00\x80")).encode())
    assert isinstance(frame, twilio.Media)
    assert (frame.media.chunk, frame.media.payload) == (2, b"\x00\x80")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"event":"unheard"}',
        b'{"event":"media"}',
        b'{"event":"media","media":{"payload":"?"}}',
        b'{"event":"dtmf","dtmf":{"digit":"12"}}',
        b'{"event":"mark","mark":{"name":7}}',
    ],
)
def test_garbage_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        twilio.decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    try:
        twilio.decode(data)
    except BadFrame:
        pass


# -- order -----------------------------------------------------------------------------------------------


def ordered(*numbers: int) -> tuple[list[bytes], Counter[str]]:
    counts: Counter[str] = Counter()
    order = twilio.ChunkOrder(counts)
    return [pcm for number in numbers for pcm in order.take(number, b"%02d" % number)], counts


def test_swapped_chunks_are_put_in_order() -> None:
    assert ordered(1, 3, 2, 4)[0] == [b"01", b"02", b"03", b"04"]


def test_doubled_chunks_are_dropped() -> None:
    chunks, counts = ordered(1, 2, 2, 1, 3)
    assert chunks == [b"01", b"02", b"03"]
    assert counts["double"] == 2


def test_a_lost_chunk_becomes_silence() -> None:
    chunks, counts = ordered(1, 3, 4, 5, 6)
    assert chunks == [b"01", b"\0\0", b"03", b"04", b"05", b"06"]
    assert counts["filled"] == 1


def test_a_long_gap_is_a_jump() -> None:
    chunks, counts = ordered(1, 3, 900, 901)
    assert chunks == [b"01", b"03", b"900", b"901"]
    assert counts["jump"] == 1


def test_chunks_without_numbers_pass() -> None:
    assert ordered(0, 0, 0)[0] == [b"00", b"00", b"00"]


@given(st.permutations(range(1, 60)).map(lambda numbers: sorted(numbers, key=lambda n: n // 3)))
def test_neighbours_may_come_in_any_order(numbers: list[int]) -> None:
    heard = ordered(*numbers)[0]
    assert heard == sorted(heard)


# -- the wire --------------------------------------------------------------------------------------------


async def test_the_start_opens_the_wire(line: Line) -> None:
    await line.client.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    await line.client.send_json(start())
    assert await line.heard() == Opened(CALL, "", "", 8000, {"desk": "north"})


async def test_another_call_is_refused(line: Line) -> None:
    await line.client.send_json(start("CA" + "9" * 32))
    fact = await line.heard()
    assert isinstance(fact, HungUp) and fact.reason is Reason.REFUSED


async def test_audio_before_the_start_is_dropped(line: Line) -> None:
    await line.client.send_json(media(1))
    await line.client.send_json(start())
    assert isinstance(await line.heard(), Opened)


async def test_the_caller_is_heard_in_pcm(call: Line) -> None:
    await call.client.send_json(media(1, b"\x00\x80\xff"))
    assert await call.heard() == Audio(mulaw.decode(b"\x00\x80\xff"))


async def test_the_outbound_track_is_not_heard(call: Line) -> None:
    await call.client.send_json(media(1, track="outbound"))
    await call.client.send_json(
        {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": "#"}}
    )
    assert await call.heard() == Dtmf("#")


async def test_garbage_is_counted_and_ignored(call: Line) -> None:
    await call.client.send_str("garbage")
    await call.client.send_bytes(b"\x01\x02")
    await call.client.send_json(media(1))
    assert isinstance(await call.heard(), Audio)
    assert call.wire.counts["garbage"] == 2


async def test_the_agent_is_played_in_mulaw(call: Line) -> None:
    pcm = mulaw.decode(b"\x00\x80\xff")
    await call.wire.play(pcm)
    frame = await call.sent()
    assert (frame["event"], frame["streamSid"]) == ("media", STREAM)
    assert b64decode(frame["media"]["payload"]) == b"\x00\x80\xff"


async def test_a_mark_that_returns_was_heard(call: Line) -> None:
    await call.wire.mark(1)
    await call.wire.mark(2)
    await call.client.send_json(await call.sent())
    assert await call.heard() == PlayedTo(1)


async def test_marks_overtaken_by_clear_say_nothing(call: Line) -> None:
    await call.wire.mark(1)
    sent = await call.sent()
    await call.wire.clear()
    await call.wire.mark(2)
    assert (await call.sent())["event"] == "clear"
    for frame in (sent, mark("not ours"), await call.sent()):
        await call.client.send_json(frame)
    assert await call.heard() == PlayedTo(2)
    assert call.wire.counts["stale_mark"] == 2


async def test_a_stop_is_a_hangup(call: Line) -> None:
    await call.client.send_json({"event": "stop", "streamSid": STREAM, "stop": {"accountSid": "AC3", "callSid": CALL}})
    assert await call.heard() == HungUp(Reason.HANGUP)


# -- TwiML -----------------------------------------------------------------------------------------------


def test_twiml_connects_and_then_asks_again() -> None:
    response = ElementTree.fromstring(
        twilio.twiml("wss://a.example/media/twilio/t?x=1&y=2", "https://a.example/twilio/s")
    )
    assert [child.tag for child in response] == ["Connect", "Redirect"]
    assert response[0][0].get("url") == "wss://a.example/media/twilio/t?x=1&y=2"
    assert (response[1].text, response[1].get("method")) == ("https://a.example/twilio/s", "POST")


def test_what_is_said_is_escaped() -> None:
    response = ElementTree.fromstring(twilio.say("Tom & Jerry <are> away"))
    assert [child.tag for child in response] == ["Say", "Hangup"]
    assert response[0].text == "Tom & Jerry <are> away"


def test_the_documented_signature_is_valid() -> None:
    assert twilio.valid_signature("12345", URL, SIGNED, SIGNATURE)


@pytest.mark.parametrize("signature", ["", "ü", SIGNATURE[:-1], SIGNATURE.lower()])
def test_another_signature_is_not(signature: str) -> None:
    assert not twilio.valid_signature("12345", URL, SIGNED, signature)


@pytest.mark.parametrize(
    ("token", "url", "form"),
    [
        ("12346", URL, SIGNED),
        ("12345", URL + "3", SIGNED),
        ("12345", URL, {**SIGNED, "Digits": "1235"}),
        ("12345", URL, {**SIGNED, "Extra": ""}),
    ],
)
def test_a_changed_request_is_not_signed(token: str, url: str, form: dict[str, str]) -> None:
    assert not twilio.valid_signature(token, url, form, SIGNATURE)
