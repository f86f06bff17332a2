"""One live call: the session's anchor. Hears the caller, keeps the turns, plays the agent, and never blocks."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from mesh import audio, events, subjects, turns
from mesh.bus import Bus, BusError, Fenced, Subscription, Writer
from mesh.config import AgentConfig, ConfigError, revision
from mesh.events import Stored
from mesh.playout import Piece, Playout, Spoken
from mesh.routing import Routes
from mesh.sentences import Sentences
from mesh.store import ConfigStorage, StoreUnavailable
from mesh.subjects import Stage
from workers.actor import Actor
from workers.casting import Casting, Part
from workers.media.wire import Audio, Dtmf, Fact, HungUp, Opened, PlayedSamples, PlayedTo, Reason, Told, Typed, Wire
from workers.metrics import Metrics
from workers.opening import OVER_NOW
from workers.records import Records
from workers.stage import Claim

log = logging.getLogger(__name__)

CHUNK = 0.04
"""Seconds of caller audio in one message."""
RING = 30.0
"""Seconds of caller audio that are kept for a recogniser that has to begin again."""
RETURN = 20.0
"""Seconds that a caller who lost the socket may take to come back."""
GOODBYE = 3.0
"""Seconds for the last events of a session to be stored before its socket is closed."""
WAITING_TEXTS = 16
"""Texts that were to be said and wait for the floor."""
STATES = {
    turns.Floor.NOBODY: "listening",
    turns.Floor.CALLER: "listening",
    turns.Floor.THINKING: "thinking",
    turns.Floor.AGENT: "speaking",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A caller's open socket: its wire, what it says after `Opened`, and that."""

    wire: Wire
    facts: AsyncIterator[Fact]
    opened: Opened


class Exchange(Protocol):
    """What a call needs of its transport process."""

    bus: Bus
    configs: ConfigStorage
    metrics: Metrics
    worker: str
    casting: Casting
    records: Records

    def parse_config(self, document: object) -> AgentConfig: ...

    async def resume_token(self, session: str) -> str: ...


