"""What goes wrong in the middle of an answer that began well: on the wire, as a client without mercy sees it."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests import speech
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH
from tests.providers.spoiling import FLOOD
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault, Steering
from tests.providers.tones import decode

ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True, "max_tokens": 99}
SAY = {"model": "tts-1", "voice": "alloy", "input": "Good morning to you.", "response_format": "pcm"}
HEADERS = {"Authorization": "Bearer key", "anthropic-version": "2023-06-01"}
TEXT = speech.UTTERANCES[0]


async def post(standins: StandIns, path: str, body: Any) -> tuple[str, bytes]:
    async with aiohttp.ClientSession(standins.url, headers=HEADERS) as client, client.post(path, json=body) as answer:
        assert answer.status == 200
        return answer.content_type, await answer.read()


async def chat(standins: StandIns, behaviour: Behaviour) -> tuple[str, bytes]:
    standins.steer(OPENAI_CHAT, behaviour)
    return await post(standins, "/v1/chat/completions", ASK)


async def voice(standins: StandIns, behaviour: Behaviour) -> bytes:
    standins.steer(OPENAI_SPEECH, behaviour)
    return (await post(standins, "/v1/audio/speech", SAY))[1]


async def test_an_error_comes_inside_a_stream(standins: StandIns) -> None:
    _, body = await chat(standins, Behaviour(fault=Fault.ERROR, after=2, status=429))
    *_, told = body.decode().strip().split("\n\n")
    assert json.loads(told.removeprefix("data: "))["error"]["code"] == "rate_limit_exceeded"
    assert body.count(b"data: ") == 4


async def test_anthropics_error_has_a_name(standins: StandIns) -> None:
    standins.steer(ANTHROPIC_MESSAGES, Behaviour(fault=Fault.ERROR, after=2, status=529))
    _, body = await post(standins, "/v1/messages", ASK)
    name, told = body.decode().strip().split("\n\n")[-1].split("\n")
    assert name == "event: error"
    assert json.loads(told.removeprefix("data: "))["error"]["type"] == "overloaded_error"


async def test_a_page_comes_instead(standins: StandIns) -> None:
    kind, body = await chat(standins, Behaviour(fault=Fault.HTML))
    assert kind == "text/html" and body.startswith(b"<!DOCTYPE html>")


async def test_a_line_may_be_endless(standins: StandIns) -> None:
    _, body = await chat(standins, Behaviour(fault=Fault.FLOOD, after=1))
    assert max(map(len, body.split(b"\n"))) > 10 * 1024**2


async def test_a_line_may_be_no_text(standins: StandIns) -> None:
    _, body = await chat(standins, Behaviour(fault=Fault.NOT_UTF8, after=1))
    with pytest.raises(UnicodeDecodeError):
        body.decode()


async def test_an_answer_trickles(standins: StandIns) -> None:
    standins.steer(AZURE_SPEECH)
    whole = await voice(standins, Behaviour())
    assert await voice(standins, Behaviour(bytes=4001, each_ms=1)) == whole
    assert await voice(standins, Behaviour(bytes=1001, fault=Fault.END, after=3)) == whole[:3003]


async def test_samples_may_be_odd_or_too_few(standins: StandIns) -> None:
    whole = await voice(standins, Behaviour())
    assert await voice(standins, Behaviour(fault=Fault.ODD)) == whole[:-1]
    assert await voice(standins, Behaviour(fault=Fault.SHORT, after=2)) == whole[:9600]


async def test_a_file_may_come_for_samples(standins: StandIns) -> None:
    pcm = await voice(standins, Behaviour(fault=Fault.HEADER))
    assert pcm.startswith(b"RIFF") and decode(pcm[44:], 24_000)[0].complete


def test_a_provider_may_flap() -> None:
    steering = Steering()
    steering.steer(OPENAI_CHAT, Behaviour(fault=Fault.REFUSE, flap=(2, 3)))
    told = [steering.choose(OPENAI_CHAT, "").fault is Fault.REFUSE for _ in range(10)]
    assert told == [True, True, False, False, False] * 2


# -- sockets ---------------------------------------------------------------------------------------------


def listening(standins: StandIns, client: aiohttp.ClientSession) -> Any:
    return client.ws_connect(f"{standins.url}/v1/listen?encoding=linear16&sample_rate=8000&endpointing=false")


async def finals(standins: StandIns, *texts: str) -> list[str]:
    """Of utterances in one connection, as they come."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token key"}) as client,
        listening(standins, client) as socket,
    ):
        for text in texts:
            await socket.send_bytes(speech.speak(text, 8000))
            await socket.send_json({"type": "Finalize"})
        await socket.send_json({"type": "CloseStream"})
        told = [json.loads(message.data) async for message in socket]
    return [one["channel"]["alternatives"][0]["transcript"] for one in told if one.get("is_final")]


@pytest.mark.parametrize(
    ("fault", "heard"), [(None, [0, 1]), (Fault.TWICE, [0, 0, 1]), (Fault.SWAPPED, [1, 0]), (Fault.NEVER, [1])]
)
async def test_finals_come_as_they_should_not(standins: StandIns, fault: Fault | None, heard: list[int]) -> None:
    texts = speech.UTTERANCES[:2]
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=fault, nth=1))
    plain = ["".join(c for c in text.lower() if c.isalnum() or c in " '") for text in texts]
    assert await finals(standins, *texts) == [plain[place] for place in heard]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_socket_may_be_dead_and_open(standins: StandIns, begun: bool) -> None:
    """The client's ping is not answered; the socket is neither closed nor broken."""
    standins.steer(DEEPGRAM_CONNECT, Behaviour() if begun else Behaviour(fault=Fault.DEAD))
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token key"}) as client,
        listening(standins, client) as socket,
    ):
        if begun:
            await socket.send_bytes(speech.speak(TEXT, 8000))
            await socket.send_json({"type": "Finalize"})
            await socket.receive_json(timeout=5)
            standins.freeze(DEEPGRAM_CONNECT)
        await socket.send_json({"type": "CloseStream"})
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.2)
        assert not socket.closed


@pytest.mark.parametrize("fault", [Fault.FLOOD, Fault.NOT_UTF8])
async def test_a_frame_may_be_unbearable(standins: StandIns, fault: Fault) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=fault))
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token key"}) as client,
        listening(standins, client) as socket,
    ):
        await socket.send_bytes(speech.speak(TEXT, 8000))
        await socket.send_json({"type": "Finalize"})
        async with asyncio.timeout(5):
            message = await socket.receive()
    assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
    assert len(FLOOD) > 10 * 1024**2
