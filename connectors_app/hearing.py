"""One recogniser at one utterance: fed by a task of its own, so that it holds up nobody but itself."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Self

from connectors_app.asking import Deadlines, Limit
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.opening import Opening
from connectors_app.pool import unexpected

TELLING_SECONDS = 1.0
"""In which one that tells as it hears need not say anything: some speak up once a second when they are well."""


class Utterance:
    """The audio of an utterance so far. Each hearing gets it from the beginning; of a long one the oldest is gone."""

    def __init__(self, rate: int, kept_seconds: float) -> None:
        self.per_second = rate * 2
        self._most = kept_seconds * self.per_second
        self._pieces: deque[bytes] = deque()
        self._first = 0
        """The place of the oldest piece that is kept."""
        self._kept = 0
        self.length = self.dropped = 0
        """Bytes; the dropped ones are counted in the length."""

    @property
    def seconds(self) -> float:
        return self.length / self.per_second

    def seconds_from(self, place: int) -> float:
        """Of audio that somebody at this place has not got."""
        return sum(map(len, islice(self._pieces, max(0, place - self._first), None))) / self.per_second

    def add(self, pcm: bytes) -> None:
        self._pieces.append(pcm)
        self._kept += len(pcm)
        self.length += len(pcm)
        while self._kept > self._most:
            self._kept -= (oldest := len(self._pieces.popleft()))
            self.dropped += oldest
            self._first += 1

    def forget(self) -> None:
        """Nobody will get it."""
        self._pieces.clear()
        self._kept = 0

    def next(self, place: int) -> tuple[bytes, int] | None:
        """The piece at this place, or the oldest after it, and the place after that one."""
        index = max(0, place - self._first)
        return (self._pieces[index], self._first + index + 1) if index < len(self._pieces) else None


class Connection:
    """A recogniser's connection, and the one who listens to it at the moment."""

    def __init__(self, recognizer: Recognizer, rate: int) -> None:
        self.on_text = _nobody
        self.recognition = recognizer.open(rate, lambda text: self.on_text(text))

    async def __aenter__(self) -> Self:
        await self.recognition.__aenter__()
        return self

    async def close(self) -> None:
        await self.recognition.close()


def _nobody(text: str) -> None:
    """What comes between two utterances is of none of them."""


