"""PocketSphinx: recognition without a key or a network, of the sentences of a closed grammar and of nothing else.

It decodes in processes of its own. An utterance is decoded as a whole, and already at its first silence, so that the
answer is usually there when the caller's silence has become the end of the utterance.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from connectors_app.base.connector import AnyOptions, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.clients import Shared
from connectors_app.providers.offline import dictionary, jsgf, sphinx_program
from connectors_app.providers.offline.appointment import GRAMMAR
from connectors_app.providers.offline.child import Child, ChildGone, told_by_child
from connectors_app.providers.offline.sphinx_program import MODEL_RATE, REQUEST
from connectors_app.resampling import Resampler

PROCESSES = "MESHAG_POCKETSPHINX_PROCESSES"
MOST_PROCESSES = 16
SHORTEST_SECONDS = 0.2
LONGEST_SECONDS = 12
"""No sentence of a closed grammar is longer; decoding more would keep other callers waiting."""
SILENCE_SECONDS = 0.08
SILENCE = 0.06
"""Of the loudest chunk so far: what is quieter is no speech."""
QUIETEST = 60
"""Root mean square below which nothing is speech."""
HISS = 0.12
"""Noise that is added, as a part of the utterance's loudness. The model was made from recordings in rooms, and noise is
nearer to those than the silence of a digital line and the empty upper half of a telephone's band."""
STORY = (
    "I would like to book an appointment",
    "On Monday",
    "At ten o'clock",
    "Yes that is right",
    "What can you do",
    "Can you repeat that",
    "Start over",
    "Never mind",
    "Thank you goodbye",
)
"""What can be said to the demo's grammar, in the order in which an appointment is made."""
_NOISE = np.random.default_rng(1).standard_normal(MODEL_RATE, np.float32)


class PocketSphinxOptions(Options):
    phrases: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        (), max_length=500, description="What callers can say, two words or more each; empty: the grammar below"
    )
    grammar: str = Field(
        "",
        max_length=50_000,
        description="What callers can say, as a JSGF grammar; empty: the demo's appointment sentences",
    )

    @field_validator("phrases")
    @classmethod
    def _phrases_can_be_heard(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked_phrase(phrase) for phrase in phrases)

    @field_validator("grammar")
    @classmethod
    def _grammar_can_be_heard(cls, text: str) -> str:
        if text:
            grammar = jsgf.parse(text)
            if grammar.fewest_words() < 2:
                raise ValueError("a sentence of one word is too easily mistaken for another; use two words or more")
            _check_words(grammar.words())
        return text

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.phrases and self.grammar:
            raise ValueError("give phrases or a grammar, not both")
        return self

    def jsgf(self) -> str:
        if self.phrases:
            return jsgf.of_phrases(self.phrases)
        return self.grammar or GRAMMAR.read_text()


def _checked_phrase(phrase: str) -> str:
    words = phrase.lower().split()
    if len(words) < 2:
        raise ValueError(f"“{phrase}” is one word, which is too easily mistaken for another; use two words or more")
    if strange := [word for word in words if not word.replace("'", "").replace("-", "").isalpha()]:
        raise ValueError(f"“{phrase}” holds “{strange[0]}”; write words, numbers too, without punctuation")
    _check_words(words, f" of “{phrase}”")
    return " ".join(words)


def _check_words(words: "frozenset[str] | list[str]", where: str = "") -> None:
    if unknown := dictionary.unknown(words):
        raise ValueError(f"the word “{unknown[0]}”{where} is not in the English dictionary; write it another way")


