import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.media.sockets import DEADLINE, Line, connected
from workers.media.socket import BadFrame
from workers.media.websocket import AudioFrame, CallerClock, WebsocketWire, decode_audio, decode_text
from workers.media.wire import Audio, Dtmf, HungUp, Opened, PlayedSamples, PlayedTo, Reason, Resumed, Typed

HELLO = {"type": "hello", "version": 1, "rate": 16_000, "played_reports": True, "captions": True}


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with connected(WebsocketWire) as line:
        yield line


@pytest.fixture
async def call(line: Line) -> Line:
    """A line on which hello and welcome were said."""
    await line.client.send_json(HELLO)
    assert isinstance(await line.heard(), Opened)
    await line.wire.welcome("s1", resume="token")
    assert (await line.sent())["type"] == "welcome"
    return line


# -- frames ----------------------------------------------------------------------------------------------

frames = st.builds(
    AudioFrame,
    sequence=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**53),
    pcm=st.binary(max_size=640).map(lambda data: data[: len(data) // 2 * 2]),
)


@given(frames)
def test_an_audio_frame_survives_the_round_trip(frame: AudioFrame) -> None:
    assert decode_audio(frame.encode()) == frame


def test_the_header_is_as_documented() -> None:
    assert AudioFrame(7, 960, b"\x01\x02").encode() == struct.pack("<BBHIQ", 1, 1, 0, 7, 960) + b"\x01\x02"


@given(st.binary(max_size=64))
def test_no_bytes_break_the_decoders(data: bytes) -> None:
    for decode in (decode_audio, decode_text):
        try:
            decode(data)
        except BadFrame:
            pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b'{"type":"unheard"}',
        b'{"type":"text"}',
        b'{"type":"text","text":""}',
        b'{"type":"text","text":"hi","more":1}',
        b'{"type":"dtmf","digits":"1x"}',
        b'{"type":"played","samples":-1}',
        b'{"type":"text","text":"%b"}' % (b"a" * 4001),
    ],
)
def test_a_wrong_message_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_text(data)


# -- the caller's clock ----------------------------------------------------------------------------------


def test_a_gap_becomes_silence() -> None:
    clock = CallerClock(8000)
    assert clock.take(AudioFrame(0, 3, b"\x01\x01")) == (bytes(6) + b"\x01\x01", 3)


def test_what_was_heard_is_cut_off() -> None:
    clock = CallerClock(8000)
    clock.take(AudioFrame(0, 0, b"\x01\x01\x02\x02"))
    assert clock.take(AudioFrame(1, 1, b"\x02\x02\x03\x03")) == (b"\x03\x03", -1)