class Hearing:
    """It ends with an `answer` or an `error`, of which `on_end` is told once, at its deadline at the latest.

    Each piece of audio has to be taken in time. The transcript's time begins when the last one is, and who was asked
    before has as long to catch up as the audio lasts that waits.
    The deadline is ours: it holds for a provider, too, that does not let itself be interrupted.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        utterance: Utterance,
        connections: Opening[Recognizer, Connection],
        deadlines: Deadlines,
        *,
        on_text: Callable[["Hearing", str], None],
        on_end: Callable[["Hearing"], None],
    ) -> None:
        self.recognizer = recognizer
        self.answer: Transcript | None = None
        self.error: ProviderError | None = None
        self.asked_at: float | None = None
        self._utterance = utterance
        self._connections = connections
        self._deadlines = deadlines
        self._on_text = on_text
        self._on_end = on_end
        self._is_over = False
        self._place = 0
        """Of the next piece of audio that it gets."""
        self._unpaid = 0
        self._news = asyncio.Event()
        self._is_waiting = False
        """For more audio."""
        self._taking = Limit(self._took_no_audio)
        self._answering = Limit(self._gave_no_answer)
        self._silent_since: float | None = None
        """When the first audio came after its last sign."""
        self._show_life()
        self._expect_progress()
        self.task = asyncio.create_task(self._run())

    # -- what it is told ----------------------------------------------------------------------------------

    def hear(self) -> None:
        """The utterance has gone on."""
        if self._silent_since is None:
            self._silent_since = time.monotonic()
        self._news.set()

    def finish(self) -> None:
        """The utterance is over and its transcript is wanted. Who has been asked already is not asked again."""
        if self.asked_at is None and not self._is_over:
            self.asked_at = time.monotonic()
            self._answering.within(self._deadlines.transcript + self._utterance.seconds_from(self._place))
            if not self._is_waiting:
                self._taking.within(self._deadlines.transcript)
            self._news.set()

    def give_up(self, error: ProviderError) -> None:
        self._end(None, error)
        self.task.cancel()

    def abandon(self) -> None:
        """Nobody wants to know any more what becomes of it. Where it only waits for audio, its connection is kept."""
        self._is_over = True
        self._taking.off()
        self._answering.off()
        if self._is_waiting:
            self._news.set()
        else:
            self.task.cancel()

    # -- what it tells ------------------------------------------------------------------------------------

    @property
    def is_waited_for(self) -> bool:
        return self.asked_at is not None and not self._is_over

    @property
    def since(self) -> float:
        """When it was asked what it has not answered, or last showed that it lives."""
        return self._lived_at if self.asked_at is None else self.asked_at

    def is_silent(self, seconds: float) -> bool:
        """For so long of the caller's audio, since a pause asks for no word; and by the clock since then, for a replay
        is fast.

        A socket can be dead and look open: who tells as it hears, lives when it tells; others, when they take audio.
        """
        unheard = self._utterance.length - self._lived_until
        if self._silent_since is None or unheard < seconds * self._utterance.per_second:
            return False
        return time.monotonic() - self._silent_since >= seconds

    @property
    def owes_a_sign(self) -> bool:
        """It has been silent for `Deadlines.beside` longer than it may be."""
        may = TELLING_SECONDS if self.recognizer.tells_as_it_hears else 0.0
        return self.is_silent(may + self._deadlines.beside)

    def take_bill(self) -> int:
        """Milliseconds of audio that it got and that are not paid for. They are, whether a transcript came or not."""
        sent, self._unpaid = self._unpaid, 0
        return sent * 1000 // self._utterance.per_second

    # -- its work -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with self._connections.lent(self.recognizer) as connection:
                answer = await self._listen(connection)
            self._end(answer, None)
        except ProviderError as error:
            self._end(None, error)
        except Exception as error:  # noqa: BLE001
            self._end(None, unexpected(error))

    async def _listen(self, connection: Connection) -> Transcript | None:
        """None: it was left before it was asked."""
        connection.on_text = self._told
        try:
            await connection.recognition.begin()
            self._show_life()
            await self._feed(connection.recognition)
            return None if self.asked_at is None else await connection.recognition.finish()
        finally:
            connection.on_text = _nobody

    async def _feed(self, recognition: Recognition) -> None:
        while True:
            await self._catch_up(recognition)
            self._taking.off()
            if self.asked_at is not None:
                self._answering.within(self._deadlines.transcript)
                return
            self._news.clear()
            self._is_waiting = True
            await self._news.wait()
            self._is_waiting = False
            if self._is_over:
                return
            self._expect_progress()

    async def _catch_up(self, recognition: Recognition) -> None:
        while due := self._utterance.next(self._place):
            pcm, place = due
            await recognition.send(pcm)
            if self._is_over:  # a provider may have forgotten that it was cancelled
                raise asyncio.CancelledError
            self._place = place
            self._unpaid += len(pcm)
            self._expect_progress()
            if not self.recognizer.tells_as_it_hears:
                self._show_life()

    def _told(self, text: str) -> None:
        self._show_life()
        self._on_text(self, text)

    def _show_life(self) -> None:
        self._lived_at = time.monotonic()
        self._lived_until = self._utterance.length
        self._silent_since = None

    def _expect_progress(self) -> None:
        """The next piece is to be taken: much may be waiting, where audio came in one breath."""
        self._taking.within(self._deadlines.stall if self.asked_at is None else self._deadlines.transcript)

    def _took_no_audio(self) -> None:
        limit = self._deadlines.stall if self.asked_at is None else self._deadlines.transcript
        self.give_up(ProviderError(ErrorKind.TIMEOUT, f"took no audio within {limit:g} s"))

    def _gave_no_answer(self) -> None:
        self.give_up(ProviderError(ErrorKind.TIMEOUT, f"no transcript within {self._deadlines.transcript:g} s"))

    def _end(self, answer: Transcript | None, error: ProviderError | None) -> None:
        if self._is_over:
            return
        self.answer, self.error = answer, error
        self._is_over = True
        self._taking.off()
        self._answering.off()
        self._on_end(self)
