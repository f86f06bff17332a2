"""A session's WebSocket when the other side misbehaves."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connectors_app import line
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from tests.connectors_app.fakes import ScriptedModel
from tests.connectors_app.providers.scripted_socket import saying
from tests.connectors_app.turns import made

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@asynccontextmanager
async def frozen() -> AsyncIterator[dict[str, str]]:
    """A server that opens the socket and then neither reads nor says goodbye."""
    leave = asyncio.Event()

    async def freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(row.split(b": ")[1] for row in head.split(b"\r\n") if row.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(freeze, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield {"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": f"http://{host}:{port}"}
    leave.set()
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def mute() -> AsyncIterator[dict[str, str]]:
    """A server that takes the connection and never answers the handshake."""
    leave = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield {"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": f"http://{host}:{port}"}
    leave.set()
    server.close()
    await server.wait_closed()


async def begun(recognizer: Any) -> Any:
    recognition = await recognizer.open(8000, lambda text: None).__aenter__()
    await recognition.begin()
    return recognition


async def test_a_frozen_peer_does_not_hold_up_closing() -> None:
    async with frozen() as environ, made(Role.STT, "deepgram", environ) as recognizer:
        recognition = await begun(recognizer)
        await recognition.send(bytes(320))
        async with asyncio.timeout(1):
            await recognition.close()


async def test_a_mute_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "OPEN_SECONDS", 0.1)
    async with mute() as environ, made(Role.STT, "deepgram", environ) as recognizer:
        recognition = await begun(recognizer)
        with pytest.raises(ProviderError) as caught:
            await recognition.send(bytes(320))
        assert caught.value.kind is ErrorKind.TIMEOUT
        await recognition.close()


async def test_a_silent_peer_is_noticed_by_its_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "HEARTBEAT_SECONDS", 0.1)
    async with frozen() as environ, made(Role.STT, "deepgram", environ) as recognizer:
        recognition = await begun(recognizer)
        await recognition.send(bytes(3200))
        with pytest.raises(ProviderError):
            await recognition.finish()
        await recognition.close()


@asynccontextmanager
async def greeting() -> AsyncIterator[str]:
    """A server that says one word."""

    async def greet(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/", greet)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def test_a_fault_in_a_handler_ends_the_socket() -> None:
    ended: asyncio.Queue[ProviderError] = asyncio.Queue()

    def stumble(message: bytes) -> None:
        raise KeyError("text")

    async with greeting() as url, aiohttp.ClientSession() as client:
        by = ScriptedModel("first")
        one = line.Line(by, lambda: line.dial(client, url, {}), on_message=stumble, on_end=ended.put_nowait)
        one.open()
        error = await asyncio.wait_for(ended.get(), 5)
        assert error.kind is ErrorKind.BROKEN and "KeyError" in error.message
        await one.close()


async def test_a_message_without_measure_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "LARGEST_MESSAGE", 1000)
    async with saying(lambda message: [{"type": "Metadata", "more": "x" * 2000}]) as url:
        environ = {"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": url}
        async with made(Role.STT, "deepgram", environ) as recognizer:
            recognition = await begun(recognizer)
            await recognition.send(bytes(16_000))
            with pytest.raises(ProviderError, match="close code 1009") as told:
                await recognition.finish()
            await recognition.close()
    assert told.value.kind is ErrorKind.BROKEN
