"""How workers ask recognisers: one after the other, and a second one beside the first when that one is silent."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from connectors_app.asking import AFTERMATH_SECONDS, Deadlines
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognizer, Transcript
from connectors_app.choosing import chosen, is_doubtful
from connectors_app.hearing import Connection, Hearing, Utterance
from connectors_app.opening import Opening
from connectors_app.pool import AllFailed, Attempt, Chain, Report


@dataclass(frozen=True, slots=True)
class Heard:
    transcript: Transcript
    provider: str


class Recognizing:
    """One caller's recognition. `begin` and `send` never raise and wait for nobody; `finish` raises AllFailed.

    When a provider fails, the next one gets the utterance from its beginning. One that is silent for
    `Deadlines.beside` has not failed yet, but the next one is asked beside it, and the caller waits for the quicker of
    the two. There are never more than two. The audio of an utterance is kept up to `KEPT_SECONDS`; of a longer one the
    oldest part is not replayed (`dropped` counts the bytes of this utterance).
    """

    KEPT_SECONDS = 120

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
        self._connections: Opening[Recognizer, Connection] = Opening(lambda recognizer: Connection(recognizer, rate))
        self._utterance = Utterance(rate, self.KEPT_SECONDS)
        self._is_over = False
        """The utterance is."""
        self._untried: deque[Recognizer] = deque()
        self._attempts: list[Attempt] = []
        self._at_work: list[Hearing] = []
        """The one at work, and maybe one beside it."""
        self._overtaken: set[Hearing] = set()
        """Of this and earlier utterances: nobody waits for them, but their breakers learn what becomes of them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._shows: Hearing | None = None
        self._shown = ""
        self.dropped = 0
        """Bytes of the last utterance."""

    async def __aenter__(self) -> Self:
        for recognizer in self._chain.order()[:1]:
            self._connections.begin(recognizer, within=self._deadlines.stall)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_utterance()
        for hearing in self._overtaken:
            hearing.abandon()
            self._bill(hearing)
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=AFTERMATH_SECONDS)
        finally:
            await self._connections.close()

    async def begin(self) -> None:
        self._leave_utterance()
        self._utterance = Utterance(self._rate, self.KEPT_SECONDS)
        self._is_over = False
        self._untried = deque(self._chain.order())
        self._chain.tell_skipped(self._report)
        self._attempts = list(self._chain.skipped)
        self._shows, self._shown = None, ""
        if self._untried:
            self._ask_next()
        await asyncio.sleep(0)

    async def send(self, pcm: bytes) -> None:
        self._look_after()
        if not self._at_work:
            return  # all have failed
        self._utterance.add(pcm)
        for hearing in self._at_work:
            hearing.hear()
        await asyncio.sleep(0)  # whoever takes audio gets this piece before the next one comes

    async def finish(self, voiced: float | None = None) -> Heard:
        """The utterance's transcript, which may be empty, and who gave it.

        `voiced`: seconds from the first sound of a voice to the last, which is less than all that was sent.
        """
        self._is_over = True
        for hearing in self._at_work[:1]:
            hearing.finish()
        best, transcript = await self._decided(self._utterance.seconds if voiced is None else voiced)
        self._tell_overtaken(best)
        self._chain.answered(best.recognizer, self._report)
        self.dropped = self._utterance.dropped
        self._leave_utterance()
        self._utterance, self._shows = Utterance(self._rate, self.KEPT_SECONDS), None  # who is overtaken has its own
        return Heard(transcript, best.recognizer.slug)

    # -- while the caller speaks --------------------------------------------------------------------------

    def _look_after(self) -> None:
        limit = self._deadlines.silence
        for hearing in tuple(self._at_work):
            if hearing.recognizer.tells_as_it_hears and hearing.is_silent(limit):
                hearing.give_up(
                    ProviderError(ErrorKind.TIMEOUT, f"said nothing for {limit:g} s while the caller spoke")
                )
        is_alone = len(self._at_work) == 1 and self._deadlines.asks_beside
        if is_alone and self._at_work[0].owes_a_sign and self._has_another():
            self._ask_next()

    def _has_another(self) -> bool:
        """Who is out is asked when there is nobody else, not beside somebody. They are the last in the order."""
        return bool(self._untried) and self._chain.is_well(self._untried[0])

    def _ask_next(self) -> Hearing:
        hearing = Hearing(
            self._untried.popleft(),
            self._utterance,
            self._connections,
            self._deadlines,
            on_text=self._interim,
            on_end=self._ended,
        )
        self._tasks.add(hearing.task)
        hearing.task.add_done_callback(self._tasks.discard)
        self._at_work.append(hearing)
        return hearing

    def _interim(self, hearing: Hearing, text: str) -> None:
        if text and text != self._shown and self._is_shown(hearing):
            self._shown = text
            self._on_interim(text)

    def _is_shown(self, hearing: Hearing) -> bool:
        """The texts of two do not take turns: who was silent when the one beside it spoke is not shown any more."""
        if hearing not in self._at_work:
            return False
        if self._shows not in self._at_work:
            self._shows = self._at_work[0]
        if hearing is self._at_work[-1] and self._shows.owes_a_sign:
            self._shows = hearing
        return hearing is self._shows

    # -- when the caller is silent ------------------------------------------------------------------------

    async def _decided(self, voiced: float) -> tuple[Hearing, Transcript]:
        while self._at_work:
            self._news.clear()
            wait = self._ask_beside(voiced)
            place = chosen([hearing.answer for hearing in self._at_work], voiced)
            if place is not None and (answer := self._at_work[place].answer):
                return self._at_work[place], answer
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()
        raise AllFailed(self._attempts)

    def _ask_beside(self, voiced: float) -> float | None:
        """Ask another one for the transcript when its time has come. Returns the seconds until then, if it comes."""
        first, *others = self._at_work
        if any(other.is_waited_for or other.answer for other in others) or not (others or self._has_another()):
            return None
        wait = self._patience(first, has_other=bool(others), voiced=voiced)
        if wait is not None and wait <= 0:
            (others[0] if others else self._ask_next()).finish()
            return None
        return wait

    def _patience(self, first: Hearing, *, has_other: bool, voiced: float) -> float | None:
        if first.answer:
            return 0 if is_doubtful(first.answer, voiced) else None
        if not self._deadlines.asks_beside:
            return None
        if has_other and first.owes_a_sign:
            return 0
        return first.since + self._deadlines.beside - time.monotonic()

    def _tell_overtaken(self, best: Hearing) -> None:
        """Their breakers hear nothing of it: to be slow is not to be dead, and where one heard no words there may
        have been none.
        """
        for hearing in self._at_work[: self._at_work.index(best)]:
            waited = time.monotonic() - hearing.since
            self._report.failed(hearing.recognizer.slug, self._why_overtaken(hearing, waited), round(waited * 1000))

    def _why_overtaken(self, hearing: Hearing, waited: float) -> ProviderError:
        if hearing.answer:
            return ProviderError(ErrorKind.EMPTY, "heard nothing where another provider heard words")
        limit = self._deadlines.beside
        what = f"no transcript within {limit:g} s" if waited >= limit else "no sign of life while the caller spoke"
        return ProviderError(ErrorKind.TIMEOUT, f"{what}; another provider was quicker")

    # -- ends ---------------------------------------------------------------------------------------------

    def _ended(self, hearing: Hearing) -> None:
        self._bill(hearing)
        if hearing in self._overtaken:
            self._overtaken.remove(hearing)
            self._chain.ended(hearing.recognizer, hearing.error, hearing.since)
        elif hearing.error:
            self._attempts.append(self._chain.failed(hearing.recognizer, hearing.error, hearing.since, self._report))
            self._replace(hearing)
        self._news.set()

    def _replace(self, hearing: Hearing) -> None:
        self._at_work.remove(hearing)
        if not self._at_work and self._untried:
            self._ask_next()
        if self._is_over and self._at_work:
            self._at_work[0].finish()
        if not self._at_work:
            self._utterance.forget()

    def _leave_utterance(self) -> None:
        """Who is asked already may answer until its deadline, with nobody waiting: so its breaker learns of it."""
        for hearing in self._at_work:
            self._bill(hearing)
            if hearing.is_waited_for:
                self._overtaken.add(hearing)
            else:
                hearing.abandon()
        self._at_work.clear()
        self._untried.clear()

    def _bill(self, hearing: Hearing) -> None:
        if milliseconds := hearing.take_bill():
            recognizer = hearing.recognizer
            self._report.used(recognizer.slug, recognizer.model, "audio_ms", milliseconds)
