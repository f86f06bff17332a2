"""A server whose every answer is these bytes, for what a stand-in would never send."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def answering(*pieces: bytes, abort: bool = False, status: int = 200) -> AsyncIterator[str]:
    """Its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        kind = "text/event-stream" if status == 200 else "application/json"
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if abort and request.transport:
            request.transport.close()
        return response

    async with serving(answer) as url:
        yield url


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of a server that answers every POST so."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
