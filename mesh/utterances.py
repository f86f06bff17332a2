"""From voice probabilities to utterances: where the caller began and stopped to speak. Pure."""

from dataclasses import dataclass

HYSTERESIS = 0.15
"""Speech goes on until the probability falls this far below the threshold, but not below half of it."""
FORGIVEN = 3
"""Quiet windows that a beginning of speech may contain."""


@dataclass(frozen=True, slots=True)
class Started:
    sample: int


@dataclass(frozen=True, slots=True)
class Ended:
    """`sample` is the end of the last voiced window, `started` the first voiced sample."""

    sample: int
    started: int


class Endpointer:
    """One caller's. `hear` takes each window's end position (samples) and its voice probability."""

    def __init__(self, rate: int, *, threshold: float, stop_ms: int, min_speech_ms: int) -> None:
        self.rate = rate
        self.configure(threshold=threshold, stop_ms=stop_ms, min_speech_ms=min_speech_ms)
        self._voiced = 0
        self._quiet_windows = 0
        self._first = 0
        self._last = 0
        self._is_speaking = False

    def configure(self, *, threshold: float, stop_ms: int, min_speech_ms: int) -> None:
        self._begins_at = threshold
        self._goes_on_at = max(threshold - HYSTERESIS, threshold / 2)
        self._stop = stop_ms * self.rate // 1000
        self._least = min_speech_ms * self.rate // 1000

    @property
    def is_speaking(self) -> bool:
        return self._is_speaking

    @property
    def first(self) -> int | None:
        """The first sample of an utterance, or of what may become one; None in silence."""
        return self._first if self._voiced else None

    def hear(self, end: int, samples: int, probability: float) -> Started | Ended | None:
        if probability >= (self._goes_on_at if self._is_speaking else self._begins_at):
            return self._voice(end, samples)
        return self._quiet(end)

    def finish(self) -> Ended | None:
        """No more will be heard: what is being said ends with its last voiced window."""
        if not self._is_speaking:
            return None
        self._is_speaking = False
        self._voiced = 0
        return Ended(self._last, self._first)

    def _voice(self, end: int, samples: int) -> Started | None:
        if not self._voiced:
            self._first = end - samples
        self._voiced += samples
        self._quiet_windows = 0
        self._last = end
        if self._is_speaking or self._voiced < self._least:
            return None
        self._is_speaking = True
        return Started(self._first)

    def _quiet(self, end: int) -> Ended | None:
        if self._is_speaking and end - self._last >= self._stop:
            return self.finish()
        if not self._is_speaking:
            self._quiet_windows += 1
            if self._quiet_windows > FORGIVEN:
                self._voiced = 0
        return None
