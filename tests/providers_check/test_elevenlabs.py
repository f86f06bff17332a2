"""The ElevenLabs stand-in: HTTP by the SDK, the multi-context socket by a bare one, which the SDK lacks."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError

from tests.providers import tones
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_SPEAK, ELEVENLABS_STREAM, RACHEL
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.ulaw import from_ulaw

TEXT = "The ferry leaves at half past ten. Please be there early."


@asynccontextmanager
async def speaking(
    standins: StandIns, voice: str = RACHEL, **options: Any
) -> AsyncIterator[websockets.ClientConnection]:
    query = {"model_id": "eleven_flash_v2_5", "output_format": "pcm_16000", **options}
    base = standins.url.replace("http", "ws")
    address = f"{base}/v1/text-to-speech/{voice}/multi-stream-input?{urlencode(query)}"
    headers = {"xi-api-key": "key"}
    async with websockets.connect(address, additional_headers=headers, proxy=None, compression=None) as socket:
        yield socket


async def tell(socket: websockets.ClientConnection, context: str, **order: Any) -> None:
    await socket.send(json.dumps({"context_id": context, **order}))


async def ask(socket: websockets.ClientConnection, context: str, text: str = TEXT) -> None:
    """A whole text, and the end of its context."""
    await tell(socket, context, text=f"{text} ", flush=True)
    await tell(socket, context, close_context=True)


async def answers(socket: websockets.ClientConnection, contexts: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The messages of each context, until so many have ended."""
    found: dict[str, list[dict[str, Any]]] = {}
    while sum(bool(one[-1].get("isFinal")) for one in found.values()) < contexts:
        message = json.loads(await socket.recv())
        found.setdefault(message["contextId"], []).append(message)
    return found


def audio(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["audio"]) for message in messages if message.get("audio"))


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
async def test_a_context_speaks_its_text(standins: StandIns, rate: int) -> None:
    async with speaking(standins, output_format=f"pcm_{rate}") as socket:
        await ask(socket, "turn-1")
        found = await answers(socket)
    assert tones.is_exact(TEXT, tones.decode(audio(found["turn-1"]), rate))


async def test_a_context_speaks_ulaw(standins: StandIns) -> None:
    async with speaking(standins, output_format="ulaw_8000") as socket:
        await ask(socket, "turn-1")
        pcm = from_ulaw(audio((await answers(socket))["turn-1"]))
    assert tones.is_exact(TEXT, tones.decode(pcm, 8000))


async def test_five_contexts_do_not_mix(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(each_ms=1))
    texts = {f"turn-{place}": f"This is the answer to question {place}." for place in range(5)}
    async with speaking(standins) as socket:
        for context, text in texts.items():
            await ask(socket, context, text)
        found = await answers(socket, contexts=5)
    for context, text in texts.items():
        assert tones.is_exact(text, tones.decode(audio(found[context]), 16_000))


async def test_a_sixth_context_closes_the_socket(standins: StandIns) -> None:
    async with speaking(standins) as socket:
        for place in range(6):
            await tell(socket, f"turn-{place}", text=" ")
        assert json.loads(await socket.recv())["error"] == "max_active_conversations"
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 1008


async def test_a_closed_context_frees_its_place(standins: StandIns) -> None:
    async with speaking(standins) as socket:
        for place in range(12):
            await ask(socket, f"turn-{place}", "Yes.")
            assert await answers(socket)


async def test_text_waits_for_its_flush(standins: StandIns) -> None:
    async with speaking(standins) as socket:
        await tell(socket, "a", text="Never flushed. ")
        await tell(socket, "a", close_context=True)
        assert audio((await answers(socket))["a"]) == b""


async def test_a_flush_alone_ends_nothing(standins: StandIns) -> None:
    async with speaking(standins) as socket:
        await tell(socket, "a", text="Yes. ", flush=True)
        await tell(socket, "a", text="No. ", flush=True)
        await tell(socket, "a", close_context=True)
        messages = (await answers(socket))["a"]
    assert [bool(message.get("isFinal")) for message in messages].count(True) == 1
    assert tones.is_exact("Yes. No.", tones.decode(audio(messages), 16_000))


async def test_auto_mode_speaks_sentences(standins: StandIns) -> None:
    async with speaking(standins, auto_mode="true") as socket:
        await tell(socket, "a", text="The ferry ")
        await tell(socket, "a", text="leaves now. ")
        assert json.loads(await socket.recv())["audio"]


async def test_alignment_tells_every_character(standins: StandIns) -> None:
    async with speaking(standins, sync_alignment="true") as socket:
        await ask(socket, "a", "The ferry leaves.")
        messages = (await answers(socket))["a"]
    chars = [char for message in messages if message.get("alignment") for char in message["alignment"]["chars"]]
    assert "".join(chars) == "The ferry leaves. "


async def test_settings_are_recorded_and_kept(standins: StandIns) -> None:
    settings = {"stability": 0.5, "similarity_boost": 0.75, "speed": 2.0}
    async with speaking(standins, model_id="eleven_flash_v2_5") as socket:
        await tell(socket, "a", text=" ", voice_settings=settings)
        await ask(socket, "a", TEXT)
        fast = audio((await answers(socket))["a"])
    (recorded,) = standins.requests_to(ELEVENLABS_CONNECT)
    assert recorded.messages[0]["voice_settings"] == settings
    assert recorded.query["model_id"] == "eleven_flash_v2_5" and recorded.headers["xi-api-key"] == "key"
    assert len(fast) < 0.7 * len(tones.encode(TEXT, 16_000))


