"""How workers ask recognisers: the utterance's audio is kept, and the next provider gets it from its beginning."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from connectors_app.asking import Deadlines
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.opening import Opening
from connectors_app.pool import AllFailed, Attempt, Chain, Report, unexpected


@dataclass(frozen=True, slots=True)
class Heard:
    transcript: Transcript
    provider: str


class Recognizing:
    """One caller's recognition. `begin` and `send` never raise; `finish` raises AllFailed.

    When a provider fails, the next one gets the utterance from its beginning. The audio of an utterance is kept up to
    `KEPT_SECONDS`; of a longer one the oldest part is not replayed (`dropped` counts the bytes of this utterance).
    """

    KEPT_SECONDS = 120
    DOUBTFUL_SECONDS = 1.0
    """Of voice in which a provider heard no words: when there is more, the next is asked, too."""
    SURE = 0.5
    """How sure the next must be of its words, where it tells: some hear words in any noise."""

    def __init__(
        self,
        chain: Chain[Recognizer],
        rate: int,
        deadlines: Deadlines,
        report: Report,
        on_interim: Callable[[str], None],
    ) -> None:
        self._chain = chain
        self._rate = rate
        self._deadlines = deadlines
        self._report = report
        self._on_interim = on_interim
        self._recognitions: Opening[Recognizer, Recognition] = Opening(self._made)
        self._untried: deque[Recognizer] = deque()
        self._attempts: list[Attempt] = []
        self._audio: deque[bytes] = deque()
        self._kept = self._fed = 0
        self._sent = 0
        """Bytes that the provider at work got of the utterance and that are not reported as used."""
        self._begun = False
        self._last_sign = 0.0
        """When the provider at work last said anything of the utterance, or got its first audio."""
        self._unheard = 0
        """Bytes of live audio since then."""
        self._shown = ""
        self.dropped = 0

    async def __aenter__(self) -> Self:
        for recognizer in self._chain.order()[:1]:
            self._recognitions.begin(recognizer, within=self._deadlines.stall)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bill()
        await self._recognitions.close()

    async def begin(self) -> None:
        self._bill()
        self._untried = deque(self._chain.order())
        self._chain.tell_skipped(self._report)
        self._attempts = list(self._chain.skipped)
        self._audio.clear()
        self._kept = self.dropped = 0
        self._begin_anew()
        self._shown = ""
        await self._deliver()

    async def send(self, pcm: bytes) -> None:
        if not self._untried:
            return  # all have failed
        self._keep(pcm)
        self._unheard += len(pcm)
        await self._deliver()

    async def finish(self, voiced: float | None = None) -> Heard:
        """The utterance's transcript, which may be empty, and who gave it.

        `voiced`: seconds from the first sound of a voice to the last, which is less than all that was sent.
        """
        seconds = self._kept / 2 / self._rate if voiced is None else voiced
        transcript = await self._deliver(last=True)
        if transcript is None:
            raise AllFailed(self._attempts)
        if not transcript.text and seconds >= self.DOUBTFUL_SECONDS and len(self._untried) > 1:
            transcript = await self._ask_another(transcript)
        recognizer = self._untried[0]
        self._chain.answered(recognizer, self._report)
        self._bill()
        self._forget()
        return Heard(transcript, recognizer.slug)

    async def _ask_another(self, empty: Transcript) -> Transcript:
        """A success with nothing in it is a failure when the next provider hears words in the same audio.

        The breaker hears nothing of it: there may have been no words, and the next be the one that is wrong.
        """
        deaf, started = self._untried[0], time.monotonic()
        self._bill()
        self._untried.popleft()
        self._begin_anew()
        transcript = await self._deliver(last=True)
        if transcript and self._has_words(transcript):
            error = ProviderError(ErrorKind.EMPTY, "heard nothing where another provider heard words")
            self._report.failed(deaf.slug, error, round((time.monotonic() - started) * 1000))
            return transcript
        self._bill()
        self._untried = deque([deaf])
        return empty

    def _has_words(self, transcript: Transcript) -> bool:
        is_sure = transcript.confidence is None or transcript.confidence >= self.SURE
        return bool(transcript.text) and is_sure

    def _begin_anew(self) -> None:
        self._begun = False
        self._fed = 0

    def _keep(self, pcm: bytes) -> None:
        self._audio.append(pcm)
        self._kept += len(pcm)
        while self._kept > self.KEPT_SECONDS * self._rate * 2:
            oldest = len(self._audio.popleft())
            self._kept -= oldest
            self.dropped += oldest
            self._fed = max(0, self._fed - 1)

    def _forget(self) -> None:
        self._untried.clear()
        self._audio.clear()

    async def _deliver(self, last: bool = False) -> Transcript | None:
        """Bring the first provider that still works up to date; None when there is none left or no end was asked."""
        while self._untried:
            recognizer = self._untried[0]
            started = time.monotonic()
            try:
                if self._begun:
                    self._check_alive(recognizer)
                return await self._bring_up_to_date(recognizer, last)
            except ProviderError as error:
                self._attempts.append(self._chain.failed(recognizer, error, started, self._report))
                self._bill()
                self._pass_on(recognizer)
        self._forget()
        return None

    def _check_alive(self, recognizer: Recognizer) -> None:
        """A socket can be dead and look open: one that tells as it hears says something while the caller speaks."""
        limit = self._deadlines.silence
        is_mute = recognizer.tells_as_it_hears and self._unheard >= limit * self._rate * 2
        if is_mute and time.monotonic() - self._last_sign >= limit:
            raise ProviderError(ErrorKind.TIMEOUT, f"said nothing for {limit:g} s while the caller spoke")

    async def _bring_up_to_date(self, recognizer: Recognizer, last: bool) -> Transcript | None:
        limit = self._deadlines.transcript if last else self._deadlines.stall
        try:
            async with asyncio.timeout(limit):
                recognition = await self._recognitions.get(recognizer)
                await self._feed(recognition)
                return await recognition.finish() if last else None
        except TimeoutError:
            what = "no transcript" if last else "took no audio"
            raise ProviderError(ErrorKind.TIMEOUT, f"{what} within {limit:g} s") from None
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001
            raise unexpected(error) from error

    async def _feed(self, recognition: Recognition) -> None:
        if not self._begun:
            await recognition.begin()
            self._begun = True
            self._showed_life()
        while self._fed < len(self._audio):
            pcm = self._audio[self._fed]
            await recognition.send(pcm)
            self._fed += 1
            self._sent += len(pcm)

    def _pass_on(self, recognizer: Recognizer) -> None:
        self._untried.popleft()
        self._begin_anew()
        self._recognitions.leave(recognizer)

    def _bill(self) -> None:
        """What the provider at work heard is paid for, whether a transcript came of it or not."""
        sent, self._sent = self._sent, 0
        if sent and self._untried:
            recognizer = self._untried[0]
            self._report.used(recognizer.slug, recognizer.model, "audio_ms", sent * 1000 // (2 * self._rate))

    def _made(self, recognizer: Recognizer) -> Recognition:
        return recognizer.open(self._rate, lambda text: self._interim(recognizer, text))

    def _interim(self, recognizer: Recognizer, text: str) -> None:
        if not self._untried or self._untried[0] is not recognizer:
            return
        self._showed_life()
        if text and text != self._shown:
            self._shown = text
            self._on_interim(text)

    def _showed_life(self) -> None:
        self._last_sign = time.monotonic()
        self._unheard = 0
