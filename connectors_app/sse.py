"""Reads server-sent events from the bytes of a response."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable


async def events(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The data of each event, as it comes. An event that the end cuts off is not yielded."""
    buffer = b""
    data: list[bytes] = []
    async for piece in pieces:
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield data[0] if len(data) == 1 else b"\n".join(data)
                data.clear()


async def drain(stream: AsyncGenerator[bytes, None], seconds: float) -> None:
    """A response that was read to its end leaves the connection open for the next turn."""
    try:
        async with asyncio.timeout(seconds):
            async for _ in stream:
                pass
    except TimeoutError:
        return
