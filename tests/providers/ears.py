"""Recognition for the stand-ins: finds known utterances in received audio by the shape of their band energies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FRAME_MS = 10
WINDOW_MS = 40
BAND_EDGES = (200, 350, 550, 800, 1100, 1500, 2000, 2600, 3300)
RANGE_DB = 40.0
"""How far below the loudest frame a band still counts; everything lower is silence."""
FIT, FIT_SHORT = 0.68, 0.8
"""Correlation of the matched part that makes it the same recording: other sentences reach 0.6, single words 0.7."""
SHORT_MS = 1200
LEAST_FRAMES = 16
LOST_START_MS = 400
"""A match that begins this late in the utterance is still the whole of it: voice activity cuts beginnings."""
LOST_END_MS = 200
MOST_UTTERANCES = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A known utterance, or the part of it that the audio holds. Times are milliseconds in the audio."""

    text: str
    start_ms: int
    end_ms: int
    fit: float


@dataclass(frozen=True, slots=True)
class _Known:
    words: tuple[str, ...]
    middles: tuple[float, ...]
    """Each word's middle, in frames, by its share of the letters."""
    first: int
    last: int

    def words_between(self, start: int, end: int) -> str:
        """The words spoken in these frames of the utterance."""
        if start - self.first <= LOST_START_MS / FRAME_MS:
            start = 0
        if self.last - end <= LOST_END_MS / FRAME_MS:
            end = self.last + 1
        return " ".join(word for word, middle in zip(self.words, self.middles, strict=True) if start <= middle < end)


class Ears:
    """Knows a table of utterances, each as s16le mono at `rate`; understands them at any rate, and nothing else."""

    def __init__(self, utterances: Mapping[str, bytes], rate: int) -> None:
        features = [_features(pcm, rate) for pcm in utterances.values()]
        self._known = [_known(text, shape) for text, shape in zip(utterances, features, strict=True)]
        self._longest = max((len(shape) for shape in features), default=0)
        self._shapes = np.zeros((len(features), self._longest, len(BAND_EDGES) - 1), np.float32)
        for row, shape in zip(self._shapes, features, strict=True):
            row[: len(shape)] = shape
        energy = (self._shapes**2).sum(axis=2)
        self._energy = np.concatenate([np.zeros((len(features), 1), np.float32), energy.cumsum(axis=1)], axis=1)
        self._spectra: dict[int, NDArray[np.complex64]] = {}

    def recognise(self, pcm: bytes, rate: int) -> str:
        """What is said in the audio; "" when nothing known is."""
        return " ".join(one.text for one in self.listen(pcm, rate))

    def listen(self, pcm: bytes, rate: int) -> list[Found]:
        """Every known utterance in the audio, in order."""
        shape = _features(pcm, rate)
        found: list[Found] = []
        while len(found) < MOST_UTTERANCES and (one := self._best(shape)):
            found.append(one)
            shape[one.start_ms // FRAME_MS : one.end_ms // FRAME_MS] = 0
        return sorted((one for one in found if one.text), key=lambda one: one.start_ms)

    def _best(self, shape: Floats) -> Found | None:
        """The utterance that explains most of the audio, when it fits where it lies."""
        active = np.flatnonzero(shape.any(axis=1))
        if len(active) < LEAST_FRAMES or not self._known:
            return None
        first, last = int(active[0]), int(active[-1]) + 1
        spoken = shape[first:last]
        correlation = self._correlate(spoken)
        lags = np.arange(correlation.shape[1]) - (len(spoken) - 1)
        begin, end = lags.clip(0, self._longest), (lags + len(spoken)).clip(0, self._longest)
        explained = self._energy[:, end] - self._energy[:, begin]
        score = correlation / np.sqrt(explained + 0.02 * self._energy[:, -1:] + 1e-6)
        which, column = divmod(int(score.argmax()), score.shape[1])
        return self._judge(which, int(lags[column]), spoken, first)

    def _judge(self, which: int, lag: int, spoken: Floats, first: int) -> Found | None:
        known = self._known[which]
        begin, end = max(lag, known.first), min(lag + len(spoken), known.last)
        if end - begin < LEAST_FRAMES:
            return None
        ours, theirs = spoken[begin - lag : end - lag], self._shapes[which, begin:end]
        fit = float((ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum() + 1e-6))
        if fit < (FIT_SHORT if (end - begin) * FRAME_MS < SHORT_MS else FIT):
            return None
        start, stop = first + begin - lag, first + end - lag
        return Found(known.words_between(begin, end), start * FRAME_MS, stop * FRAME_MS, fit)

    def _correlate(self, spoken: Floats) -> Floats:
        """Sum over the bands of the cross-correlation with every utterance, one column a lag."""
        size = 1 << (self._longest + len(spoken) - 1).bit_length()
        if size not in self._spectra:
            self._spectra[size] = np.fft.rfft(self._shapes, size, axis=1).astype(np.complex64)
        reversed_spectrum = np.fft.rfft(spoken[::-1], size, axis=0).astype(np.complex64)
        product = np.einsum("ufb,fb->uf", self._spectra[size], reversed_spectrum)
        return np.fft.irfft(product, size, axis=1)[:, : self._longest + len(spoken) - 1].astype(np.float32)


def _known(text: str, shape: Floats) -> _Known:
    active = np.flatnonzero(shape.any(axis=1))
    first, last = (int(active[0]), int(active[-1]) + 1) if len(active) else (0, 0)
    words = tuple(text.split())
    letters = np.array([len(word) + 1 for word in words], np.float32)
    middles = first + (letters.cumsum() - letters / 2) / max(letters.sum(), 1) * (last - first)
    return _Known(words, tuple(middles.tolist()), first, last)


def _features(pcm: bytes, rate: int) -> Floats:
    """One row a frame: what each band holds more than it does on average; zeros where nobody speaks."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    hop, width = rate * FRAME_MS // 1000, rate * WINDOW_MS // 1000
    padded = np.pad(samples, (width - hop, hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    window, bands = _analysis(rate)
    spectrum = np.fft.rfft(frames * window, axis=1)
    power = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, bands, axis=1)[:, :-1] / width**2
    level = 10 * np.log10(power + 1e-3)
    floor = max(float(level.max()) - RANGE_DB, 25.0) if len(level) else 0.0
    above = np.maximum(level - floor, 0).astype(np.float32)
    speaking = above.max(axis=1) > 8
    mean = above[speaking].mean(axis=0) if speaking.any() else 0
    return np.where(speaking[:, None], above - mean, 0).astype(np.float32)


@lru_cache
def _analysis(rate: int) -> tuple[Floats, NDArray[np.intp]]:
    """The window, and the spectrum's columns at which the bands begin and the last one ends."""
    width = rate * WINDOW_MS // 1000
    columns = np.array(BAND_EDGES) * width // rate
    return np.hanning(width).astype(np.float32), columns
