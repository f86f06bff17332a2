"""One live call: the session's anchor. Hears the caller, keeps the turns, plays the agent, and never blocks."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from mesh import audio, events, subjects, turns
from mesh.bus.errors import BusError, Fenced
from mesh.bus.messages import Subscription
from mesh.bus.writer import Writer
from mesh.config.document import AgentConfig
from mesh.config.json_text import revision
from mesh.config.problems import ConfigError
from mesh.events import Stored
from mesh.routing import Routes
from mesh.store import StoreUnavailable
from mesh.subjects import Stage
from workers.actor import Actor
from workers.conversation import Conversation
from workers.exchange import Exchange, Line
from workers.media.wire import Audio, DeltaTold, Dtmf, Fact, HungUp, PlayedSamples, PlayedTo, Reason, Typed
from workers.microphone import Microphone
from workers.opening import OVER_NOW
from workers.speaker import Speaker
from workers.stage import Claim

log = logging.getLogger(__name__)

RETURN = 20.0
"""Seconds that a caller who lost the socket may take to come back."""
GOODBYE = 3.0
"""Seconds for the last events of a session to be stored before its socket is closed."""
WAITING_TEXTS = 16
"""Texts that were to be said and wait for the floor."""


class Call(Actor):
    """`run` lasts as long as the session; wires may come and go in it."""

    def __init__(self, exchange: Exchange, writer: Writer, config: AgentConfig, line: Line) -> None:
        super().__init__(bus=exchange.bus, writer=writer, config=config)
        self._exchange = exchange
        self._line = line
        self._lines: asyncio.Queue[Line] = asyncio.Queue(1)
        self.rate = line.opened.rate
        self._microphone = Microphone(rate=self.rate, epoch=writer.epoch, publish=self._publish)
        self._speaker = Speaker(self.session, line.wire, self.rate, exchange.metrics)
        self._playout = self._speaker.playout
        self._playout.leave(self._now())
        self._playout.voice(None)
        self._conversation = Conversation(
            post=self.post,
            routes=self.routes,
            microphone=self._microphone,
            speaker=self._speaker,
            metrics=exchange.metrics,
        )
        self._subscriptions: list[Subscription] = []
        self._reading = asyncio.Lock()
        self._ended = ("failed", True, "")
        """Reason, whether that is a failure, and detail: until somebody says otherwise, it broke."""
        self._early: list[str] = []
        """To be said once the history is known, which counts the generations."""
        self._speech_start = 0
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
        self.tasks.create_task(self._conversation.play())
        self.tasks.create_task(self._converse())
        self._cast_needed()
        if self.config.greeting and not self._conversation.generation:
            self._early.insert(0, self.config.greeting)
        for text in self._early:
            self._conversation.step(turns.Say(self._now(), text))
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
        await self._speaker.wire.close(self._ended[0])

    async def _say_goodbye(self) -> None:
        """Everywhere. Whatever of it cannot be said in time is found by the bridge later."""
        reason, failed, detail = self._ended
        ended = events.SessionEnded(
            reason=reason, failed=failed, detail=detail, media_ms=self._microphone.received * 1000 // self.rate
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
        await self._speaker.wire.tell({"type": "ended", "reason": reason})

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

    @property
    def reason(self) -> str:
        """Why the session has ended; empty where it goes on elsewhere."""
        return "" if self.is_fenced or self._is_moving else self._ended[0]

    def say(self, text: str) -> str:
        """Say it as soon as nobody has the floor; why not, or nothing."""
        if self._over.is_set():
            return OVER_NOW
        if self._conversation.waiting_texts + len(self._early) >= WAITING_TEXTS:
            return f"{WAITING_TEXTS} texts wait to be said already; try again when the agent has said some of them."
        if self.is_live:
            self._conversation.step(turns.Say(self._now(), text))
        else:
            self._early.append(text)
        return ""

    async def leave(self, *, moves: bool, within: float) -> None:
        """This process is stopped: go when nobody has the floor, or after so many seconds.

        `moves`: there is another transport, at which a caller who lost the socket comes back.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._conversation.resting.wait()
        if moves and self._speaker.wire.takes_token:
            self._is_moving = True
            self._speaker.wire.lose()
            self.let_go()
        else:
            self.end("shutdown")

    def configured(self) -> None:
        self._conversation.configure(self.config, self.routes)
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
        self._speaker.wire.lose()  # it may be half open, and its heartbeat take its time to notice
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
        received, sent = self._microphone.total, self._playout.given
        await line.wire.welcome(self.session, resume=token, received=received, sent=sent)
        resumed = line.opened.resumed
        self._playout.come_back(marks=line.wire.reports_playback, played=resumed.played if resumed else None)
        self._conversation.tell_state()
        self._conversation.tell_unread()

    async def _returned(self) -> bool:
        """Wait for the caller to come back, silently, with everything that was not heard kept."""
        self._playout.leave(self._now())
        try:
            async with asyncio.timeout(RETURN):
                self._line = await self._lines.get()
        except TimeoutError:
            return False
        self._speaker.wire = self._line.wire
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
                await self._microphone.take(pcm)
            case Typed(text=text):
                self.tasks.create_task(self._read(text))
            case Dtmf(digits=digits):
                self.post(events.Dtmf(digits=digits))
            case PlayedTo(mark=mark):
                self._playout.marked(mark)
                self._speaker.stir()
            case PlayedSamples(total=total):
                self._playout.reported(total)
                self._speaker.stir()

    async def _read(self, text: str) -> None:
        """One after the other. What is said meanwhile does not wait for Valkey."""
        came_at = self._now()
        async with self._reading:
            await self._reread()
            self._conversation.waterfall.asked(came_at)
            self._conversation.step(turns.Typed(self._now(), text))

    async def _reread(self) -> None:
        """A configuration that was changed in Valkey, however, holds from the next turn on."""
        try:
            entry = await self._exchange.configs.get_entry(self.session)
            if entry is None or revision(entry.document) == self._conversation.revision:
                return
            config = self._exchange.parse_config(entry.document)
        except StoreUnavailable:
            return  # the call goes on with what it has
        except ConfigError as error:
            log.warning("changed config is not valid", extra={"session": self.session, "error": str(error)})
            self._speaker.tell({"type": "error", "code": "bad_config", "message": str(error)[:500]})
            return
        self._conversation.revision = revision(entry.document)
        self.config, self.routes = config, Routes.of(config)
        self.configured()
        self.post(
            events.SessionUpdated(
                config=entry.document, revision=self._conversation.revision, credentials=entry.credentials
            )
        )

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
                    await self._microphone.be_heard()
                elif stage is Stage.TTS:
                    self._playout.voice(self._now())
                    self._speaker.stir()
                await part.until_given_up(self._conversation.resting)
            if stage is Stage.STT:
                self._microphone.be_unheard()
            elif stage is Stage.TTS:
                self._playout.voice(None)

    async def _publish(self, chunk: audio.Chunk) -> None:
        if self.routes.stt_hears_transport:
            await self.bus.publish(subjects.audio_input(self.session), chunk.encode())

    # -- the bus ------------------------------------------------------------------------------------------

    def receive(self, stored: Stored) -> None:
        event = stored.event
        if not self.is_live:
            self._conversation.remember(event)
            return
        now = self._now()
        match event:
            case events.SpeechStarted(utterance=utterance, sample=sample):
                self._speech_start = sample
                self.tasks.create_task(self._reread())
                self._conversation.step(turns.SpeechStarted(now, utterance))
            case events.SpeechEnded(utterance=utterance, sample=sample):
                self._conversation.waterfall.asked(now - max(0, self._microphone.received - sample) / self.rate)
                self._conversation.step(turns.SpeechEnded(now, utterance, self._voiced_seconds(sample)))
            case events.TranscriptFinal():
                self._heard(event, now)
            case events.ReplySentence() if stored.stage == Stage.LLM:
                self._conversation.say_sentence(event)
            case events.ReplyDone(generation=generation, sentences=count):
                self._conversation.finish(generation, count)
            case events.ReplyFailed(generation=generation, sentences=count, detail=detail):
                self._speaker.tell({"type": "error", "code": "reply_failed", "message": detail[:500]})
                self._conversation.fail_reply(generation, count)
            case events.SentenceFailed(generation=generation, sentence=sentence, detail=detail):
                self._speaker.tell({"type": "error", "code": "speech_failed", "message": detail[:500]})
                self._conversation.fail_sentence(generation, sentence)

    def _voiced_seconds(self, end: int) -> float:
        return max(0.0, (end - self._speech_start) / self.rate)

    def _heard(self, final: events.TranscriptFinal, now: float) -> None:
        self._microphone.transcribed(final.end)
        self._conversation.waterfall.transcribed(now)
        if final.failed:
            self._speaker.tell({"type": "error", "code": "not_recognised", "message": "speech could not be recognised"})
        self._speaker.tell({"type": "transcript", "final": True, "text": final.text, "utterance": final.utterance})
        failed = final.failed and final.end > final.start
        self._conversation.step(turns.Heard(now, final.utterance, final.text, failed))

    def _interim(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        told = msgspec.json.decode(payload)
        if not self._is_owners(Stage.STT, told["epoch"]):
            return
        self._speaker.tell({"type": "transcript", "final": False, "text": told["text"], "utterance": told["utterance"]})
        self._conversation.step(turns.Interim(self._now(), told["utterance"], told["text"]))

    def _delta(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        told = msgspec.json.decode(payload)
        if told["generation"] == self._playout.generation and self._is_owners(Stage.LLM, told["epoch"]):
            self._conversation.waterfall.mark("first_token", self._now())
            delta: DeltaTold = {"type": "delta", "text": told["text"], "turn": told["turn"]}
            if told.get("anew"):
                delta |= {"anew": True, "sentence": told.get("sentence", 0)}
            self._speaker.tell(delta)

    def _is_owners(self, stage: Stage, epoch: int) -> bool:
        """A new owner may be heard before the casting says that it is there."""
        last = self._epochs[stage] = max(epoch, self._epochs.get(stage, 0))
        return epoch == last

    def _spoken(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        if self._speaker.receive(payload):
            self._conversation.waterfall.mark("first_audio", self._now())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
