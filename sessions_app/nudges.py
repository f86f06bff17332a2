"""Tells the live pages that rows are there: "session X is at sequence n", never what they say."""

import asyncio
from collections.abc import Mapping
from typing import TypedDict

from channels.layers import BaseChannelLayer
from redis.exceptions import RedisError

DEADLINE = 1.0


class Nudge(TypedDict):
    type: str
    sequence: int


def group(session: str) -> str:
    """The Channels group of everybody who looks at a session."""
    return f"session.{session}"


class Nudges:
    """A newer nudge replaces an older one of its session, so what waits is bounded by the sessions that change.

    While Valkey is away nudges are lost and counted; pages catch up with the next one.
    """

    def __init__(self, layer: BaseChannelLayer) -> None:
        self._layer = layer
        self._waiting: dict[str, int] = {}
        self._stirred = asyncio.Event()
        self.sent = 0
        self.lost = 0

    def add(self, sequences: Mapping[str, int]) -> None:
        self._waiting |= sequences
        if self._waiting:
            self._stirred.set()

    async def run(self) -> None:
        while True:
            await self._stirred.wait()
            await self.send_waiting()

    async def send_waiting(self) -> None:
        self._stirred.clear()
        waiting, self._waiting = self._waiting, {}
        for session, sequence in waiting.items():
            await self._send(group(session), {"type": "session.nudge", "sequence": sequence})

    async def _send(self, name: str, nudge: Nudge) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._layer.group_send(name, nudge)
            self.sent += 1
        except (RedisError, OSError):
            self.lost += 1
