"""The Deepgram stand-in, asked by Deepgram's SDK and, for what the SDK hides, by a bare socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets
from deepgram import AsyncDeepgramClient

from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.ulaw import to_ulaw
from tests.speech import UTTERANCES, speak

TEXT, OTHER = UTTERANCES[10], UTTERANCES[22]
FRAME = 640
"""Bytes of 20 ms at 16 kHz."""


@asynccontextmanager
async def listening(standins: StandIns, **options: Any) -> AsyncIterator[websockets.ClientConnection]:
    """A bare socket that sends 16 kHz and wants no end of turn."""
    query = {"encoding": "linear16", "sample_rate": 16_000, "punctuate": "true", "endpointing": "false", **options}
    address = f"{standins.url.replace('http', 'ws')}/v1/listen?{urlencode(query)}"
    headers = {"Authorization": "Token key"}
    async with websockets.connect(address, additional_headers=headers, proxy=None, compression=None) as socket:
        yield socket


async def say(socket: websockets.ClientConnection, pcm: bytes, *commands: str) -> None:
    for at in range(0, len(pcm), FRAME):
        await socket.send(pcm[at : at + FRAME])
    for command in commands:
        await socket.send(json.dumps({"type": command}))


async def messages(socket: websockets.ClientConnection) -> list[dict[str, Any]]:
    return [json.loads(message) async for message in socket]


def transcripts(received: list[dict[str, Any]], *, final: bool = True) -> list[str]:
    results = [one for one in received if one["type"] == "Results" and one["is_final"] is final]
    return [one["channel"]["alternatives"][0]["transcript"] for one in results]


@pytest.mark.filterwarnings("ignore:websockets.exceptions.InvalidStatusCode is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated:DeprecationWarning")
async def test_the_sdk_is_told_what_was_said(deepgram_client: AsyncDeepgramClient) -> None:
    async with deepgram_client.listen.v1.connect(
        model="nova-3", encoding="linear16", sample_rate=8000, smart_format=True, interim_results=True
    ) as connection:
        await connection.send_media(speak(TEXT, 8000))
        await connection.send_finalize()
        while not (result := await connection.recv()).is_final:
            pass
        await connection.send_close_stream()
        metadata = await connection.recv()
    assert result.channel.alternatives[0].transcript == TEXT
    assert result.from_finalize and result.speech_final
    assert metadata.type == "Metadata" and metadata.duration > 1


async def test_projects_are_listed(deepgram_client: AsyncDeepgramClient) -> None:
    assert (await deepgram_client.manage.v1.projects.list()).projects[0].name == "Stand-in"


async def test_interims_are_prefixes(standins: StandIns) -> None:
    async with listening(standins, interim_results="true") as socket:
        await say(socket, speak(TEXT, 16_000), "CloseStream")
        received = await messages(socket)
    interims = transcripts(received, final=False)
    assert len(interims) > 2 and all(TEXT.startswith(interim) for interim in interims)
    assert transcripts(received) == [TEXT]


async def test_finalize_ends_each_utterance(standins: StandIns) -> None:
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        await say(socket, speak(OTHER, 16_000), "Finalize", "CloseStream")
        received = await messages(socket)
    assert transcripts(received) == [TEXT, OTHER]
    assert received[1]["start"] == pytest.approx(received[0]["start"] + received[0]["duration"])


async def test_finalize_of_nothing_gets_no_answer(standins: StandIns) -> None:
    async with listening(standins) as socket:
        await say(socket, bytes(FRAME), "Finalize", "KeepAlive", "CloseStream")
        assert [one["type"] for one in await messages(socket)] == ["Metadata"]


async def test_silence_ends_an_utterance(standins: StandIns) -> None:
    async with listening(standins, endpointing="300", utterance_end_ms="1000", vad_events="true") as socket:
        await say(socket, speak(TEXT, 16_000) + bytes(32_000 * 2))
        received = [json.loads(await socket.recv()) for _ in range(3)]
    assert [one["type"] for one in received] == ["SpeechStarted", "Results", "UtteranceEnd"]
    assert received[1]["speech_final"] and transcripts(received) == [TEXT]


async def test_pauses_alone_separate_utterances(standins: StandIns) -> None:
    async with listening(standins, endpointing="10", interim_results="true") as socket:
        for text in UTTERANCES:
            await say(socket, speak(text, 16_000) + bytes(32_000))
        await say(socket, b"", "CloseStream")
        received = await messages(socket)
    assert [text for text in transcripts(received) if text] == list(UTTERANCES)


async def test_ulaw_is_understood(standins: StandIns) -> None:
    async with listening(standins, encoding="mulaw", sample_rate=8000) as socket:
        await say(socket, to_ulaw(speak(TEXT, 8000)), "CloseStream")
        assert transcripts(await messages(socket)) == [TEXT]


async def test_without_formatting_it_is_plain(standins: StandIns) -> None:
    async with listening(standins, punctuate="false") as socket:
        await say(socket, speak(TEXT, 16_000), "CloseStream")
        assert transcripts(await messages(socket)) == [TEXT.lower().rstrip("?.")]


async def test_an_idle_connection_is_closed() -> None:
    async with StandIns(deepgram_idle_seconds=0.05) as standins, listening(standins) as socket:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 1011


async def test_options_and_commands_are_recorded(standins: StandIns) -> None:
    async with listening(standins, model="nova-3", keyterm="MeshAG") as socket:
        await say(socket, speak(TEXT, 16_000), "KeepAlive", "CloseStream")
        await messages(socket)
    (recorded,) = standins.requests_to(DEEPGRAM_CONNECT)
    assert (recorded.query["model"], recorded.query["keyterm"]) == ("nova-3", "MeshAG")
    assert recorded.headers["authorization"] == "Token key"
    assert recorded.messages == [{"type": "KeepAlive"}, {"type": "CloseStream"}]
    assert (recorded.text, recorded.audio_bytes) == (TEXT, len(speak(TEXT, 16_000)))


@pytest.mark.parametrize("wrong", [{"encoding": "opus"}, {"sample_rate": ""}, {"channels": 2}])
async def test_wrong_parameters_are_refused(standins: StandIns, wrong: dict[str, Any]) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with listening(standins, **wrong):
            pass
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("status", [401, 402, 429, 503])
async def test_a_handshake_can_be_refused(standins: StandIns, status: int) -> None:
    standins.steer(DEEPGRAM_CONNECT, Behaviour(fault=Fault.REFUSE, status=status))
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with listening(standins):
            pass
    assert refused.value.response.status_code == status
    assert "dg-error" in refused.value.response.headers


async def test_a_handshake_can_be_cut(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_CONNECT, Behaviour(fault=Fault.CUT))
    with pytest.raises((websockets.InvalidMessage, ConnectionError)):
        async with listening(standins):
            pass


async def test_an_open_socket_can_be_mute(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_CONNECT, Behaviour(fault=Fault.STALL))
    async with listening(standins, interim_results="true") as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await socket.recv()


async def test_what_is_no_json_closes_the_socket(standins: StandIns) -> None:
    async with listening(standins) as socket:
        await socket.send("hello")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 1008


async def test_a_clean_end_in_place_of_the_final(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=Fault.END))
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        assert await messages(socket) == []


async def test_one_caller_stalls_another_not(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(contains=TEXT, fault=Fault.STALL))
    async with listening(standins) as stalled, listening(standins) as fine:
        await say(stalled, speak(TEXT, 16_000), "Finalize")
        await say(fine, speak(OTHER, 16_000), "Finalize")
        assert transcripts([json.loads(await fine.recv())]) == [OTHER]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stalled.recv()


async def test_a_cut_comes_in_place_of_the_final(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=Fault.CUT))
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()


async def test_garbage_comes_in_place_of_the_final(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=Fault.GARBAGE))
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        with pytest.raises(json.JSONDecodeError):
            json.loads(await socket.recv())


async def test_a_final_can_be_empty(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=Fault.EMPTY))
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize", "CloseStream")
        assert transcripts(await messages(socket)) == [""]


async def test_a_refusal_midway_is_an_error(standins: StandIns) -> None:
    standins.steer(DEEPGRAM_LISTEN, Behaviour(fault=Fault.REFUSE, status=402))
    async with listening(standins) as socket:
        await say(socket, speak(TEXT, 16_000), "Finalize")
        assert json.loads(await socket.recv())["type"] == "Error"
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()
