"""How workers ask language models: one after the other until the reply is whole, going on where one broke off.

A reply is committed sentence by sentence. When a model refuses, is late, stalls, breaks off or talks garbage, the next
one goes on after the last committed sentence; the unfinished one is made anew. Nothing is lost, nothing said twice.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from connectors_app.asking import Deadlines, Pace, TooSlow, Turns, in_time
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool, ToolCall
from connectors_app.continuing import Continuation
from connectors_app.pool import AllFailed, Chain, Report
from mesh.sentences import Sentences

SENTENCE_CHARACTERS = 45
"""Of a sentence that takes three seconds to speak."""
CHARACTERS_PER_TOKEN = 4
"""For the estimate of what a model used that could not tell."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that stands: whatever happens now, it is not said again."""

    text: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The text since the last sentence is void: the model broke off, and another one says it anew."""


Piece = str | Sentence | Withdrawn | ToolCall | Finished


async def answer(
    chain: Chain[LanguageModel],
    messages: Sequence[Message],
    deadlines: Deadlines,
    report: Report,
    *,
    tools: Sequence[Tool] = (),
    said: Sequence[str] = (),
) -> AsyncGenerator[Piece, None]:
    """Text as it comes, each sentence of it when it is whole, the calls of tools at the end, then one Finished.

    `said` are sentences of this reply that stand already. Raises AllFailed; what was given by then stands.
    """
    chain.tell_skipped(report)
    attempts = list(chain.skipped)
    draft = _Draft(list(said))
    turns = Turns(chain.order())
    for model in turns:
        started, begun = time.monotonic(), False
        if turns.is_last:
            deadlines = replace(deadlines, sentence=inf)
        try:
            draft.begin()
            async with aclosing(_attempt(chain, model, messages, deadlines, report, tools, draft)) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
            return
        except ProviderError as error:
            attempts.append(chain.failed(model, error, started, report))
            if isinstance(error, TooSlow):  # another one that is no faster would only make it later
                deadlines = replace(deadlines, sentence=inf)
        if draft.is_shown:
            yield Withdrawn()
        if begun:
            turns.again(model)
    raise AllFailed(attempts)


async def _attempt(
    chain: Chain[LanguageModel],
    model: LanguageModel,
    messages: Sequence[Message],
    deadlines: Deadlines,
    report: Report,
    tools: Sequence[Tool],
    draft: "_Draft",
) -> AsyncGenerator[Piece, None]:
    asked = [*messages, Message("assistant", " ".join(draft.said))] if draft.said else messages
    bill = _Bill(model, asked, report)
    calls: list[ToolCall] = []  # a broken attempt's are forgotten
    try:
        pace = Pace("first token", deadlines.first_token, deadlines.stall)
        worth = partial(_seconds_worth, deadlines.sentence)
        async with aclosing(in_time(model.reply(asked, tools), pace, worth, _is_end)) as items:
            async for item in items:
                bill.count(item)
                if bill.is_first:
                    chain.answered(model, report)
                match item:
                    case "":
                        pass  # a part of a call
                    case str():
                        for piece in draft.add(item):
                            yield piece
                    case ToolCall():
                        calls.append(item)
        if bill.end is None:
            raise ProviderError(ErrorKind.BROKEN, f"{model.label} broke off before its end mark")
        if not (bill.said or calls or draft.said):
            raise ProviderError(ErrorKind.EMPTY, f"answered nothing ({bill.end.reason})")
    except ProviderError as error:
        bill.break_off(error)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        chain.interrupted(model)
        raise
    finally:
        bill.settle()
    for piece in (*draft.end(), *calls, bill.end):
        yield piece


def _seconds_worth(sentence: float, item: Said) -> float:
    """How long a piece of a reply may take. Calls are not heard: from then on, only standing still is too slow."""
    return len(item) * sentence / SENTENCE_CHARACTERS if isinstance(item, str) and item else inf


def _is_end(item: Said) -> bool:
    return isinstance(item, Finished)


class _Draft:
    """The reply as far as it is made."""

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.begin()

    def begin(self) -> None:
        """A model goes on after what stands."""
        self._sentences = Sentences()
        self._continuation = Continuation(self.said)
        self.is_shown = False
        """Text of an unfinished sentence was given, which does not stand."""

    def add(self, text: str) -> list[Piece]:
        """What may be a repetition is not shown before it is known to be none."""
        was_decided = self._continuation.is_decided
        pieces: list[Piece] = [text] if was_decided else []
        self.is_shown = self.is_shown or was_decided
        for sentence in self._sentences.feed(text):
            pieces += self._stand(self._continuation.feed(sentence), is_shown=was_decided)
            self.is_shown = bool(self._sentences.rest.strip()) and self._continuation.is_decided
        if self.is_shown and not was_decided:
            pieces.append(self._sentences.rest)
        return pieces

    def end(self) -> list[Piece]:
        pieces: list[Piece] = []
        was_decided = self._continuation.is_decided
        for sentence in self._sentences.flush():
            pieces += self._stand(self._continuation.feed(sentence), is_shown=was_decided)
        return pieces + self._stand(self._continuation.end(), is_shown=was_decided)

    def _stand(self, sentences: list[str], *, is_shown: bool) -> list[Piece]:
        self.said += sentences
        pieces: list[Piece] = []
        for text in sentences:
            pieces += [Sentence(text)] if is_shown else [f"{text} ", Sentence(text)]
        return pieces


class _Bill:
    """What an attempt used, however it ended: by the provider's own count, else by an estimate."""

    def __init__(self, model: LanguageModel, messages: Sequence[Message], report: Report) -> None:
        self._model = model
        self._report = report
        self._asked = sum(len(message.content) for message in messages)
        self.end: Finished | None = None
        self._is_free = False
        self._items = 0
        self.said = 0

    @property
    def is_first(self) -> bool:
        return self._items == 1 and self.end is None

    def count(self, item: Said) -> None:
        match item:
            case Finished():
                self.end = item
                return
            case ToolCall():
                self.said += len(str(item.arguments))
            case _:
                self.said += len(item)
        self._items += 1

    def break_off(self, error: ProviderError) -> None:
        """A question that was refused costs nothing; one that was late is being answered somewhere."""
        self._is_free = not self._items and self.end is None and error.kind is not ErrorKind.TIMEOUT

    def settle(self) -> None:
        if self._is_free:
            return
        end = self.end or Finished()
        self._use("input_tokens", end.input_tokens, self._asked)
        self._use("output_tokens", end.output_tokens, self.said)

    def _use(self, unit: str, told: int, characters: int) -> None:
        if told:
            self._report.used(self._model.slug, self._model.model, unit, told)
        else:
            tokens = -(-characters // CHARACTERS_PER_TOKEN)
            self._report.used(self._model.slug, self._model.model, unit, tokens, estimated=True)
