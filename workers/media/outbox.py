"""Frames on their way to one socket: bounded, written by a task of its own, so that nobody waits for a slow one."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import WSMsgType

CROWDED = 64 * 1024
"""Bytes that wait before captions in progress are no longer queued: the next one replaces them anyway."""
FULL = 1024 * 1024
"""Bytes that wait before the socket counts as lost: at least ten seconds of audio."""
PATIENCE = 5.0
"""Seconds that one frame may take to leave."""


class Kind(Enum):
    WORD = "word"  # must arrive
    PLAYBACK = "playback"  # audio and its marks: worthless after `clear`
    CAPTION = "caption"  # may be left out


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    opcode: WSMsgType
    data: bytes


Send = Callable[[bytes, WSMsgType], Awaitable[None]]


class Outbox:
    """`put` never waits. `lost` is called once, when the socket does not take what it is given."""

    def __init__(
        self, send: Send, lost: Callable[[], None], counts: Counter[str], *, patience: float = PATIENCE
    ) -> None:
        self._send = send
        self._lost = lost
        self._counts = counts
        self._patience = patience
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._is_open = True
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write())

    def put(self, kind: Kind, opcode: WSMsgType, data: bytes) -> None:
        if not self._is_open or (kind is Kind.CAPTION and self._bytes > CROWDED):
            self._counts["dropped"] += 1
            return
        self._frames.append(Frame(kind, opcode, data))
        self._bytes += len(data)
        self._some.set()
        if self._bytes > FULL:
            self._give_up()

    def drop_playback(self) -> None:
        self._frames = deque(frame for frame in self._frames if frame.kind is not Kind.PLAYBACK)
        self._bytes = sum(len(frame.data) for frame in self._frames)

    async def finish(self) -> None:
        """Take nothing more and return when everything has left, or will not."""
        self._is_open = False
        self._some.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=self._patience)

    async def stop(self) -> None:
        """Let go at once; what waits is not sent."""
        self._is_open = False
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while await self._some_wait():
                frame = self._frames.popleft()
                self._bytes -= len(frame.data)
                async with asyncio.timeout(self._patience):
                    await self._send(frame.data, frame.opcode)
        except TimeoutError:
            self._give_up()
        except ConnectionError:
            self._is_open = False  # the reading side sees the same end

    async def _some_wait(self) -> bool:
        while not self._frames:
            if not self._is_open:
                return False
            self._some.clear()
            await self._some.wait()
        return True

    def _give_up(self) -> None:
        self._is_open = False
        self._counts["dropped"] += len(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._some.set()
        self._lost()
