"""The voice stage: speaks sentences in order, streaming, and never far ahead of the caller's ear."""

import asyncio
import logging
import time
from collections import deque
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass

from connectors_app.pool import AllFailed
from connectors_app.speaking import Speaking
from mesh import audio, subjects
from mesh.events import (
    Interrupted,
    Played,
    ReplyDone,
    ReplyFailed,
    ReplySentence,
    SentenceFailed,
    Stored,
    TurnDiscarded,
    TurnEnded,
)
from mesh.subjects import Stage
from workers.apology import LAST_RESORT, Apology, InAdvance, Prepared, Voices
from workers.stage import Reporting, Seat, StageActor, explain

log = logging.getLogger(__name__)

AHEAD = 20.0
"""Seconds of speech that may be made before they are heard: a long reply does not fill anybody's memory."""
PIECE = 0.2
"""Seconds of audio in one message at most."""
FIRST_WORDS = 5.0
"""Seconds that the apology's preparation waits for the greeting to be made."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    turn: int
    generation: int
    number: int
    text: str


class Voicing(StageActor):
    """One session's voice. Sentences of an older generation are dropped, also in the middle of a word."""

    def __init__(self, seat: Seat, prepared: Prepared | None = None) -> None:
        super().__init__(seat)
        self._prepared = prepared or Prepared()
        self._apology = self._make_apology()
        self._preparing: asyncio.Task[None] | None = None
        self._has_spoken = asyncio.Event()
        self._generation = 0
        self._given_up = 0
        """The last generation of which nobody could say a sentence: no more of it is asked for."""
        self._waiting: deque[_Sentence] = deque()
        self._stirred = asyncio.Event()
        self._made: dict[int, int] = {}
        """Samples of the sentences that were made and not yet heard to their end."""
        self._sequence = 0
        self._speaking: Speaking | None = None
        self._chosen = self.choice("tts")
        self._resources = AsyncExitStack()
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._open_voice()

    async def close(self) -> None:
        if self._work:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self._resources.aclose()

    async def _open_voice(self) -> None:
        self._chosen = self.choice("tts")
        chain = self.seat.pool.voices(*self._chosen)
        self._resources.push_async_callback(chain.close)
        self._speaking = await self._resources.enter_async_context(
            Speaking(chain, self.seat.claim.rate, self.seat.deadlines)
        )

    @property
    def _is_stale(self) -> bool:
        return self._chosen != self.choice("tts")

    async def _renew_voice(self) -> None:
        """The former one is closed when the new one opens already."""
        former, self._resources = self._resources, AsyncExitStack()
        await self._open_voice()
        await former.aclose()

    def _make_apology(self) -> Apology:
        config, seat = self.config, self.seat
        voices = Voices(
            pool=seat.pool,
            deadlines=seat.deadlines,
            rate=seat.claim.rate,
            order=config.chain("tts"),
            options=self.provider_options("tts"),
            credentials=self.credentials,
            last_resort=config.options("tts", LAST_RESORT),
        )
        return Apology(self._prepared, voices, config.apology if self.routes.transport_plays else "")

    def _prepare_apology(self) -> None:
        if self._preparing:
            self._preparing.cancel()
        self._preparing = self.tasks.create_task(self._prepare(self._apology))

    async def _prepare(self, apology: Apology) -> None:
        """After the greeting, which must not wait for it."""
        if self.config.greeting and not self.seat.claim.generation:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WORDS):
                    await self._has_spoken.wait()
        await apology.prepare(InAdvance(self, "tts"))

    def configured(self) -> None:
        self._stirred.set()  # the voice is renewed between two sentences
        self._apology = self._make_apology()
        if self.is_live:
            self._prepare_apology()

    def receive(self, stored: Stored) -> None:
        match stored.event:
            case ReplySentence() as sentence:
                self._hear(sentence, stored.stage)
            case TurnEnded(generation=generation):
                self._begin(generation)
            case TurnDiscarded(generation=generation) | Interrupted(generation=generation):
                if generation and generation == self._generation:
                    self._begin(generation + 1)
            case Played(generation=generation, sentence=number):
                if generation == self._generation:
                    self._made.pop(number, None)
                    self._stirred.set()
            case ReplyDone() | ReplyFailed():
                self._stirred.set()

    def caught_up(self) -> None:
        """After a takeover: sentences whose audio the transport has are not made again."""
        first = (self.seat.claim.generation, self.seat.claim.unfinished)
        self._waiting = deque(s for s in self._waiting if (s.generation, s.number) >= first)
        self._start()
        self._prepare_apology()

    def _hear(self, sentence: ReplySentence, stage: str) -> None:
        if stage == Stage.LLM and not self.routes.tts_speaks("llm"):
            return
        if sentence.generation < self._generation or sentence.generation <= self._given_up:
            return
        if sentence.generation > self._generation:
            self._begin(sentence.generation)
        self._waiting.append(_Sentence(sentence.turn, sentence.generation, sentence.sentence, sentence.text))
        self._stirred.set()

    def _begin(self, generation: int) -> None:
        """A new generation: everything older is over, wherever it is."""
        if generation <= self._generation:
            return
        self._generation = generation
        self._waiting.clear()
        self._made.clear()
        if self.is_live:
            self._start()

    def _start(self) -> None:
        if self._work:
            self._work.cancel()
        self._work = self.tasks.create_task(self._speak_in_order(self._work))

    async def _speak_in_order(self, former: "asyncio.Task[None] | None") -> None:
        if former:
            await asyncio.wait([former])
        while True:
            self._stirred.clear()
            if self._is_stale:
                await self._renew_voice()
            elif self._waiting and sum(self._made.values()) < AHEAD * self.seat.claim.rate:
                await self._speak(self._waiting.popleft())
            else:
                await self._stirred.wait()

    async def _speak(self, sentence: _Sentence) -> None:
        report = Reporting(self, "tts", sentence.turn, sentence.generation)
        out = _Out(self, sentence)
        try:
            if sentence.text in self._apology.sentences:
                await out.add(await self._apology.audio(sentence.text, report))
            else:
                await self._voice(sentence, out, report)
        except AllFailed as error:
            self._give_up(sentence.generation)
            self.post(
                SentenceFailed(
                    turn=sentence.turn,
                    generation=sentence.generation,
                    sentence=sentence.number,
                    detail=explain(error),
                )
            )
        await out.end()
        self._made[sentence.number] = out.position
        self._has_spoken.set()

    async def _voice(self, sentence: _Sentence, out: "_Out", report: Reporting) -> None:
        assert self._speaking is not None
        async with aclosing(self._speaking.speak(sentence.text, report)) as pieces:
            async for pcm in pieces:
                await out.add(pcm)

    def _give_up(self, generation: int) -> None:
        """The transport has the apology said instead of the rest."""
        if self._apology.sentences:
            self._given_up = generation
            self._waiting.clear()

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence


