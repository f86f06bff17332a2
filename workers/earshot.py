"""A caller's audio between its arrival and its recognition. Pure.

Voice activity judges it a little after it came, and long after where it comes in a burst: to a worker that takes over,
or when a line stood still. So it waits here, and goes on as it is judged: what came is not yet what was heard.

Two clocks count samples. The wire's is the transport's, and jumps where audio is missing for long; the ear's goes on.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

from mesh.audio import Chunk

LARGEST_GAP = 5.0
"""Seconds of missing audio that are filled with silence; after more, the wire's clock starts anew."""


class Earshot:
    """Positions without another word are the ear's."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._heard = 0
        self._starts: list[tuple[int, int]] = []
        """Where the wire's clock started, by the ear's clock and by its own."""
        self._waiting: deque[tuple[int, bytes]] = deque()

    def hear(self, chunk: Chunk) -> bytes:
        """Keep it; the samples after the last ones: silence for what is missing, nothing that was heard before."""
        pcm = self._continuous(chunk)
        if pcm:
            self._waiting.append((self._heard, pcm))
            self._heard += len(pcm) // 2
        return pcm

    def _continuous(self, chunk: Chunk) -> bytes:
        if not self._starts or chunk.position - self.wire(self._heard) > LARGEST_GAP * self._rate:
            self._starts.append((self._heard, chunk.position))
        missing = chunk.position - self.wire(self._heard)
        if missing < 0:
            return chunk.samples[-2 * missing :] if -missing < chunk.count else b""
        return bytes(2 * missing) + chunk.samples

    def wire(self, position: int) -> int:
        """The same place by the wire's clock."""
        heard, wire = self._starts[bisect_right(self._starts, position, key=lambda start: start[0]) - 1]
        return wire + position - heard

    def take(self, until: int | None = None, *, since: int = 0) -> Iterator[bytes]:
        """What waits, to be passed on: from `since` on, whole pieces that end by `until`, or all."""
        while self._waiting and (until is None or self._end() <= until):
            start, pcm = self._waiting.popleft()
            if rest := pcm[2 * max(0, since - start) :]:
                yield rest

    def forget(self, before: int) -> None:
        """Nobody will ask for pieces that end by then."""
        while self._waiting and self._end() <= before:
            self._waiting.popleft()

    def _end(self) -> int:
        start, pcm = self._waiting[0]
        return start + len(pcm) // 2
