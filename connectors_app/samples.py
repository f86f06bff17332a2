"""Signed 16-bit little-endian mono samples, as providers take and send them."""

import io
import wave


def whole_samples(pcm: bytes) -> tuple[bytes, bytes]:
    """The 16-bit samples that are complete, and what belongs to the next piece."""
    end = len(pcm) & ~1
    return pcm[:end], pcm[end:]


def as_wav(pcm: bytes, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()
