"""How workers ask voices: one after the other until a sentence is said, going on at the word where one broke off."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self, cast
from weakref import WeakKeyDictionary

import numpy as np

from connectors_app.asking import Deadlines, Pace, Turns, in_time
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Spoken, Voice
from connectors_app.opening import Opening
from connectors_app.pool import AllFailed, Attempt, Chain, Report
from connectors_app.progress import Progress, Speed
from connectors_app.resampling import Resampler

AUDIBLE = 40
"""A sample louder than this (of 32,767) is no silence."""
SILENCE_SECONDS = 1.5
"""Of silence before the first word: longer is not a pause but a fault."""
FILE = b"RIFF"

_speeds: WeakKeyDictionary[Voice, Speed] = WeakKeyDictionary()
"""Of the process's voices, learned in all sessions."""


class Speaking:
    """The agent's voice in one session: a Speech for each provider that was needed, opened with `async with`."""

    def __init__(self, chain: Chain[Voice], rate: int, deadlines: Deadlines) -> None:
        self._chain = chain
        self._rate = rate
        self._deadlines = deadlines
        self._speeches: Opening[Voice, Speech] = Opening(lambda voice: voice.open(rate))

    async def __aenter__(self) -> Self:
        for voice in self._chain.order()[:1]:
            self._speeches.begin(voice, within=self._deadlines.first_audio)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._speeches.close()

    async def speak(self, text: str, report: Report) -> AsyncGenerator[bytes, None]:
        """One sentence as s16le mono at the session's rate. Raises AllFailed; what was given by then was heard.

        A text without a letter or digit has nothing to be spoken: it yields nothing and nobody is asked.
        """
        if not any(char.isalnum() for char in text):
            return
        self._chain.tell_skipped(report)
        attempts: list[Attempt] = list(self._chain.skipped)
        rest = text
        turns = Turns(self._chain.order())
        for voice in turns:
            started = time.monotonic()
            progress = Progress(rest, self._rate, _speeds.setdefault(voice, Speed()))
            try:
                async with aclosing(self._say(voice, progress, report)) as pieces:
                    async for pcm in pieces:
                        yield pcm
                return
            except ProviderError as error:
                attempts.append(self._chain.failed(voice, error, started, report))
            rest = progress.rest()
            if not rest:
                return  # only the end mark was missing
            if progress.samples:
                turns.again(voice)
        raise AllFailed(attempts)

    async def _say(self, voice: Voice, progress: Progress, report: Report) -> AsyncGenerator[bytes, None]:
        resampler: Resampler | None = None
        pace = Pace("audio", self._deadlines.first_audio, self._deadlines.stall)
        is_ordered = True  # a sentence that is broken off has been ordered whole
        failure: ProviderError | None = None
        try:
            sound = in_time(self._sound(voice, progress), pace, worth=lambda pcm: len(pcm) / 2 / progress.rate)
            async with aclosing(sound) as pieces:
                async for pcm in pieces:
                    if resampler is None:
                        resampler = Resampler(progress.rate, self._rate)
                        self._chain.answered(voice, report)
                    progress.samples += len(pcm) // 2
                    if ready := resampler.feed(pcm):
                        yield ready
                    progress.check_length()
            if resampler is None:
                raise ProviderError(ErrorKind.EMPTY, "sent no audio")
            progress.check_end()
        except ProviderError as error:
            failure = error
            is_ordered = resampler is not None or error.kind is ErrorKind.TIMEOUT
        finally:
            if is_ordered:
                report.used(voice.slug, voice.model, "characters", len(progress.text))
        if resampler and (rest := resampler.end()):
            yield rest  # also before a failure: it was said
        if failure:
            raise failure

    async def _sound(self, voice: Voice, progress: Progress) -> AsyncGenerator[bytes, None]:
        """The audio once it is one: silence is held until the first sound, so that it counts as nothing."""
        speech = await self._speeches.get(voice)
        progress.rate = speech.rate
        silence: bytes | None = b""
        async with aclosing(cast(AsyncGenerator[bytes | Spoken, None], speech.speak(progress.text))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Spoken):
                    progress.marks.append(piece)
                elif silence is None:
                    yield piece
                else:
                    silence += piece
                    if _is_audible(piece):
                        _refuse_file(silence)
                        yield silence
                        silence = None
                    elif len(silence) > SILENCE_SECONDS * 2 * speech.rate:
                        break
        if silence:
            raise ProviderError(ErrorKind.EMPTY, "sent only silence")


def _is_audible(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2")
    return bool(len(samples)) and (int(samples.max()) > AUDIBLE or int(samples.min()) < -AUDIBLE)


def _refuse_file(pcm: bytes) -> None:
    if pcm.startswith(FILE):
        raise ProviderError(ErrorKind.BROKEN, "sent a WAV file where raw samples were asked for")
