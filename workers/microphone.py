"""What a caller says: in chunks of one size, the last of it kept for a recogniser that begins again."""

from collections.abc import Awaitable, Callable

from mesh import audio

CHUNK = 0.04
"""Seconds of caller audio in one message."""
RING = 30.0
"""Seconds of caller audio that are kept for a recogniser that has to begin again."""


class Microphone:
    def __init__(self, *, rate: int, epoch: int, publish: Callable[[audio.Chunk], Awaitable[None]]) -> None:
        self.rate = rate
        self._epoch = epoch
        self._publish = publish
        self.received = 0
        """Samples, in whole chunks."""
        self._unsent = bytearray()
        self._size = int(CHUNK * rate)
        """Samples of a chunk."""
        self._ring = bytearray()
        """The last of what was received."""
        self._last_final = 0
        self._is_heard = False
        """A recogniser has the session, and everything said so far: audio is published as it comes."""

    @property
    def total(self) -> int:
        """Samples, also those that do not fill a chunk yet."""
        return self.received + len(self._unsent) // 2

    async def take(self, pcm: bytes) -> None:
        self._unsent += pcm
        while len(self._unsent) >= 2 * self._size:
            self._ring += self._unsent[: 2 * self._size]
            del self._unsent[: 2 * self._size]
            del self._ring[: -2 * self._size * int(RING / CHUNK)]
            self.received += self._size
            if self._is_heard:
                await self._publish(self._chunk(self.received - self._size))

    def _chunk(self, position: int) -> audio.Chunk:
        """Of the ring; chunks are of one size, so that their positions count them."""
        start = len(self._ring) - 2 * (self.received - position)
        return audio.Chunk(
            rate=self.rate,
            epoch=self._epoch,
            sequence=position // self._size + 1,
            position=position,
            samples=bytes(self._ring[start : start + 2 * self._size]),
        )

    def transcribed(self, end: int) -> None:
        """What was said before that sample needs no recogniser any more."""
        self._last_final = max(self._last_final, end)

    async def be_heard(self) -> None:
        """What the caller said since the last transcript first, for a recogniser that begins; then what comes."""
        position = self._last_final // self._size * self._size
        while position < self.received:
            position = max(position, self.received - len(self._ring) // 2)
            await self._publish(self._chunk(position))
            position += self._size
        self._is_heard = True

    def be_unheard(self) -> None:
        self._is_heard = False
