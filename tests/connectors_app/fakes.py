"""Providers that live in the test's process and do what a test tells them."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Connector, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import LanguageModel, Message, Said, Tool
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.base.voice import Speech, Voice
from connectors_app.breaker import Breakers, Rules
from connectors_app.pool import Attempt, Chain, Pool

HASTY = Deadlines(first_token=0.05, first_audio=0.05, transcript=0.05, stall=0.05, sentence=0.1)
NEVER = object()
"""In a script: here the provider falls silent."""


def failing(kind: ErrorKind, **facts: Any) -> ProviderError:
    return ProviderError(kind, f"it is {kind}", **facts)


@dataclass
class Told:
    """A report that remembers."""

    failures: list[tuple[str, ErrorKind]] = field(default_factory=list)
    switches: list[tuple[str, str]] = field(default_factory=list)
    usage: dict[tuple[str, str], int] = field(default_factory=dict)
    estimates: set[tuple[str, str]] = field(default_factory=set)

    def failed(self, provider: str, error: ProviderError, ms: int) -> None:
        assert ms >= 0
        self.failures.append((provider, error.kind))

    def switched(self, before: str, after: str) -> None:
        self.switches.append((before, after))

    def used(self, provider: str, model: str, unit: str, quantity: int, *, estimated: bool = False) -> None:
        self.usage[provider, unit] = quantity
        if estimated:
            self.estimates.add((provider, unit))


class Scripted(Connector):
    """Gives the items of its script, raises the errors in it, and stops for ever at NEVER."""

    label = "Scripted"
    Options = Options

    def __init__(self, slug: str, *script: Any, rate: int = 8000) -> None:
        super().__init__(Options(), Credentials())
        self.slug = slug  # type: ignore[misc]
        self.script = script
        self.rate = rate
        self.asked: list[Any] = []
        self.began = asyncio.Event()
        self.closed = asyncio.Event()

    async def check(self) -> None: ...

    async def play(self, asked: Any) -> AsyncIterator[Any]:
        self.asked.append(asked)
        self.began.set()
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                if item is NEVER:
                    await asyncio.Event().wait()
                yield item
        finally:
            self.closed.set()


class ScriptedModel(Scripted, LanguageModel):
    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        async with aclosing(self.play(messages)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item


class ScriptedVoice(Scripted, Voice):
    def open(self, rate: int) -> Speech:
        return ScriptedSpeech(self)


class ScriptedSpeech(Speech):
    def __init__(self, voice: ScriptedVoice) -> None:
        self.voice = voice
        self.rate = voice.rate

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        async with aclosing(self.voice.play(text)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item


class ScriptedRecognizer(Scripted, Recognizer):
    """`begin`, `send` and `finish` each take one item of the script; a string is the transcript of `finish`.

    A future is what it becomes, and takes its time.
    """

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        self.on_interim = on_interim
        return ScriptedRecognition(self)


class ScriptedRecognition(Recognition):
    def __init__(self, by: ScriptedRecognizer) -> None:
        self.by = by
        self.script = list(by.script)
        self.heard = b""

    async def begin(self) -> None:
        self.heard = b""
        self.by.began.set()
        await self._step()

    async def send(self, pcm: bytes) -> None:
        self.heard += pcm
        await self._step()

    async def finish(self) -> Transcript:
        self.by.asked.append(self.heard)
        return Transcript(await self._step() or "")

    async def close(self) -> None:
        self.by.closed.set()

    async def _step(self) -> str | None:
        item: Any = self.script.pop(0) if self.script else None
        if isinstance(item, asyncio.Future):
            item = await item
        if isinstance(item, Exception):
            raise item
        if item is NEVER:
            await asyncio.Event().wait()
        return None if item is None else str(item)


def chain_of(*connectors: Any, skipped: Sequence[Attempt] = (), breakers: Breakers | None = None) -> Chain[Any]:
    return Chain(Pool({}, breakers=breakers), connectors, skipped)


def never_out() -> Breakers:
    """Each turn asks all providers in their order, whatever has happened."""
    return Breakers(Rules(patience=-math.inf))
