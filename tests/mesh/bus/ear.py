"""A listener for feeds."""

import asyncio

from mesh.events import Stored


class Ear:
    """Keeps what a feed delivers and waits for more."""

    def __init__(self) -> None:
        self.heard: list[Stored] = []
        self._stirred = asyncio.Event()

    def __call__(self, stored: Stored) -> None:
        self.heard.append(stored)
        self._stirred.set()

    async def count(self, wanted: int) -> list[Stored]:
        async with asyncio.timeout(10):
            while len(self.heard) < wanted:
                self._stirred.clear()
                await self._stirred.wait()
        return self.heard
