"""Addresses at which nobody is who could be talked to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

NO_NAME = "https://stand-in.invalid"
"""A name that no resolver knows."""
NO_PORT = "http://127.0.0.1:9"
NO_TLS = b"220 mail.example.com ESMTP\r\n"


@asynccontextmanager
async def without_tls() -> AsyncIterator[str]:
    """A port that answers https with something else."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(NO_TLS)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A port that takes connections and says nothing, for as long as the client stays."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
