"""Speech at the rate of the wire, for voices that cannot speak at it."""

import numpy as np
import soxr


class Resampler:
    """s16le mono from one rate to another, piece by piece; costs nothing where both are the same.

    Down to a telephone's rate it filters, because what lies above half of that rate would come back as hiss.
    """

    def __init__(self, before: int, after: int) -> None:
        quality = "LQ" if after < before else "QQ"
        self._stream = (
            soxr.ResampleStream(before, after, 1, dtype="int16", quality=quality) if before != after else None
        )

    def feed(self, pcm: bytes) -> bytes:
        return self._through(pcm, last=False) if self._stream else pcm

    def end(self) -> bytes:
        """What the filter still holds."""
        return self._through(b"", last=True) if self._stream else b""

    def _through(self, pcm: bytes, last: bool) -> bytes:
        assert self._stream
        samples: bytes = self._stream.resample_chunk(np.frombuffer(pcm, dtype="<i2"), last=last).tobytes()
        return samples