class _Out:
    """One sentence's audio on its way out, in chunks."""

    def __init__(self, actor: Voicing, sentence: _Sentence) -> None:
        self._actor = actor
        self._sentence = sentence
        self._most = int(PIECE * actor.seat.claim.rate) * 2
        self._began = time.monotonic()
        self.position = 0

    async def add(self, pcm: bytes) -> None:
        if not self.position:
            self._actor.seat.metrics.stage_seconds.labels("tts").observe(time.monotonic() - self._began)
        for start in range(0, len(pcm), self._most):
            await self._publish(pcm[start : start + self._most], end=False)
            if start:
                await asyncio.sleep(0)  # a whole sentence at once must not hold up the other sessions

    async def end(self) -> None:
        """The end mark carries the sentence's length, so that a lost chunk is noticed."""
        await self._publish(b"", end=True)

    async def _publish(self, pcm: bytes, *, end: bool) -> None:
        actor, sentence = self._actor, self._sentence
        chunk = audio.Chunk(
            rate=actor.seat.claim.rate,
            epoch=actor.seat.writer.epoch,
            sequence=actor.next_sequence(),
            position=self.position,
            samples=pcm,
            turn=sentence.turn,
            generation=sentence.generation,
            sentence=sentence.number,
            end=end,
        )
        self.position += chunk.count
        await actor.bus.publish(subjects.tts_output(actor.session), chunk.encode())
