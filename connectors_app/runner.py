"""How workers ask providers: deadlines by an own clock, and the next provider when one fails before its first byte.

A provider that breaks in the middle of an answer or a sentence is an honest error; only recognition starts again with
the next one, because the utterance's audio is kept here. Close the iterators of `answer` and `speak` (`aclosing`) to
cancel what they ask for: that closes the provider's stream and nothing else.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, cast

from connectors_app.base import (
    Connector,
    ErrorKind,
    Finished,
    LanguageModel,
    Message,
    ProviderError,
    Recognition,
    Recognizer,
    Speech,
    Transcript,
    Voice,
)
from connectors_app.pool import AllFailed, Attempt, Chain, Report, unexpected
from connectors_app.resampling import Resampler

log = logging.getLogger(__name__)

C = TypeVar("C", bound=Connector)
Item = TypeVar("Item")


CHARACTERS_PER_TOKEN = 4
"""For the estimate of what a language model used that could not tell."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a provider has before the next one is asked."""

    first_token: float = 1.5
    first_audio: float = 1.0
    transcript: float = 3.0
    stall: float = 2.0
    """Between two pieces of a stream that has begun, and for taking a piece of the caller's audio."""


# -- language model and voice ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pace:
    what: str
    first: float
    stall: float

    def late(self, begun: bool) -> ProviderError:
        if begun:
            return ProviderError(ErrorKind.TIMEOUT, f"stopped in the middle for {self.stall:g} s")
        return ProviderError(ErrorKind.TIMEOUT, f"no {self.what} within {self.first:g} s")


async def answer(
    chain: Chain[LanguageModel], messages: Sequence[Message], deadlines: Deadlines, report: Report
) -> AsyncGenerator[str | Finished, None]:
    """Text as it comes, then one Finished. Raises AllFailed, or ProviderError when text had come already."""

    async def ask(model: LanguageModel) -> AsyncGenerator[str | Finished, None]:
        bill = _Bill(model, messages, report)
        try:
            async with aclosing(_generator(model.reply(messages))) as items:
                async for item in items:
                    bill.count(item)
                    if isinstance(item, Finished) and not bill.said:
                        raise ProviderError(ErrorKind.EMPTY, f"answered nothing ({item.reason})")
                    yield item
        except ProviderError:
            bill.break_off()
            raise
        finally:
            bill.settle()

    pace = _Pace("first token", deadlines.first_token, deadlines.stall)
    async with aclosing(_ask_in_order(chain, ask, pace, report)) as items:
        async for item in items:
            yield item