class Call(Actor):
    """`run` lasts as long as the session; wires may come and go in it."""

    def __init__(self, exchange: Exchange, writer: Writer, config: AgentConfig, line: Line) -> None:
        super().__init__(bus=exchange.bus, writer=writer, config=config)
        self._exchange = exchange
        self._line = line
        self._wire = line.wire
        self._lines: asyncio.Queue[Line] = asyncio.Queue(1)
        self.rate = line.opened.rate
        self._revision = ""
        self._turns = turns.Turns()
        self._playout = Playout(self.rate)
        self._playout.leave(self._now())
        self._playout.voice(None)
        self._to_wire: deque[Callable[[], Awaitable[None]]] = deque()
        self._stirred = asyncio.Event()
        self._resting = asyncio.Event()
        """Nobody has the floor."""
        self._resting.set()
        self._subscriptions: list[Subscription] = []
        self._unsent = bytearray()
        self._reading = asyncio.Lock()
        self._received = 0
        self._size = int(CHUNK * self.rate)
        """Samples of a chunk."""
        self._ring = bytearray()
        """The last of what was received."""
        self._last_final = 0
        self._is_heard = False
        """A recogniser has the session, and everything said so far: audio is published as it comes."""
        self._ended = ("failed", True, "")
        """Reason, whether that is a failure, and detail: until somebody says otherwise, it broke."""
        self._voice_epoch = 0
        self._voice_sequence = 0
        self._unread: list[events.ReplySentence] = []
        """Of a reply without a voice, told to nobody yet."""
        self._early: list[str] = []
        """To be said once the history is known, which counts the generations."""
        self._marks: dict[str, float] = {}
        self._speech_start = 0
        self._speech_end: float | None = None
        self._is_moving = False
        """To another transport: the session does not end here."""
        self.live_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stages: set[Stage] = set()
        self._epochs: dict[Stage, int] = {}
        """Of the stages' owners: what a former one still says is not heard."""

    # -- life ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self.configured()
        subscribe = self.bus.subscribe
        self._subscriptions = [
            await subscribe(subjects.tts_output(self.session), self._spoken),
            await subscribe(subjects.stt_interim(self.session), self._interim),
            await subscribe(subjects.llm_delta(self.session), self._delta),
        ]

    def caught_up(self) -> None:
        self.post(events.SessionLive(worker=self._exchange.worker, rate=self.rate))
        self.tasks.create_task(self._play())
        self.tasks.create_task(self._converse())
        self._cast_needed()
        if self.config.greeting and not self._turns.generation:
            self._early.insert(0, self.config.greeting)
        for text in self._early:
            self._step(turns.Say(self._now(), text))
        self._early.clear()
        self.live_since = self._now()
        self._limit_time()

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        for subscription in self._subscriptions:
            await subscription.close()
        if not self.is_fenced and not self._is_moving:
            await self._say_goodbye()
        await self._wire.close(self._ended[0])

    async def _say_goodbye(self) -> None:
        """Everywhere. Whatever of it cannot be said in time is found by the bridge later."""
        reason, failed, detail = self._ended
        ended = events.SessionEnded(
            reason=reason, failed=failed, detail=detail, media_ms=self._received * 1000 // self.rate
        )
        try:
            async with asyncio.timeout(GOODBYE):
                await self._send_rest()
                await self.writer.append(ended)
        except Fenced:
            self.is_fenced = True  # it goes on elsewhere: its record and its caller are not ours any more
            return
        except (TimeoutError, BusError) as error:
            log.warning("end of session was not stored", extra={"session": self.session, "error": repr(error)})
        await self._exchange.records.note(self.session, state="failed" if failed else "ended", reason=reason)
        await self._wire.tell({"type": "ended", "reason": reason})

    async def _send_rest(self) -> None:
        """A call that broke has nobody else who would."""
        while not self._outgoing.empty():
            await self.writer.post(self._outgoing.get_nowait())
            self._outgoing.task_done()

    def end(self, reason: str, *, failed: bool = False, detail: str = "") -> None:
        """End the session; the first reason counts."""
        if not self._over.is_set():
            self._ended = (reason, failed, detail)
            self.let_go()

    def say(self, text: str) -> str:
        """Say it as soon as nobody has the floor; why not, or nothing."""
        if self._over.is_set():
            return OVER_NOW
        if len(self._turns.announcements) + len(self._early) >= WAITING_TEXTS:
            return f"{WAITING_TEXTS} texts wait to be said already; try again when the agent has said some of them."
        if self.is_live:
            self._step(turns.Say(self._now(), text))
        else:
            self._early.append(text)
        return ""

    async def leave(self, *, moves: bool, within: float) -> None:
        """This process is stopped: go when nobody has the floor, or after so many seconds.

        `moves`: there is another transport, at which a caller who lost the socket comes back.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._resting.wait()
        if moves and self._wire.takes_token:
            self._is_moving = True
            self._wire.lose()
            self.let_go()
        else:
            self.end("shutdown")

    def configured(self) -> None:
        turn = self.config.turn
        self._turns = replace(self._turns, interrupt_after=turn.interrupt_ms / 1000, not_understood=turn.not_understood)
        if self.is_live:
            self._cast_needed()
            self._limit_time()

    def _limit_time(self) -> None:
        if self._timer:
            self._timer.cancel()
        ends_at = self.live_since + self.config.limits.max_duration_s
        self._timer = asyncio.get_running_loop().call_at(ends_at, self.end, "time_limit")

    def come_back(self, line: Line) -> bool:
        """The caller is there again on another socket; False when the call cannot go on there."""
        if self._over.is_set() or line.opened.rate != self.rate or self._lines.full():
            return False
        self._lines.put_nowait(line)
        self._wire.lose()  # it may be half open, and its heartbeat take its time to notice
        return True

    # -- the caller ---------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """One wire after the other, until the caller hangs up or stays away."""
        while True:
            await self._welcome(self._line)
            ended = await self._hear(self._line)
            if ended.reason is not Reason.LOST or not await self._returned():
                self.end("hangup", detail=ended.detail)
                return

    async def _welcome(self, line: Line) -> None:
        """Nothing is said on a wire before this, and then whatever waits."""
        token = await self._exchange.resume_token(self.session) if line.wire.takes_token else ""
        received = self._received + len(self._unsent) // 2
        await line.wire.welcome(self.session, resume=token, received=received, sent=self._playout.given)
        resumed = line.opened.resumed
        self._playout.come_back(marks=line.wire.reports_playback, played=resumed.played if resumed else None)
        self._tell_state()
        unread, self._unread = self._unread, []
        for sentence in unread:
            if sentence.generation == self._playout.generation:
                self._read_only(sentence)

    async def _returned(self) -> bool:
        """Wait for the caller to come back, silently, with everything that was not heard kept."""
        self._playout.leave(self._now())
        try:
            async with asyncio.timeout(RETURN):
                self._line = await self._lines.get()
        except TimeoutError:
            return False
        self._wire = self._line.wire
        return True

    async def _hear(self, line: Line) -> HungUp:
        async for fact in line.facts:
            if isinstance(fact, HungUp):
                return fact
            await self._take(fact)
        return HungUp(Reason.LOST)

    async def _take(self, fact: Fact) -> None:
        match fact:
            case Audio(pcm=pcm):
                await self._send_audio(pcm)
            case Typed(text=text):
                self.tasks.create_task(self._read(text))
            case Dtmf(digits=digits):
                self.post(events.Dtmf(digits=digits))
            case PlayedTo(mark=mark):
                self._playout.marked(mark)
                self._stirred.set()
            case PlayedSamples(total=total):
                self._playout.reported(total)
                self._stirred.set()

    async def _read(self, text: str) -> None:
        """One after the other. What is said meanwhile does not wait for Valkey."""
        async with self._reading:
            await self._reread()
            self._step(turns.Typed(self._now(), text))

    async def _send_audio(self, pcm: bytes) -> None:
        self._unsent += pcm
        while len(self._unsent) >= 2 * self._size:
            self._ring += self._unsent[: 2 * self._size]
            del self._unsent[: 2 * self._size]
            del self._ring[: -2 * self._size * int(RING / CHUNK)]
            self._received += self._size
            if self._is_heard:
                await self._publish(self._chunk(self._received - self._size))

    def _chunk(self, position: int) -> audio.Chunk:
        """Of the ring; chunks are of one size, so that their positions count them."""
        start = len(self._ring) - 2 * (self._received - position)
        return audio.Chunk(
            rate=self.rate,
            epoch=self.writer.epoch,
            sequence=position // self._size + 1,
            position=position,
            samples=bytes(self._ring[start : start + 2 * self._size]),
        )

    async def _reread(self) -> None:
        """A configuration that was changed in Valkey, however, holds from the next turn on."""
        try:
            entry = await self._exchange.configs.get_entry(self.session)
            if entry is None or revision(entry.document) == self._revision:
                return
            config = self._exchange.parse_config(entry.document)
        except StoreUnavailable:
            return  # the call goes on with what it has
        except ConfigError as error:
            log.warning("changed config is not valid", extra={"session": self.session, "error": str(error)})
            self._tell({"type": "error", "code": "bad_config", "message": str(error)[:500]})
            return
        self._revision = revision(entry.document)
        self.config, self.routes = config, Routes.of(config)
        self.configured()
        self.post(events.SessionUpdated(config=entry.document, revision=self._revision, credentials=entry.credentials))

    # -- workers ------------------------------------------------------------------------------------------

    def _cast_needed(self) -> None:
        """A changed configuration may need more stages than the one before; those that it no longer needs rest."""
        for stage in sorted(self.routes.needed_stages - self._stages):
            self._stages.add(stage)
            self.tasks.create_task(self._cast(stage))

    async def _cast(self, stage: Stage) -> None:
        """Give the stage to a worker, and to another one when that is lost or leaves, as long as the call lasts."""

        def claim() -> Claim:
            unfinished = self._playout.resume_at() if stage is Stage.TTS else 0
            generation = self._playout.generation
            return Claim(session=self.session, rate=self.rate, generation=generation, unfinished=unfinished)

        while not self._over.is_set():
            async with self._exchange.casting.cast(stage, claim) as part:
                self._epochs[stage] = part.epoch
                if stage is Stage.STT:
                    await self._be_heard()
                elif stage is Stage.TTS:
                    self._playout.voice(self._now())
                    self._stirred.set()
                await self._until_given_up(part)
            if stage is Stage.STT:
                self._is_heard = False
            elif stage is Stage.TTS:
                self._playout.voice(None)

    async def _until_given_up(self, part: Part) -> None:
        """It is lost, or its worker wants to leave and nobody has the floor."""

        async def handed_over() -> None:
            await part.leaving.wait()
            await self._resting.wait()

        waits = [asyncio.create_task(wait) for wait in (part.lost.wait(), handed_over())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _be_heard(self) -> None:
        """What the caller said since the last transcript first, for a recogniser that begins; then what comes."""
        position = self._last_final // self._size * self._size
        while position < self._received:
            position = max(position, self._received - len(self._ring) // 2)
            await self._publish(self._chunk(position))
            position += self._size
        self._is_heard = True

    async def _publish(self, chunk: audio.Chunk) -> None:
        if self.routes.stt_hears_transport:
            await self.bus.publish(subjects.audio_input(self.session), chunk.encode())

    # -- the bus ------------------------------------------------------------------------------------------

    def receive(self, stored: Stored) -> None:
        event = stored.event
        if not self.is_live:
            self._remember(event)
            return
        now = self._now()
        match event:
            case events.SpeechStarted(utterance=utterance, sample=sample):
                self._speech_start = sample
                self.tasks.create_task(self._reread())
                self._step(turns.SpeechStarted(now, utterance))
            case events.SpeechEnded(utterance=utterance, sample=sample):
                self._speech_end = now - max(0, self._received - sample) / self.rate
                self._step(turns.SpeechEnded(now, utterance, self._voiced_seconds(sample)))
            case events.TranscriptFinal():
                self._heard(event, now)
            case events.ReplySentence() if stored.stage == Stage.LLM:
                self._sentence(event)
            case events.ReplyDone(generation=generation, sentences=count):
                self._finish(generation, count)
            case events.ReplyFailed(generation=generation, sentences=count, detail=detail):
                self._tell({"type": "error", "code": "reply_failed", "message": detail[:500]})
                self._finish(generation, count)
            case events.SentenceFailed(generation=generation, sentence=sentence, detail=detail):
                self._tell({"type": "error", "code": "speech_failed", "message": detail[:500]})
                if generation == self._playout.generation:
                    self._playout.fail(sentence)
                    self._stirred.set()

    def _remember(self, event: events.Event | None) -> None:
        """The history: what this call goes on from."""
        match event:
            case events.SessionCreated(revision=revision) | events.SessionUpdated(revision=revision):
                self._revision = revision
            case events.TurnStarted(turn=turn):
                self._turns = replace(self._turns, turn=max(self._turns.turn, turn))
            case events.TurnEnded(generation=generation) | events.ReplySentence(generation=generation):
                self._turns = replace(self._turns, generation=max(self._turns.generation, generation))

    def _voiced_seconds(self, end: int) -> float:
        return max(0.0, (end - self._speech_start) / self.rate)

    def _heard(self, final: events.TranscriptFinal, now: float) -> None:
        self._last_final = max(self._last_final, final.end)
        self._marks["transcript"] = now
        if final.failed:
            self._tell({"type": "error", "code": "not_recognised", "message": "speech could not be recognised"})
        self._tell({"type": "transcript", "final": True, "text": final.text, "utterance": final.utterance})
        self._step(turns.Heard(now, final.utterance, final.text))

    def _interim(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        told = msgspec.json.decode(payload)
        if told["epoch"] < self._epochs.get(Stage.STT, 0):
            return
        self._tell({"type": "transcript", "final": False, "text": told["text"], "utterance": told["utterance"]})
        self._step(turns.Interim(self._now(), told["utterance"], told["text"]))

    def _delta(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        told = msgspec.json.decode(payload)
        if told["generation"] == self._playout.generation and told["epoch"] >= self._epochs.get(Stage.LLM, 0):
            self._marks.setdefault("first_token", self._now())
            self._tell({"type": "delta", "text": told["text"], "turn": told["turn"]})

    def _sentence(self, sentence: events.ReplySentence) -> None:
        if sentence.generation != self._playout.generation:
            return
        self._marks.setdefault("first_sentence", self._now())
        self._tell({"type": "reply", "text": sentence.text, "turn": sentence.turn, "sentence": sentence.sentence})
        self._playout.text(sentence.sentence, sentence.text)
        if not self._is_voiced("llm"):
            self._read_only(sentence)

    def _is_voiced(self, source: str) -> bool:
        return self.routes.transport_plays and self.routes.tts_speaks(source)

    def _read_only(self, sentence: events.ReplySentence) -> None:
        """Without a voice a sentence has reached the caller as soon as it is told; not while nobody is there."""
        if self._playout.is_away:
            self._unread.append(sentence)
            return
        self._step(turns.PlayoutStarted(self._now(), sentence.generation))
        self._playout.fail(sentence.sentence)
        self.post(
            events.Played(
                turn=sentence.turn,
                generation=sentence.generation,
                sentence=sentence.sentence,
                samples=0,
                rate=0,
                text=sentence.text,
            )
        )

    def _finish(self, generation: int, sentences: int) -> None:
        if generation == self._playout.generation:
            self._playout.finish(sentences, self._now())
            self._stirred.set()

    def _spoken(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        try:
            chunk = audio.decode(payload)
        except audio.BadChunk as error:
            log.warning("bad audio chunk", extra={"session": self.session, "error": str(error)})
            return
        if chunk.epoch < self._voice_epoch:
            return
        self._count_gap(chunk)
        if chunk.generation != self._playout.generation:
            return
        self._marks.setdefault("first_audio", self._now())
        self._playout.audio(chunk.sentence, chunk.position, chunk.samples, chunk.end)
        self._stirred.set()

    def _count_gap(self, chunk: audio.Chunk) -> None:
        before = self._voice_sequence if chunk.epoch == self._voice_epoch else 0
        self._voice_epoch, self._voice_sequence = chunk.epoch, chunk.sequence
        if chunk.sequence > before + 1:
            self._exchange.metrics.audio_gaps.inc(chunk.sequence - before - 1)

    # -- turns --------------------------------------------------------------------------------------------

    def _step(self, event: turns.Event) -> None:
        before = self._turns.floor
        self._turns, actions = turns.step(self._turns, event)
        for action in actions:
            self._act(action)
        if self._turns.floor is turns.Floor.NOBODY:
            self._resting.set()
        else:
            self._resting.clear()
        if STATES[before] != STATES[self._turns.floor]:
            self._tell_state()
        self._stirred.set()

    def _act(self, action: turns.Action) -> None:
        now = self._now()
        match action:
            case turns.StartTurn(turn=turn):
                self.post(events.TurnStarted(turn=turn, sample=self._received))
            case turns.Answer():
                self._answer(action)
            case turns.Announce(turn=turn, generation=generation, text=text):
                self._announce(turn, generation, text)
            case turns.Discard(turn=turn, generation=generation, reason=reason):
                if generation:
                    self._playout.begin(0)
                self.post(events.TurnDiscarded(turn=turn, generation=generation, reason=reason))
            case turns.Interrupt(turn=turn, generation=generation):
                self._interrupt(turn, generation, now)
            case turns.Hold():
                self._report(now)
                if not self._playout.is_silent:
                    self._to_wire.append(self._wire.clear)
                self._playout.hold(now)
            case turns.Release():
                self._playout.release()

    def _answer(self, answer: turns.Answer) -> None:
        self._marks = {"turn_end": self._now()} | {k: at for k, at in self._marks.items() if k == "transcript"}
        self._exchange.metrics.turns.inc()
        self._playout.begin(answer.generation)
        source = "stt" if answer.cause == "speech" else "transport"
        if self._goes_to_model(answer.cause):
            self.post(
                events.TurnEnded(
                    turn=answer.turn,
                    generation=answer.generation,
                    text=answer.text,
                    cause=answer.cause,
                    revision=self._revision,
                )
            )
        elif self.routes.tts_speaks(source):
            self._announce(answer.turn, answer.generation, answer.text)
        else:
            self._step(turns.ReplyOver(self._now(), answer.generation))

    def _goes_to_model(self, cause: str) -> bool:
        if cause == "speech":
            return self.routes.speech_to_llm
        # Typed words are answered like spoken ones, unless the flow gives them to the voice.
        return self.routes.typed_to_llm or (self.routes.llm_answers and not self.routes.tts_speaks("transport"))

    def _announce(self, turn: int, generation: int, words: str) -> None:
        """Sentence by sentence: the first is heard sooner, and what was heard is known."""
        cut = Sentences()
        sentences = cut.feed(words) + cut.flush()
        self._playout.begin(generation)
        for number, text in enumerate(sentences):
            sentence = events.ReplySentence(turn=turn, generation=generation, sentence=number, text=text)
            self.post(sentence)
            self._tell({"type": "reply", "text": text, "turn": turn, "sentence": number})
            self._playout.text(number, text)
            if not (self.routes.transport_plays and Stage.TTS in self.routes.needed_stages):
                self._read_only(sentence)
        self._finish(generation, len(sentences))

    def _interrupt(self, turn: int, generation: int, now: float) -> None:
        self._report(now)
        partial = self._playout.interrupt(now) or Spoken(self._playout.unfinished(), 0, "", done=False)
        if not self._playout.is_silent:
            self._to_wire.append(self._wire.clear)
        self._playout.begin(0)
        self.post(
            events.Interrupted(
                turn=turn,
                generation=generation,
                sentence=partial.sentence,
                samples=partial.samples,
                rate=self.rate,
                heard=partial.text,
            )
        )
        self._tell({"type": "interrupted", "heard": partial.text, "turn": turn, "sentence": partial.sentence})

    # -- playing ------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        """The one writer of the wire: commands first, then what is due, then a look at the ear."""
        while True:
            self._stirred.clear()
            while self._to_wire and not self._playout.is_away:
                await self._to_wire.popleft()()
            now = self._now()
            for piece in self._playout.due(now):
                await self._send_piece(piece, now)
            self._report(now)
            if self._playout.is_over():
                self._step(turns.ReplyOver(now, self._playout.generation))
            if (tick := turns.deadline(self._turns)) is not None and now >= tick:
                self._step(turns.Tick(now))
            await self._wait(now)

    async def _wait(self, now: float) -> None:
        if self._stirred.is_set():
            await asyncio.sleep(0)
            return
        due = [at for at in (self._playout.next_due(now), turns.deadline(self._turns)) if at is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(due) if due else None):
                await self._stirred.wait()

    async def _send_piece(self, piece: Piece, now: float) -> None:
        if piece.first:
            self._begun(now)
        await self._wire.play(piece.pcm)
        if piece.mark is not None:
            await self._wire.mark(piece.mark)

    def _begun(self, now: float) -> None:
        """The first sample of a generation is on its way: the turn's waterfall is complete."""
        generation = self._playout.generation
        self._step(turns.PlayoutStarted(now, generation))
        marks, self._marks = self._marks, {}
        if self._speech_end is not None and "turn_end" in marks:
            since = {name: round((at - self._speech_end) * 1000) for name, at in marks.items()}
            first = now - self._speech_end
            timed = events.TurnTimed(
                turn=self._turns.answering, generation=generation, marks={**since, "first_sample": round(first * 1000)}
            )
            self.post(timed)
            self._exchange.metrics.response_seconds.observe(first)
        self._speech_end = None

    def _report(self, now: float) -> None:
        for spoken in self._playout.progress(now):
            self.post(
                events.Played(
                    turn=self._turns.answering,
                    generation=self._playout.generation,
                    sentence=spoken.sentence,
                    samples=spoken.samples,
                    rate=self.rate,
                    text=spoken.text,
                )
            )

    # -- small things -------------------------------------------------------------------------------------

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _tell(self, message: Told) -> None:
        if self._playout.is_away and _is_passing(message):
            return
        self._to_wire.append(lambda: self._wire.tell(message))
        self._stirred.set()

    def _tell_state(self) -> None:
        self._tell({"type": "state", "state": STATES[self._turns.floor]})  # type: ignore[typeddict-item]


def _is_passing(message: Told) -> bool:
    """Of no use to somebody who was away: what follows holds the same words."""
    return message["type"] == "delta" or (message["type"] == "transcript" and not message["final"])
