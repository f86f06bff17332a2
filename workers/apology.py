"""The apology's audio, made before it is needed: it is said when nobody answers."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from typing import Any

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Sealed
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Voice
from connectors_app.pool import AllFailed, Chain, Pool, Report
from connectors_app.speaking import Speaking
from mesh.sentences import sentences_of
from workers.stage import Reporting

KEPT = 32
"""Sentences that a process keeps: some seconds of audio each."""
LAST_RESORT = "espeak"
"""A voice on this machine, without a key or a network."""


class InAdvance(Reporting):
    """What fails is told, since the turns will ask another one first; but who speaks for the session, they decide."""

    def failed(self, provider: str, error: ProviderError, ms: int) -> None:
        if error.kind is not ErrorKind.UNCONFIGURED:  # which the first turn tells
            super().failed(provider, error, ms)

    def switched(self, before: str, after: str) -> None:
        pass


class _Untold:
    """The last resort is no provider that the session has named."""

    def failed(self, provider: str, error: ProviderError, ms: int) -> None:
        pass

    def switched(self, before: str, after: str) -> None:
        pass

    def used(self, provider: str, model: str, unit: str, quantity: int, *, estimated: bool = False) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Voices:
    """Who speaks for a session, in their order."""

    pool: Pool
    deadlines: Deadlines
    rate: int
    order: tuple[str, ...]
    options: Mapping[str, Any]
    credentials: Sealed
    last_resort: Mapping[str, Any]
    """Its options."""

    def chain(self) -> Chain[Voice]:
        return self.pool.voices(self.order, self.options, self.credentials)

    async def speak(self, text: str, report: Report) -> bytes:
        return await self._spoken(self.chain(), text, report)

    async def speak_anyhow(self, text: str) -> bytes:
        """Without any of them."""
        chain = self.pool.voices([LAST_RESORT], {LAST_RESORT: self.last_resort})
        return await self._spoken(chain, text, _Untold())

    async def _spoken(self, chain: Chain[Voice], text: str, report: Report) -> bytes:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(chain.close)
            speaking = Speaking(chain, self.rate, self.deadlines)
            stack.push_async_exit(speaking)  # not entered: what it opens is opened within its deadline
            pieces = await stack.enter_async_context(aclosing(speaking.speak(text, report)))
            return b"".join([pcm async for pcm in pieces])


Key = tuple[tuple[Voice, ...], str, int]


class Prepared:
    """Sentences that a process has audio of: made once for all sessions with the same voices and rate."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._making: dict[Key, asyncio.Task[bytes | AllFailed]] = {}

    async def audio(self, voices: Voices, text: str, report: Report) -> bytes:
        """s16le mono; raises AllFailed. Who asks while it is made waits for that, and `report` is the first one's."""
        chain = voices.chain()
        key = (chain.connectors, text, voices.rate)
        await chain.close()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._making:
            self._making[key] = asyncio.create_task(self._make(key, voices, report))
        made = await asyncio.shield(self._making[key])  # its session may end, and others wait
        if isinstance(made, AllFailed):
            raise made
        return made

    async def _make(self, key: Key, voices: Voices, report: Report) -> bytes | AllFailed:
        """What the last resort has said is not kept for other sessions: their voices may be back."""
        _, text, _ = key
        try:
            self._kept[key] = pcm = await voices.speak(text, report)
        except AllFailed as error:
            try:
                return await voices.speak_anyhow(text)
            except AllFailed:
                return error
        finally:
            del self._making[key]
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return pcm


class Apology:
    """One session's, as long as its configuration holds."""

    def __init__(self, prepared: Prepared, voices: Voices, text: str) -> None:
        self._prepared = prepared
        self._voices = voices
        self.sentences = tuple(sentences_of(text)) if voices.order else ()
        self._ready: dict[str, bytes] = {}

    async def prepare(self, report: Report) -> None:
        for sentence in self.sentences:
            with suppress(AllFailed):  # it is tried again when it is needed
                await self.audio(sentence, report)

    async def audio(self, sentence: str, report: Report) -> bytes:
        """At once, if it is prepared. Raises AllFailed."""
        if sentence not in self._ready:
            self._ready[sentence] = await self._prepared.audio(self._voices, sentence, report)
        return self._ready[sentence]