def test_a_wild_position_is_refused() -> None:
    clock = CallerClock(8000)
    with pytest.raises(BadFrame):
        clock.take(AudioFrame(0, 8000 * 60, b"\x01\x01"))
    assert clock.received == 0


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 200)), max_size=20))
def test_the_clock_counts_what_it_gives(pieces: list[tuple[int, int]]) -> None:
    clock = CallerClock(8000)
    given_out = sum(len(clock.take(AudioFrame(0, at, bytes(2 * count)))[0]) // 2 for at, count in pieces)
    assert clock.received == given_out == max((at + count for at, count in pieces), default=0)


# -- the wire --------------------------------------------------------------------------------------------


async def test_hello_opens_the_wire_at_its_rate(line: Line) -> None:
    await line.client.send_json({**HELLO, "rate": 48_000, "name": "Ada"})
    assert await line.heard() == Opened("", "Ada", "", 48_000)
    assert (line.wire.rate, line.wire.reports_playback) == (48_000, True)


async def test_welcome_names_session_rate_and_resume(line: Line) -> None:
    await line.client.send_json(HELLO)
    await line.heard()
    await line.wire.welcome("s1", resume="again", received=320)
    welcome = await line.sent()
    assert (welcome["session"], welcome["rate"], welcome["resume"], welcome["received"]) == ("s1", 16_000, "again", 320)


async def test_a_returning_client_says_where_it_stands(line: Line) -> None:
    await line.client.send_json({**HELLO, "resume": {"played": 500}})
    opened = await line.heard()
    assert isinstance(opened, Opened) and opened.resumed == Resumed(played=500)


async def test_a_returning_client_goes_on_where_it_was(line: Line) -> None:
    await line.client.send_json({**HELLO, "resume": {"played": 500}})
    await line.heard()
    await line.wire.welcome("s1", received=100, sent=900)
    await line.client.send_bytes(AudioFrame(0, 98, b"\1\1\2\2\3\3").encode())
    await line.wire.play(b"\0\0")
    assert await line.heard() == Audio(b"\3\3")
    await line.sent()
    assert decode_audio(await line.client.receive_bytes(timeout=DEADLINE)).position == 900


@pytest.mark.parametrize(("key", "value"), [("rate", 11_025), ("version", 2), ("rate", "16000")])
async def test_a_wrong_hello_is_explained(line: Line, key: str, value: object) -> None:
    await line.client.send_json({**HELLO, key: value})
    error = await line.sent()
    assert (error["type"], error["code"]) == ("error", "bad_message")
    assert key in error["message"]


async def test_nothing_is_taken_before_hello(line: Line) -> None:
    await line.client.send_bytes(AudioFrame(0, 0, b"\1\1").encode())
    await line.client.send_json({"type": "text", "text": "hi"})
    await line.client.send_json(HELLO)
    assert isinstance(await line.heard(), Opened)
    assert line.wire.counts["garbage"] == 2


async def test_who_never_says_hello_is_let_go() -> None:
    async with connected(lambda request: WebsocketWire(request, handshake=0.05)) as line:
        assert await line.heard() == HungUp(Reason.NEVER_OPENED)
        assert (await line.client.receive(timeout=DEADLINE)).type is WSMsgType.CLOSE


async def test_audio_text_and_digits_come_in(call: Line) -> None:
    await call.client.send_bytes(AudioFrame(0, 0, b"\1\1\2\2").encode())
    await call.client.send_json({"type": "text", "text": "Grüß dich"})
    await call.client.send_json({"type": "dtmf", "digits": "42#"})
    assert [await call.heard() for _ in range(3)] == [Audio(b"\1\1\2\2"), Typed("Grüß dich"), Dtmf("42#")]


async def test_garbage_is_explained_and_ignored(call: Line) -> None:
    await call.client.send_str('{"type":"text","text":7}')
    assert "text" in (await call.sent())["message"]
    await call.client.send_bytes(b"\1")
    assert (await call.sent())["code"] == "bad_message"
    await call.client.send_json({"type": "text", "text": "still here"})
    assert await call.heard() == Typed("still here")


async def test_a_ping_is_answered(call: Line) -> None:
    await call.client.send_json({"type": "ping", "id": "a1"})
    assert await call.sent() == {"type": "pong", "id": "a1"}


async def test_agent_audio_counts_its_positions(call: Line) -> None:
    await call.wire.play(b"\1\1\2\2")
    await call.wire.play(b"\3\3")
    first = decode_audio(await call.client.receive_bytes(timeout=DEADLINE))
    second = decode_audio(await call.client.receive_bytes(timeout=DEADLINE))
    assert (first, second) == (AudioFrame(0, 0, b"\1\1\2\2"), AudioFrame(1, 2, b"\3\3"))


async def test_reports_say_what_was_heard(call: Line) -> None:
    await call.wire.play(bytes(200))
    await call.wire.mark(1)
    await call.client.send_json({"type": "played", "samples": 60})
    await call.client.send_json({"type": "played", "samples": 5000})
    assert [await call.heard() for _ in range(3)] == [PlayedSamples(60), PlayedSamples(100), PlayedTo(1)]


async def test_clear_names_the_position(call: Line) -> None:
    await call.wire.play(bytes(200))
    await call.wire.mark(1)
    await call.wire.clear()
    await call.client.send_json({"type": "played", "samples": 100})
    assert await call.heard() == PlayedSamples(100)
    await call.wire.play(b"\1\1")
    messages = [await call.client.receive(timeout=DEADLINE) for _ in range(2)]
    assert b'{"type":"clear","position":100}' in [
        message.data.encode() for message in messages if message.type is WSMsgType.TEXT
    ]


async def test_captions_come_only_when_asked_for(line: Line) -> None:
    await line.client.send_json({**HELLO, "captions": False})
    await line.heard()
    await line.wire.tell({"type": "transcript", "final": True, "text": "hidden"})
    await line.wire.tell({"type": "state", "state": "listening"})
    assert await line.sent() == {"type": "state", "state": "listening"}


async def test_bye_is_a_hangup(call: Line) -> None:
    await call.client.send_json({"type": "bye"})
    assert await call.heard() == HungUp(Reason.HANGUP)


async def test_a_close_is_a_hangup(call: Line) -> None:
    await call.client.close()
    assert await call.heard() == HungUp(Reason.HANGUP)


async def test_a_cut_line_is_lost(call: Line) -> None:
    call.transport.abort()
    assert await call.heard() == HungUp(Reason.LOST)


async def test_our_close_sends_what_waits(call: Line) -> None:
    await call.wire.tell({"type": "ended", "reason": "ended"})
    closing = asyncio.create_task(call.wire.close("ended"))
    assert await call.sent() == {"type": "ended", "reason": "ended"}
    assert (await call.client.receive(timeout=DEADLINE)).type is WSMsgType.CLOSE
    await closing
    assert await call.heard() == HungUp(Reason.CLOSED)


async def test_a_socket_that_takes_nothing_is_lost() -> None:
    async with connected(lambda request: WebsocketWire(request, patience=0.05)) as line:
        line.transport.pause_reading()
        await line.client.send_json(HELLO)
        await line.heard()
        for _ in range(200):
            await line.wire.play(bytes(96_000))
        assert await line.heard() == HungUp(Reason.LOST)
        assert line.wire.counts["dropped"] > 0
        line.transport.abort()


async def test_captions_in_progress_give_way() -> None:
    async with connected(lambda request: WebsocketWire(request)) as line:
        line.transport.pause_reading()
        await line.client.send_json(HELLO)
        await line.heard()
        await line.wire.play(bytes(90_000))
        await line.wire.tell({"type": "transcript", "final": False, "text": "so far"})
        assert line.wire.counts["dropped"] == 1
        line.transport.resume_reading()
