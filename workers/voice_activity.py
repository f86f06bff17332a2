"""Voice activity for all sessions of a worker at once: the Silero model as ONNX, batched across callers."""

import asyncio
import sysconfig
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

MODEL = "silero_vad/data/silero_vad.onnx"
WINDOW = {8000: 256, 16000: 512}
"""Samples that the model takes at once: 32 ms."""
CONTEXT = {8000: 32, 16000: 64}
"""Samples of the window before that the model wants to see again."""
GATHER = 0.008
"""Seconds in which windows of several callers are gathered; a batch of eight costs a third of eight single ones."""
FLOOR = 33 / 32768
"""A window whose loudest sample is under -60 dBFS is silence: the model is not asked."""

Floats = npt.NDArray[np.float32]


class ModelMissing(RuntimeError):
    """The model's file is not installed."""


@cache
def _session() -> onnxruntime.InferenceSession:
    path = Path(sysconfig.get_path("purelib")) / MODEL
    if not path.exists():
        raise ModelMissing(f"the voice activity model is missing ({MODEL}); run `make` to install requirements.lock")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def warm() -> None:
    """Load the model and run it once. Raises ModelMissing."""
    for rate in WINDOW:
        infer(rate, np.zeros((1, WINDOW[rate] + CONTEXT[rate]), np.float32), np.zeros((2, 1, 128), np.float32))


def infer(rate: int, windows: Floats, state: Floats) -> tuple[Floats, Floats]:
    """Probabilities [B] and next states [2, B, 128] of windows with their context [B, context + window]."""
    feed = {"input": windows, "state": state, "sr": np.array(rate, np.int64)}
    probabilities, after = _session().run(None, feed)
    return probabilities[:, 0], after


class Ear:
    """One caller's: give it samples, it tells the voice probability of each window, in order."""

    def __init__(self, detector: "Detector", rate: int, tell: Callable[[float], None]) -> None:
        self.rate = rate
        self.tell = tell
        self.state: Floats = np.zeros((2, 128), np.float32)
        self.context: Floats = np.zeros(CONTEXT[rate], np.float32)
        self.windows: deque[Floats] = deque()
        self._detector = detector
        self._rest: Floats = np.zeros(0, np.float32)

    @property
    def window(self) -> int:
        return WINDOW[self.rate]

    def hear(self, pcm: bytes) -> None:
        """Signed 16-bit samples at the ear's rate, any number."""
        samples = np.frombuffer(pcm, np.int16).astype(np.float32) * np.float32(1 / 32768)
        self._rest = np.concatenate((self._rest, samples)) if self._rest.size else samples
        while self._rest.size >= self.window:
            self.windows.append(self._rest[: self.window])
            self._rest = self._rest[self.window :]
        if self.windows:
            self._detector.stir(self)

    def skip(self, window: Floats) -> None:
        self.context = window[-CONTEXT[self.rate] :]
        self.tell(0.0)


class Detector:
    """Runs the windows of many ears together. One a process; nothing is kept of an ear that is gone."""

    def __init__(self, gather: float = GATHER) -> None:
        self._gather = gather
        self._stirred: dict[Ear, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def stir(self, ear: Ear) -> None:
        self._stirred[ear] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather, self._run)

    def forget(self, ear: Ear) -> None:
        self._stirred.pop(ear, None)

    def finish(self, ear: Ear) -> None:
        """Judge what is left at once: a few windows, unless much came in one breath."""
        while ear.windows:
            self._run_batch(ear.rate, [ear])
        self.forget(ear)

    def _run(self) -> None:
        """One window of every ear that has one; more of them in the next round of the loop."""
        self._timer = None
        ears = list(self._stirred)
        for rate in WINDOW:
            self._run_batch(rate, [ear for ear in ears if ear.rate == rate])
        self._stirred = {ear: None for ear in self._stirred if ear.windows}
        if self._stirred:
            self._timer = asyncio.get_running_loop().call_later(0, self._run)

    def _run_batch(self, rate: int, ears: list[Ear]) -> None:
        batch: list[tuple[Ear, Floats]] = []
        for ear in ears:
            window = ear.windows.popleft()
            if max(window.max(), -window.min()) < FLOOR:
                ear.skip(window)
            else:
                batch.append((ear, window))
        if not batch:
            return
        windows = np.stack([np.concatenate((ear.context, window)) for ear, window in batch])
        probabilities, states = infer(rate, windows, np.stack([ear.state for ear, _ in batch], axis=1))
        for index, (ear, window) in enumerate(batch):
            ear.state = states[:, index]
            ear.context = window[-CONTEXT[rate] :]
            ear.tell(float(probabilities[index]))
