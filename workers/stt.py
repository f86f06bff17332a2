"""The recognition stage: says when the caller speaks, and what was said, exactly once for each utterance."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import msgspec
import numpy as np
import soxr

from connectors_app.pool import AllFailed
from connectors_app.recognizing import Recognizing
from mesh import audio, subjects
from mesh.bus.messages import Subscription
from mesh.events import SpeechEnded, SpeechStarted, Stored, TranscriptFinal
from mesh.utterances import Ended, Endpointer, Started
from workers.earshot import Earshot
from workers.stage import Reporting, Seat, StageActor, explain
from workers.voice_activity import WINDOW, Detector, Ear

log = logging.getLogger(__name__)

PREROLL = 0.3
"""Seconds before the first voiced sample that recognition gets too: soft beginnings of words."""
BACKLOG = 60.0
"""Seconds of audio that may wait for the transcript before; beyond that the newest is dropped and counted."""


@dataclass(frozen=True, slots=True)
class _Begin:
    utterance: int


@dataclass(frozen=True, slots=True)
class _Renew:
    """The configuration has changed."""


@dataclass(frozen=True, slots=True)
class _Finish:
    utterance: int
    start: int
    end: int
    voiced: float
    """Seconds, which on the wire may look longer."""
    at: float


class Listening(StageActor):
    """One session's ear: finds utterances by voice activity and has them recognised one after the other."""

    def __init__(self, seat: Seat, detector: Detector) -> None:
        super().__init__(seat)
        self._rate = seat.claim.rate
        self._detector = detector
        self._vad_rate = self._rate if self._rate in WINDOW else 16_000
        self._ear = Ear(detector, self._vad_rate, self._window_judged)
        resampled = self._vad_rate != self._rate
        self._resampler = soxr.ResampleStream(self._rate, self._vad_rate, 1, "int16", "QQ") if resampled else None
        self._endpointer = Endpointer(
            self._vad_rate,
            threshold=self.config.turn.threshold,
            stop_ms=self.config.turn.stop_ms,
            min_speech_ms=self.config.turn.min_speech_ms,
        )
        self._earshot = Earshot(self._rate)
        self._judged = 0  # samples at the model's rate
        self._sequence = 0
        self._utterance = 0
        self._recognised = 0  # the utterance that the recogniser is at; a newer one may have begun
        self._open: dict[int, SpeechStarted | SpeechEnded] = {}  # utterances of the history that have no final
        self._asks: asyncio.Queue[_Begin | _Finish | _Renew | bytes] = asyncio.Queue()
        self._backlog = 0
        self._resources = AsyncExitStack()
        self._subscription: Subscription | None = None
        self._recognizing: Recognizing | None = None
        self._report = Reporting(self, "stt")
        self._is_recognising = False
        self._chosen = self.choice("stt")
        self._work: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._subscription = await self.bus.subscribe(subjects.audio_input(self.session), self._arrived)
        await self._open_recognition()
        self._work = self.tasks.create_task(self._recognise())

    async def finish(self) -> None:
        """The caller's last words, too, become a transcript, though nobody answers them any more."""
        self._detector.finish(self._ear)
        match self._endpointer.finish():
            case Ended(sample=sample, started=started):
                self._ended(self._heard(started), self._heard(sample), until=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seat.deadlines.transcript):
                await self._asks.join()

    async def close(self) -> None:
        if self._subscription:
            await self._subscription.close()
        self._detector.forget(self._ear)
        if self._work:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self._resources.aclose()

    async def _open_recognition(self) -> None:
        self._chosen, self._report = self.choice("stt"), Reporting(self, "stt")
        chain = self.seat.pool.recognizers(*self._chosen)
        self._resources.push_async_callback(chain.close)
        self._recognizing = await self._resources.enter_async_context(
            Recognizing(chain, self._rate, self.seat.deadlines, self._report, self._interim)
        )

    def configured(self) -> None:
        turn = self.config.turn
        self._endpointer.configure(threshold=turn.threshold, stop_ms=turn.stop_ms, min_speech_ms=turn.min_speech_ms)
        self._asks.put_nowait(_Renew())

    async def _renew_recognition(self) -> None:
        """Between two utterances. The former one is closed when the new one opens already."""
        if self._is_recognising or self._chosen == self.choice("stt"):
            return
        former, self._resources = self._resources, AsyncExitStack()
        await self._open_recognition()
        await former.aclose()

    def receive(self, stored: Stored) -> None:
        if self.is_live:
            return
        match stored.event:
            case SpeechStarted(utterance=utterance) as started:
                self._open[utterance] = started
                self._utterance = max(self._utterance, utterance)
            case SpeechEnded(utterance=utterance) as ended:
                self._open[utterance] = ended
            case TranscriptFinal(utterance=utterance):
                self._open.pop(utterance, None)

    def caught_up(self) -> None:
        """Utterances that a former owner left open are closed; their audio comes again from the transport."""
        for utterance, last in self._open.items():
            if isinstance(last, SpeechStarted):
                self.post(SpeechEnded(utterance=utterance, sample=last.sample))
            self.post(TranscriptFinal(utterance=utterance, start=0, end=0, text="", failed=True))
        self._open.clear()

    # -- audio --------------------------------------------------------------------------------------------

    def _arrived(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        if not self.is_live:
            return  # meant for a former owner; from the last transcript on it comes again
        try:
            chunk = audio.decode(payload)
        except audio.BadChunk as error:
            log.warning("bad audio chunk", extra={"session": self.session, "error": str(error)})
            return
        if self._sequence and chunk.sequence > self._sequence + 1:
            self.seat.metrics.audio_gaps.inc(chunk.sequence - self._sequence - 1)
        self._sequence = max(self._sequence, chunk.sequence)
        if pcm := self._earshot.hear(chunk):
            self._ear.hear(pcm if self._resampler is None else self._resample(pcm))

    def _resample(self, pcm: bytes) -> bytes:
        assert self._resampler is not None
        result: bytes = self._resampler.resample_chunk(np.frombuffer(pcm, np.int16)).tobytes()
        return result

    def _ask(self, what: _Begin | _Finish | bytes) -> None:
        if isinstance(what, bytes):
            if self._backlog > BACKLOG * self._rate * 2:
                self.seat.metrics.dropped.labels("recognition").inc()
                return
            self._backlog += len(what)
        self._asks.put_nowait(what)

    # -- utterances ---------------------------------------------------------------------------------------

    def _window_judged(self, probability: float) -> None:
        self._judged += self._ear.window
        match self._endpointer.hear(self._judged, self._ear.window, probability):
            case Started(sample=sample):
                self._started(self._heard(sample))
            case Ended(sample=sample, started=started):
                self._ended(self._heard(started), self._heard(sample), until=self._heard(self._judged))
            case None if self._endpointer.is_speaking:
                self._pass_on(until=self._heard(self._judged))
            case None:
                self._forget()

    def _heard(self, judged: int) -> int:
        """By the ear's clock."""
        return judged * self._rate // self._vad_rate

    def _forget(self) -> None:
        """All but what would belong to an utterance that begins now."""
        first = self._endpointer.first
        self._earshot.forget(self._heard(self._judged if first is None else first) - int(PREROLL * self._rate))

    def _pass_on(self, *, until: int | None, since: int = 0) -> None:
        for pcm in self._earshot.take(until, since=since):
            self._ask(pcm)

    def _started(self, sample: int) -> None:
        self._utterance += 1
        self.post(SpeechStarted(utterance=self._utterance, sample=self._earshot.wire(sample)))
        self._ask(_Begin(self._utterance))
        self._pass_on(until=self._heard(self._judged), since=sample - int(PREROLL * self._rate))

    def _ended(self, start: int, end: int, *, until: int | None) -> None:
        self._pass_on(until=until)
        on_wire = self._earshot.wire(end - 1) + 1  # the clock may have started anew right after it
        self.post(SpeechEnded(utterance=self._utterance, sample=on_wire))
        voiced = (end - start) / self._rate
        self._ask(_Finish(self._utterance, self._earshot.wire(start), on_wire, voiced, time.monotonic()))

    async def _recognise(self) -> None:
        """One utterance after the other; the next one's audio waits here while a transcript is awaited."""
        while True:
            ask = await self._asks.get()
            assert self._recognizing is not None
            match ask:
                case _Begin(utterance=utterance):
                    await self._begin(utterance)
                case bytes() as pcm:
                    self._backlog -= len(pcm)
                    await self._recognizing.send(pcm)
                case _Finish() as ask:
                    await self._finish(ask)
                    await self._renew_recognition()
                case _Renew():
                    await self._renew_recognition()
            self._asks.task_done()

    async def _begin(self, utterance: int) -> None:
        assert self._recognizing is not None
        self._recognised = self._report.utterance = utterance
        self._is_recognising = True
        await self._recognizing.begin()

    async def _finish(self, ask: _Finish) -> None:
        assert self._recognizing is not None
        text, provider, failed = "", "", False
        try:
            heard = await self._recognizing.finish(ask.voiced)
            text, provider = heard.transcript.text.strip(), heard.provider
        except AllFailed as error:
            log.warning("nobody recognised an utterance", extra={"session": self.session, "why": explain(error)})
            failed = True
        self._is_recognising = False
        self.seat.metrics.stage_seconds.labels("stt").observe(time.monotonic() - ask.at)
        self.seat.metrics.dropped.labels("utterance").inc(self._recognizing.dropped)
        self.post(
            TranscriptFinal(
                utterance=ask.utterance, start=ask.start, end=ask.end, text=text, provider=provider, failed=failed
            )
        )

    def _interim(self, text: str) -> None:
        told = {"utterance": self._recognised, "epoch": self.writer.epoch, "text": text}
        payload = msgspec.json.encode(told)
        self.tasks.create_task(self.bus.publish(subjects.stt_interim(self.session), payload))