class _Bill:
    """What an attempt of a language model used, however it ended: by its own count, else by an estimate."""

    def __init__(self, model: LanguageModel, messages: Sequence[Message], report: Report) -> None:
        self._model = model
        self._report = report
        self._asked = sum(len(message.content) for message in messages)
        self._end: Finished | None = None
        self._is_free = False
        self.said = 0

    def count(self, item: str | Finished) -> None:
        if isinstance(item, Finished):
            self._end = item
        else:
            self.said += len(item)

    def break_off(self) -> None:
        """The provider refused: nobody pays for a question that was not answered at all."""
        self._is_free = not self.said and self._end is None

    def settle(self) -> None:
        if self._is_free:
            return
        end = self._end or Finished()
        self._use("input_tokens", end.input_tokens, self._asked)
        self._use("output_tokens", end.output_tokens, self.said)

    def _use(self, unit: str, told: int, characters: int) -> None:
        if told:
            self._report.used(self._model.slug, self._model.model, unit, told)
        else:
            tokens = -(-characters // CHARACTERS_PER_TOKEN)
            self._report.used(self._model.slug, self._model.model, unit, tokens, estimated=True)


class Speaking:
    """The agent's voice in one session: a Speech for each provider that was needed, opened with `async with`."""

    def __init__(self, chain: Chain[Voice], rate: int, deadlines: Deadlines) -> None:
        self._chain = chain
        self._rate = rate
        self._pace = _Pace("audio", deadlines.first_audio, deadlines.stall)
        self._open: dict[Voice, Speech] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        for voice in self._chain.order()[:1]:
            try:
                await self._opened(voice)
            except ProviderError:
                log.info("voice is not there yet", extra={"provider": voice.slug})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for speech in self._open.values():
            await speech.close()

    async def speak(self, text: str, report: Report) -> AsyncGenerator[bytes, None]:
        """One sentence as s16le mono at the session's rate. Raises as `answer` does; no audio at all is a failure.

        A text without a letter or digit has nothing to be spoken: it yields nothing and nobody is asked.
        """
        if not any(char.isalnum() for char in text):
            return

        def ask(voice: Voice) -> AsyncGenerator[bytes, None]:
            return self._say(voice, text, report)

        async with aclosing(_ask_in_order(self._chain, ask, self._pace, report)) as pieces:
            async for pcm in pieces:
                yield pcm

    async def _say(self, voice: Voice, text: str, report: Report) -> AsyncGenerator[bytes, None]:
        speech = await self._opened(voice)
        resampler = Resampler(speech.rate, self._rate)
        spoke, is_free = False, False
        try:
            async with aclosing(_generator(speech.speak(text))) as pieces:
                async for pcm in pieces:
                    spoke = True
                    if ready := resampler.feed(pcm):
                        yield ready
        except ProviderError:
            is_free = not spoke
            raise
        finally:
            if not is_free:  # also a sentence that is broken off has been ordered whole
                report.used(voice.slug, voice.model, "characters", len(text))
        if rest := resampler.end():
            yield rest

    async def _opened(self, voice: Voice) -> Speech:
        async with self._opening:
            if voice not in self._open:
                self._open[voice] = await voice.open(self._rate).__aenter__()
            return self._open[voice]


def _generator(items: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
    """What providers return as an iterator is an async generator: it can be closed."""
    return cast(AsyncGenerator[Item, None], items)


async def _ask_in_order(
    chain: Chain[C], ask: Callable[[C], AsyncGenerator[Item, None]], pace: _Pace, report: Report
) -> AsyncGenerator[Item, None]:
    chain.tell_skipped(report)
    attempts = list(chain.skipped)
    for connector in chain.order():
        started = time.monotonic()
        begun = False
        try:
            async with aclosing(ask(connector)) as items:
                while (item := await _next(items, pace, begun)) is not None:
                    if not begun:
                        begun = True
                        chain.answered(connector, report)
                    yield item
            if begun:
                return
            raise ProviderError(ErrorKind.EMPTY, f"ended with no {pace.what}")
        except ProviderError as error:
            attempts.append(chain.failed(connector, error, started, report))
            if begun:
                raise
    raise AllFailed(attempts)


async def _next(items: AsyncGenerator[Item, None], pace: _Pace, begun: bool) -> Item | None:
    try:
        async with asyncio.timeout(pace.stall if begun else pace.first):
            return await anext(items)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise pace.late(begun) from None
    except ProviderError:
        raise
    except Exception as error:  # noqa: BLE001
        raise unexpected(error) from error


# -- recognition -----------------------------------------------------------------------------------------


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
        self._open: dict[Recognizer, Recognition] = {}
        self._untried: deque[Recognizer] = deque()
        self._attempts: list[Attempt] = []
        self._audio: deque[bytes] = deque()
        self._kept = self._fed = 0
        self._sent = 0
        """Bytes that the provider at work got of the utterance and that are not reported as used."""
        self._begun = False
        self.dropped = 0

    async def __aenter__(self) -> Self:
        for recognizer in self._chain.order()[:1]:
            try:
                await self._opened(recognizer)
            except ProviderError:
                log.info("recognition is not there yet", extra={"provider": recognizer.slug})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bill()
        for recognizer in list(self._open):
            await self._close(recognizer)

    async def begin(self) -> None:
        self._bill()
        self._untried = deque(self._chain.order())
        self._chain.tell_skipped(self._report)
        self._attempts = list(self._chain.skipped)
        self._audio.clear()
        self._kept = self._fed = self.dropped = 0
        self._begun = False
        await self._deliver()

    async def send(self, pcm: bytes) -> None:
        self._keep(pcm)
        await self._deliver()

    async def finish(self) -> Heard:
        """The utterance's transcript, which may be empty, and who gave it."""
        heard = await self._deliver(last=True)
        self._untried.clear()
        if heard is None:
            raise AllFailed(self._attempts)
        return heard

    def _keep(self, pcm: bytes) -> None:
        self._audio.append(pcm)
        self._kept += len(pcm)
        while self._kept > self.KEPT_SECONDS * self._rate * 2 and self._fed:
            oldest = len(self._audio.popleft())
            self._kept -= oldest
            self.dropped += oldest
            self._fed -= 1

    async def _deliver(self, last: bool = False) -> Heard | None:
        """Bring the first provider that still works up to date; None when there is none left or no end was asked."""
        while self._untried:
            recognizer = self._untried[0]
            started = time.monotonic()
            try:
                transcript = await self._bring_up_to_date(recognizer, last)
            except ProviderError as error:
                self._attempts.append(self._chain.failed(recognizer, error, started, self._report))
                self._bill()
                await self._pass_on(recognizer)
                continue
            return self._heard(recognizer, transcript) if transcript else None
        return None

    async def _bring_up_to_date(self, recognizer: Recognizer, last: bool) -> Transcript | None:
        limit = self._deadlines.transcript if last else self._deadlines.stall
        try:
            async with asyncio.timeout(limit):
                recognition = await self._opened(recognizer)
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
        while self._fed < len(self._audio):
            pcm = self._audio[self._fed]
            await recognition.send(pcm)
            self._fed += 1
            self._sent += len(pcm)

    async def _pass_on(self, recognizer: Recognizer) -> None:
        self._untried.popleft()
        self._begun = False
        self._fed = 0
        await self._close(recognizer)

    def _heard(self, recognizer: Recognizer, transcript: Transcript) -> Heard:
        self._chain.answered(recognizer, self._report)
        self._bill()
        return Heard(transcript, recognizer.slug)

    def _bill(self) -> None:
        """What the provider at work heard is paid for, whether a transcript came of it or not."""
        sent, self._sent = self._sent, 0
        if sent and self._untried:
            recognizer = self._untried[0]
            self._report.used(recognizer.slug, recognizer.model, "audio_ms", sent * 1000 // (2 * self._rate))

    async def _opened(self, recognizer: Recognizer) -> Recognition:
        if recognizer not in self._open:
            recognition = recognizer.open(self._rate, lambda text: self._interim(recognizer, text))
            self._open[recognizer] = await recognition.__aenter__()
        return self._open[recognizer]

    def _interim(self, recognizer: Recognizer, text: str) -> None:
        if self._untried and self._untried[0] is recognizer:
            self._on_interim(text)

    async def _close(self, recognizer: Recognizer) -> None:
        if recognition := self._open.pop(recognizer, None):
            await recognition.close()
