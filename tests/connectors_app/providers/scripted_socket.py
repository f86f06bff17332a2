"""Servers of a socket that say exactly what a test wants, at the message after which it wants it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

Reply = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]
"""What is said to a message; audio is one without anything in it."""


@asynccontextmanager
async def saying(reply: Reply, first: dict[str, Any] | None = None) -> AsyncIterator[str]:
    """Its address. `first` is said as soon as it is open."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if first:
            await socket.send_json(first)
        async for message in socket:
            heard = json.loads(message.data) if message.type is WSMsgType.TEXT else {}
            for told in reply(heard):
                await socket.send_json(told)
        return socket

    async with _serving(serve) as url:
        yield url


@asynccontextmanager
async def babbling(frame: str | bytes) -> AsyncIterator[str]:
    """The address of one that answers every message by the same text, which may be none."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_frame(frame.encode() if isinstance(frame, str) else frame, WSMsgType.TEXT)
        return socket

    async with _serving(serve) as url:
        yield url


@asynccontextmanager
async def _serving(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
