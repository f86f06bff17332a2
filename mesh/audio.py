"""Audio on the bus: one chunk is a small binary header and signed 16-bit little-endian mono samples."""

import struct
from dataclasses import dataclass

VERSION = 1
END_OF_SENTENCE = 1
_HEADER = struct.Struct("<BBHIIIIIQ")
HEADER_SIZE = _HEADER.size
MAX_RATE = 48_000


class BadChunk(ValueError):
    """The bytes are not a chunk of a version that is understood here."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`position` counts samples: since the session's start for caller audio, since the sentence's for speech.

    `sequence` counts the chunks of one subject and epoch, so that a gap is seen.
    """

    rate: int
    epoch: int
    sequence: int
    position: int
    samples: bytes = b""
    turn: int = 0
    generation: int = 0
    sentence: int = 0
    end: bool = False

    @property
    def count(self) -> int:
        return len(self.samples) // 2

    def encode(self) -> bytes:
        flags = END_OF_SENTENCE if self.end else 0
        header = _HEADER.pack(
            VERSION,
            flags,
            self.rate,
            self.epoch,
            self.turn,
            self.generation,
            self.sentence,
            self.sequence,
            self.position,
        )
        return header + self.samples


def decode(data: bytes) -> Chunk:
    """Read a chunk; raises BadChunk."""
    if len(data) < HEADER_SIZE:
        raise BadChunk(f"a chunk has at least {HEADER_SIZE} bytes, this one has {len(data)}")
    version, flags, rate, epoch, turn, generation, sentence, sequence, position = _HEADER.unpack_from(data)
    if version != VERSION:
        raise BadChunk(f"chunk version {version} is not understood, only {VERSION}")
    if not 0 < rate <= MAX_RATE:
        raise BadChunk(f"a rate is 1 to {MAX_RATE} samples a second, not {rate}")
    if (len(data) - HEADER_SIZE) % 2:
        raise BadChunk("a chunk holds whole 16-bit samples")
    return Chunk(
        rate=rate,
        epoch=epoch,
        sequence=sequence,
        position=position,
        samples=data[HEADER_SIZE:],
        turn=turn,
        generation=generation,
        sentence=sentence,
        end=bool(flags & END_OF_SENTENCE),
    )