class PocketSphinx(Recognizer):
    slug = "pocketsphinx"
    label = "PocketSphinx (offline, closed grammar)"
    Options: ClassVar[type[Options]] = PocketSphinxOptions
    options: PocketSphinxOptions

    def __init__(self, options: PocketSphinxOptions, credentials: Credentials) -> None:
        super().__init__(options, credentials)
        self._grammar = options.jsgf().encode()

    @classmethod
    def sentences(cls, options: AnyOptions) -> tuple[str, ...]:
        assert isinstance(options, PocketSphinxOptions)
        return jsgf.parse(options.jsgf()).examples() if options.phrases or options.grammar else STORY

    async def warm(self) -> None:
        """The decoder of this grammar is made."""
        await self.check()

    async def check(self) -> None:
        await self.understand(bytes(MODEL_RATE // 2), MODEL_RATE)

    async def close(self) -> None:
        await POOL.leave(self)

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _ClosedRecognition(self, rate, on_interim)

    async def understand(self, samples: bytes, wire_rate: int) -> str:
        """The sentence that the samples at MODEL_RATE say; empty for none. Asks again when the process ends."""
        pool = await POOL.take(self)
        request = REQUEST.pack(wire_rate, len(self._grammar)) + self._grammar + samples
        with told_by_child(self):
            try:
                return await pool.ask(request)
            except ChildGone:
                return await pool.ask(request)


class _ClosedRecognition(Recognition):
    def __init__(self, recognizer: PocketSphinx, rate: int, on_interim: Callable[[str], None]) -> None:
        self._recognizer = recognizer
        self._rate = rate
        self._on_interim = on_interim
        self._guess: asyncio.Task[str] | None = None
        self._restart()

    async def begin(self) -> None:
        self._restart()

    async def send(self, pcm: bytes) -> None:
        self._seconds += len(pcm) / 2 / self._rate
        if self._seconds <= LONGEST_SECONDS:
            self._samples += self._resampler.feed(pcm)
            self._listen(pcm)

    async def finish(self) -> Transcript:
        if not SHORTEST_SECONDS <= self._seconds <= LONGEST_SECONDS:
            return Transcript("", "en")
        return Transcript(await (self._guess or self._decode()), "en")

    async def close(self) -> None:
        self._drop_guess()

    def _restart(self) -> None:
        self._drop_guess()
        self._resampler = Resampler(self._rate, MODEL_RATE)
        self._samples = bytearray()
        self._seconds = 0.0
        self._loudest = float(QUIETEST)
        self._quiet_seconds = 0.0

    def _listen(self, pcm: bytes) -> None:
        """Decodes at a silence; what is said after it makes that worthless."""
        level = _level(pcm)
        self._loudest = max(self._loudest, level)
        if level > max(QUIETEST, SILENCE * self._loudest):
            self._quiet_seconds = 0.0
            self._drop_guess()
            return
        self._quiet_seconds += len(pcm) / 2 / self._rate
        if self._quiet_seconds >= SILENCE_SECONDS and self._loudest > QUIETEST and not self._guess:
            self._guess = asyncio.create_task(self._decode(is_early=True))
            self._guess.add_done_callback(_look_at)

    async def _decode(self, is_early: bool = False) -> str:
        sentence = await self._recognizer.understand(_with_hiss(self._samples), self._rate)
        if sentence and is_early:
            self._on_interim(sentence)
        return sentence

    def _drop_guess(self) -> None:
        if self._guess:
            self._guess.cancel()
            self._guess = None


def _look_at(task: asyncio.Task[str]) -> None:
    """A failure of a guess that nobody waits for is no news."""
    if not task.cancelled():
        task.exception()


def _level(pcm: bytes | bytearray) -> float:
    """Root mean square."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(np.sqrt(np.mean(samples * samples))) if len(samples) else 0.0


def _with_hiss(pcm: bytearray) -> bytes:
    samples = np.frombuffer(pcm, "<i2")
    noisy = samples + np.resize(_NOISE, len(samples)) * (HISS * _level(pcm))
    hissing: bytes = np.clip(noisy, -32768, 32767).astype("<i2").tobytes()
    return hissing


class Pool:
    """Processes that decode one utterance each; who has waited longest is next."""

    def __init__(self, size: int) -> None:
        self.children = [Child(sphinx_program.__name__) for _ in range(size)]
        self._free: asyncio.Queue[Child] = asyncio.Queue()
        for child in self.children:
            self._free.put_nowait(child)

    async def ask(self, request: bytes) -> str:
        """Raises ChildGone, ChildRefused."""
        async with self._one() as child, aclosing(child.ask(request)) as parts:
            return b"".join([part async for part in parts]).decode()

    async def close(self) -> None:
        await asyncio.gather(*(child.close() for child in self.children))

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Child]:
        child = await self._free.get()
        try:
            yield child
        finally:
            self._free.put_nowait(child)


async def _make_pool(_: Credentials) -> Pool:
    size = os.environ.get(PROCESSES, "1")
    if not size.isdecimal() or not 1 <= int(size) <= MOST_PROCESSES:
        raise ProviderError(ErrorKind.UNCONFIGURED, f"{PROCESSES} is “{size}”; use a number from 1 to {MOST_PROCESSES}")
    return Pool(int(size))


POOL: Shared[Pool] = Shared(_make_pool, Pool.close)
"""The decoding processes of a worker, for all grammars and sessions."""
