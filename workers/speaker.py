"""What reaches the caller: the wire, what waits to be told on it, and the agent's voice as it is played."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mesh import audio
from mesh.playout import Piece, Playout
from workers.media.wire import Told, Wire
from workers.metrics import Metrics

log = logging.getLogger(__name__)


class Speaker:
    """Nothing is told to a caller who is away; it waits."""

    def __init__(self, session: str, wire: Wire, rate: int, metrics: Metrics) -> None:
        self._session = session
        self.wire = wire
        self.rate = rate
        self._metrics = metrics
        self.playout = Playout(rate)
        self._waiting: deque[Callable[[], Awaitable[None]]] = deque()
        self._stirred = asyncio.Event()
        self._voice_epoch = 0
        self._voice_sequence = 0

    def stir(self) -> None:
        """There may be something to do before the time that was waited for."""
        self._stirred.set()

    def settle(self) -> None:
        """What stirs from here on ends the next wait."""
        self._stirred.clear()

    async def wait(self, until: float | None) -> None:
        if self._stirred.is_set():
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._stirred.wait()

    # -- the wire -----------------------------------------------------------------------------------------

    def tell(self, message: Told) -> None:
        if self.playout.is_away and _is_passing(message):
            return
        self._waiting.append(lambda: self.wire.tell(message))
        self.stir()

    def clear(self) -> None:
        """The caller hears nothing more of what the wire has."""
        if not self.playout.is_silent:
            self._waiting.append(self.wire.clear)

    async def send_waiting(self) -> None:
        while self._waiting and not self.playout.is_away:
            await self._waiting.popleft()()

    async def send(self, piece: Piece) -> None:
        await self.wire.play(piece.pcm)
        if piece.mark is not None:
            await self.wire.mark(piece.mark)

    # -- the voice ----------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> bool:
        """A chunk of the voice; whether it belongs to what is said now."""
        try:
            chunk = audio.decode(payload)
        except audio.BadChunk as error:
            log.warning("bad audio chunk", extra={"session": self._session, "error": str(error)})
            return False
        if chunk.epoch < self._voice_epoch:
            return False
        self._count_gap(chunk)
        if chunk.generation != self.playout.generation:
            return False
        self.playout.audio(chunk.sentence, chunk.position, chunk.samples, chunk.end)
        self.stir()
        return True

    def _count_gap(self, chunk: audio.Chunk) -> None:
        before = self._voice_sequence if chunk.epoch == self._voice_epoch else 0
        self._voice_epoch, self._voice_sequence = chunk.epoch, chunk.sequence
        if chunk.sequence > before + 1:
            self._metrics.audio_gaps.inc(chunk.sequence - before - 1)


def _is_passing(message: Told) -> bool:
    """Of no use to somebody who was away: what follows holds the same words."""
    return message["type"] == "delta" or (message["type"] == "transcript" and not message["final"])
