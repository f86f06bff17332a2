"""ElevenLabs' socket over a session: a context for each sentence, five at most, closed at the right time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors_app import elevenlabs_api, line
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Spoken
from tests.connectors_app.turns import break_connections, made_with, sockets
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_SPEAK, RACHEL
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.tones import decode, is_exact

SENTENCES = [f"This is sentence number {n} of seven." for n in range(7)]


@asynccontextmanager
async def session(environ: dict[str, str]) -> AsyncIterator[Any]:
    async with made_with(Role.TTS, "elevenlabs", {"voice": RACHEL}, environ) as voice, voice.open(8000) as speech:
        yield speech


async def said(speech: Any, text: str) -> bytes:
    return b"".join([piece async for piece in speech.speak(text) if not isinstance(piece, Spoken)])


async def orders(stand_ins: StandIns, wanted: str) -> list[Any]:
    """What was sent on the socket, up to the first message that has this key."""
    (socket,) = await sockets(stand_ins, ELEVENLABS_CONNECT)
    messages: list[Any] = await socket.messages.until(lambda sent: any(wanted in message for message in sent))
    return messages


async def test_sentences_share_a_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with session(environ) as speech:
        for text in SENTENCES:
            assert is_exact(text, decode(await said(speech, text), 8000))
    assert len(stand_ins.requests_to(ELEVENLABS_CONNECT)) == 1


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_every_plan_has_the_rates(environ: dict[str, str], transport: str) -> None:
    options = {"voice": RACHEL, "transport": transport}
    async with made_with(Role.TTS, "elevenlabs", options, environ) as voice, voice.open(48_000) as speech:
        assert speech.rate == 24_000 and is_exact(SENTENCES[0], decode(await said(speech, SENTENCES[0]), 24_000))


async def test_more_sentences_than_contexts_wait(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with session(environ) as speech:
        spoken = await asyncio.gather(*(said(speech, text) for text in SENTENCES))
    assert all(is_exact(text, decode(pcm, 8000)) for text, pcm in zip(SENTENCES, spoken, strict=True))
    assert len(stand_ins.requests_to(ELEVENLABS_CONNECT)) == 1


async def test_a_context_closes_after_its_first_audio(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(ELEVENLABS_SPEAK, Behaviour(first_ms=100))
    async with session(environ) as speech:
        speaking = asyncio.create_task(said(speech, SENTENCES[0]))
        before = await orders(stand_ins, "flush")
        await speaking
    assert not any("close_context" in message for message in before)
    assert "close_context" in (await orders(stand_ins, "close_context"))[-1]


async def test_a_cancelled_sentence_closes_its_context(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.NEVER, nth=1))
    async with session(environ) as speech:
        speaking = asyncio.create_task(said(speech, SENTENCES[0]))
        await orders(stand_ins, "flush")
        speaking.cancel()
        opened, _, closed = await orders(stand_ins, "close_context")
        assert closed == {"context_id": opened["context_id"], "close_context": True}
        assert await said(speech, SENTENCES[1])


async def test_a_sentence_cancelled_while_connecting_is_free(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(ELEVENLABS_CONNECT, Behaviour(first_ms=100))
    async with session(environ) as speech:
        for text in SENTENCES:
            async with aclosing(speech.speak(text)) as pieces:
                waiting = asyncio.create_task(anext(pieces))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
        assert is_exact(SENTENCES[0], decode(await said(speech, SENTENCES[0]), 8000))


async def test_a_broken_socket_breaks_its_sentences(
    environ: dict[str, str], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    stand_ins.steer(ELEVENLABS_SPEAK, Behaviour(fault=Fault.STALL, after=1, nth=1))
    async with session(environ) as speech:
        pieces = speech.speak(SENTENCES[0])
        assert await anext(pieces)
        break_connections(stand_ins)
        with pytest.raises(ProviderError) as caught:
            await anext(pieces)
        assert caught.value.kind is ErrorKind.BROKEN
        assert await said(speech, SENTENCES[1])


async def test_an_idle_socket_is_followed_before_it_is_needed(
    environ: dict[str, str], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a socket on which nobody speaks."""
    monkeypatch.setattr(elevenlabs_api, "INACTIVITY_SECONDS", 0.5)
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with session(environ) as speech:
        first, second = await sockets(stand_ins, ELEVENLABS_CONNECT, 2)
        assert is_exact(SENTENCES[0], decode(await said(speech, SENTENCES[0]), 8000))
    assert first.query["inactivity_timeout"] == "0.5" and not first.messages and second.messages


async def test_an_end_without_audio_is_empty() -> None:
    """What an account without quota gets."""
    async with answering('{"isFinal": true, "contextId": "s1"}') as url, session(at(url)) as speech:
        with pytest.raises(ProviderError) as caught:
            await said(speech, SENTENCES[0])
    assert caught.value.kind is ErrorKind.EMPTY


async def test_an_error_on_the_socket_has_its_kind() -> None:
    error = '{"message": "no", "error": "quota_exceeded", "code": 1008}'
    async with answering(error) as url, session(at(url)) as speech:
        with pytest.raises(ProviderError, match="quota at ElevenLabs is used up") as caught:
            await said(speech, SENTENCES[0])
    assert caught.value.kind is ErrorKind.QUOTA


def at(url: str) -> dict[str, str]:
    return {"ELEVENLABS_API_KEY": "k", "ELEVENLABS_BASE_URL": url}


@asynccontextmanager
async def answering(message: str) -> AsyncIterator[str]:
    """A server that says one thing to every flush."""

    async def converse(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for order in socket:
            if order.json().get("flush"):
                await socket.send_str(message)
        return socket

    app = web.Application()
    app.router.add_get("/v1/text-to-speech/{voice}/multi-stream-input", converse)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()
