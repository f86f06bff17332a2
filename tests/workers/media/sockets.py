"""A real server for one wire and a real client at its other end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, web

from workers.media.socket import SocketWire
from workers.media.wire import Fact

DEADLINE = 5.0


@dataclass
class Line:
    """`wire` is our end; `client` the other. `heard` gives the facts that came in, one after the other."""

    client: ClientWebSocketResponse
    wire: SocketWire
    facts: asyncio.Queue[Fact] = field(default_factory=asyncio.Queue)

    async def heard(self) -> Fact:
        async with asyncio.timeout(DEADLINE):
            return await self.facts.get()

    @property
    def transport(self) -> asyncio.Transport:
        """The client's side of the connection, to be cut or blocked."""
        connection = self.client._response.connection
        assert connection is not None and isinstance(connection.transport, asyncio.Transport)
        return connection.transport

    async def sent(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.client.receive_json(timeout=DEADLINE)
        return message


@asynccontextmanager
async def connected(make: Callable[[web.Request], SocketWire]) -> AsyncIterator[Line]:
    """A client connected to the wire that `make` makes."""
    wires: asyncio.Queue[SocketWire] = asyncio.Queue()
    facts: asyncio.Queue[Fact] = asyncio.Queue()

    async def answer(request: web.Request) -> web.StreamResponse:
        async with make(request) as wire:
            wires.put_nowait(wire)
            async for fact in wire.receive():
                facts.put_nowait(fact)
            return wire.response

    app = web.Application()
    app.router.add_get("/", answer)
    async with serving(app) as url, ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        yield Line(socket, await wires.get(), facts)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The application on a free port as it runs in production; aiohttp's own test server cancels its handlers."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