async def test_close_socket_speaks_what_was_flushed(standins: StandIns) -> None:
    async with speaking(standins) as socket:
        await tell(socket, "a", text="Yes. ", flush=True)
        await socket.send(json.dumps({"close_socket": True}))
        messages = [json.loads(message) async for message in socket]
    assert messages[-1]["isFinal"] and audio(messages)


async def test_inactivity_closes_the_socket(standins: StandIns) -> None:
    async with speaking(standins, inactivity_timeout="0.05") as socket:
        assert json.loads(await socket.recv())["error"] == "input_timeout_exceeded"


async def test_an_unknown_voice_is_refused(standins: StandIns) -> None:
    async with speaking(standins, voice="nobody") as socket:
        assert json.loads(await socket.recv())["error"] == "voice_id_does_not_exist"


async def test_a_wrong_format_is_refused(standins: StandIns) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with speaking(standins, output_format="mp3_44100_128"):
            pass


async def test_one_context_stalls_another_not(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(contains="stall", fault=Fault.STALL, after=2))
    async with speaking(standins) as socket:
        await ask(socket, "a", "Please stall in the middle of this.")
        await ask(socket, "b", "This is fine.")
        found = await answers(socket)
    assert len(found["a"]) == 2 and "isFinal" in found["b"][-1]
    (whole,) = tones.decode(audio(found["b"]), 16_000)
    assert whole.complete


async def test_a_cut_leaves_a_broken_sentence(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.CUT, after=4))
    received = []
    async with speaking(standins) as socket:
        await ask(socket, "a")
        with pytest.raises(websockets.ConnectionClosedError):
            while True:
                received.append(json.loads(await socket.recv()))
    assert not any(heard.complete for heard in tones.decode(audio(received), 16_000))


async def test_a_clean_end_has_no_final(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.END, after=4))
    async with speaking(standins) as socket:
        await ask(socket, "a")
        received = [json.loads(message) async for message in socket]
    assert len(received) == 4 and not any(message["isFinal"] for message in received)


async def test_garbage_cannot_be_read(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.GARBAGE, after=1))
    async with speaking(standins) as socket:
        await ask(socket, "a")
        await socket.recv()
        with pytest.raises(json.JSONDecodeError):
            json.loads(await socket.recv())


@pytest.mark.parametrize("message", ["hello", "[1]"])
async def test_what_is_no_order_closes_the_socket(standins: StandIns, message: str) -> None:
    async with speaking(standins) as socket:
        await socket.send(message)
        assert json.loads(await socket.recv())["error"] == "invalid_message"


@pytest.mark.parametrize("fault", [Fault.EMPTY, Fault.SILENCE])
async def test_a_final_without_a_voice(standins: StandIns, fault: Fault) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=fault))
    async with speaking(standins) as socket:
        await ask(socket, "a")
        pcm = audio((await answers(socket))["a"])
    assert not pcm.strip(b"\0") and bool(pcm) is (fault is Fault.SILENCE)


async def test_quota_is_told_on_the_socket(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.REFUSE, status=402))
    async with speaking(standins) as socket:
        await ask(socket, "a")
        assert json.loads(await socket.recv())["error"] == "quota_exceeded"


async def test_a_voice_that_never_answers(standins: StandIns) -> None:
    standins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.NEVER))
    async with speaking(standins) as socket:
        await ask(socket, "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await socket.recv()


# -- HTTP ------------------------------------------------------------------------------------------------


async def test_the_sdk_streams_speech(standins: StandIns, elevenlabs_client: AsyncElevenLabs) -> None:
    pieces = elevenlabs_client.text_to_speech.stream(RACHEL, text=TEXT, output_format="pcm_8000")
    pcm = b"".join([piece async for piece in pieces])
    assert tones.is_exact(TEXT, tones.decode(pcm, 8000))
    assert standins.requests_to(ELEVENLABS_STREAM)[0].query["output_format"] == "pcm_8000"


async def test_rachel_is_among_the_voices(elevenlabs_client: AsyncElevenLabs) -> None:
    old, new = await elevenlabs_client.voices.get_all(), await elevenlabs_client.voices.search()
    assert {voice.voice_id: voice.name for voice in old.voices}[RACHEL] == "Rachel"
    assert [voice.voice_id for voice in new.voices] == [voice.voice_id for voice in old.voices]


async def test_models_are_listed(elevenlabs_client: AsyncElevenLabs) -> None:
    assert "eleven_flash_v2_5" in [model.model_id for model in await elevenlabs_client.models.list()]


async def test_speech_can_be_refused(standins: StandIns, elevenlabs_client: AsyncElevenLabs) -> None:
    standins.steer(ELEVENLABS_STREAM, Behaviour(fault=Fault.REFUSE, status=401))
    with pytest.raises(ApiError) as refused:
        _ = [piece async for piece in elevenlabs_client.text_to_speech.stream(RACHEL, text=TEXT)]
    assert refused.value.status_code in (400, 401)
