"""Reads lines, and server-sent events, from the bytes of a response."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

LONGEST_LINE = 16 * 1024**2
"""Bytes. One without an end would take the memory and the time of all sessions."""
AFTERMATH_SECONDS = 0.5
"""How long a response's end may take after the answer is complete."""


async def lines(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Without their ends. One that the end cuts off is not yielded, and one that is too long is the end."""
    parts: list[bytes] = []
    length = 0
    async for piece in pieces:
        first, *others = piece.split(b"\n")
        parts.append(first)
        length += len(first)
        for rest in others:
            yield b"".join(parts)
            parts, length = [rest], len(rest)
        if length > LONGEST_LINE:
            return


async def events(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The data of each event, as it comes. An event that the end cuts off is not yielded."""
    data: list[bytes] = []
    async with aclosing(lines(pieces)) as found:
        async for line in found:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield data[0] if len(data) == 1 else b"\n".join(data)
                data.clear()


async def drain(stream: AsyncGenerator[bytes, None]) -> None:
    """A response that was read to its end leaves the connection open for the next turn."""
    try:
        async with asyncio.timeout(AFTERMATH_SECONDS):
            async for _ in stream:
                pass
    except TimeoutError:
        return
