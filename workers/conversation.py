"""The turns of a call: what the agent says when, and what of it the caller heard."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from mesh import events, turns
from mesh.config.document import AgentConfig
from mesh.playout import Spoken
from mesh.routing import Routes
from mesh.sentences import sentences_of
from mesh.subjects import Stage
from workers.metrics import Metrics
from workers.microphone import Microphone
from workers.speaker import Speaker
from workers.waterfall import Waterfall

STATES = {
    turns.Floor.NOBODY: "listening",
    turns.Floor.CALLER: "listening",
    turns.Floor.THINKING: "thinking",
    turns.Floor.AGENT: "speaking",
}


class Conversation:
    """The turn machine's hands: what it decides is told to the caller and posted to the others."""

    def __init__(
        self,
        *,
        post: Callable[[events.Event], None],
        routes: Routes,
        microphone: Microphone,
        speaker: Speaker,
        metrics: Metrics,
    ) -> None:
        self._post = post
        self._routes = routes
        self._microphone = microphone
        self._speaker = speaker
        self._playout = speaker.playout
        self._metrics = metrics
        self._turns = turns.Turns()
        self.revision = ""
        """Of the configuration that holds."""
        self.waterfall = Waterfall()
        self.resting = asyncio.Event()
        """Nobody has the floor."""
        self.resting.set()
        self._unread: list[events.ReplySentence] = []
        """Of a reply without a voice, told to nobody yet."""
        self._apology: turns.Announce | None = None
        """Begun, and not heard yet."""

    @property
    def generation(self) -> int:
        """The last that was begun."""
        return self._turns.generation

    @property
    def waiting_texts(self) -> int:
        return len(self._turns.announcements)

    def configure(self, config: AgentConfig, routes: Routes) -> None:
        turn = config.turn
        self._routes = routes
        is_answering = routes.llm_answers or routes.transport_plays
        self._turns = replace(
            self._turns,
            interrupt_after=turn.interrupt_ms / 1000,
            not_understood=turn.not_understood,
            apology=config.apology.strip() if is_answering else "",
        )

    def remember(self, event: events.Event | None) -> None:
        """The history: what this call goes on from."""
        match event:
            case events.SessionCreated(revision=revision) | events.SessionUpdated(revision=revision):
                self.revision = revision
            case events.TurnStarted(turn=turn):
                self._turns = replace(self._turns, turn=max(self._turns.turn, turn))
            case events.TurnEnded(generation=generation) | events.ReplySentence(generation=generation):
                self._turns = replace(self._turns, generation=max(self._turns.generation, generation))

    # -- turns --------------------------------------------------------------------------------------------

    def step(self, event: turns.Event) -> None:
        before = self._turns.floor
        self._turns, actions = turns.step(self._turns, event)
        for action in actions:
            self._act(action)
        if self._turns.floor is turns.Floor.NOBODY:
            self._tell_times()
            self.resting.set()
        else:
            self.resting.clear()
        if STATES[before] != STATES[self._turns.floor]:
            self.tell_state()
        self._speaker.stir()

    def _act(self, action: turns.Action) -> None:
        now = _now()
        match action:
            case turns.StartTurn(turn=turn):
                self._tell_times()
                self._post(events.TurnStarted(turn=turn, sample=self._microphone.received))
            case turns.Answer():
                self._answer(action)
            case turns.Announce(turn=turn, generation=generation, text=text, failed=failed):
                self._apology = action if failed else None
                self._tell_times()
                self._announce(turn, generation, text)
            case turns.Discard():
                self._discard(action)
            case turns.Interrupt(turn=turn, generation=generation):
                self._interrupt(turn, generation, now)
            case turns.Hold():
                self._report(now)
                self._speaker.clear()
                self._playout.hold(now)
            case turns.Release():
                self._playout.release()

    def _discard(self, dropped: turns.Discard) -> None:
        if dropped.generation:
            self._playout.begin(0)
        self._post(
            events.TurnDiscarded(
                turn=dropped.turn,
                generation=dropped.generation,
                reason=dropped.reason,
                failed=dropped.failed or "",
                utterances=dropped.utterances,
            )
        )

    def _answer(self, answer: turns.Answer) -> None:
        self.waterfall.end_turn(_now(), turn=answer.turn, generation=answer.generation, cause=answer.cause)
        self._metrics.turns.inc()
        self._playout.begin(answer.generation)
        source = "stt" if answer.cause == "speech" else "transport"
        if self._goes_to_model(answer.cause):
            self._post(
                events.TurnEnded(
                    turn=answer.turn,
                    generation=answer.generation,
                    text=answer.text,
                    cause=answer.cause,
                    revision=self.revision,
                    utterances=answer.utterances,
                )
            )
        elif self._routes.tts_speaks(source):
            self._announce(answer.turn, answer.generation, answer.text)
        else:
            self.step(turns.ReplyOver(_now(), answer.generation))

    def _goes_to_model(self, cause: str) -> bool:
        if cause == "speech":
            return self._routes.speech_to_llm
        # Typed words are answered like spoken ones, unless the flow gives them to the voice.
        return self._routes.typed_to_llm or (self._routes.llm_answers and not self._routes.tts_speaks("transport"))

    def _announce(self, turn: int, generation: int, words: str) -> None:
        """Sentence by sentence: the first is heard sooner, and what was heard is known."""
        sentences = sentences_of(words)
        self._playout.begin(generation)
        for number, text in enumerate(sentences):
            sentence = events.ReplySentence(turn=turn, generation=generation, sentence=number, text=text)
            self._post(sentence)
            self._speaker.tell({"type": "reply", "text": text, "turn": turn, "sentence": number})
            self._playout.text(number, text)
            if not (self._routes.transport_plays and Stage.TTS in self._routes.needed_stages):
                self._read_only(sentence)
        self.finish(generation, len(sentences))

    def _interrupt(self, turn: int, generation: int, now: float) -> None:
        self._report(now)
        partial = self._playout.interrupt(now) or Spoken(self._playout.unfinished(), 0, "", done=False)
        self._speaker.clear()
        self._playout.begin(0)
        self._post(
            events.Interrupted(
                turn=turn,
                generation=generation,
                sentence=partial.sentence,
                samples=partial.samples,
                rate=self._speaker.rate,
                heard=partial.text,
            )
        )
        self._speaker.tell({"type": "interrupted", "heard": partial.text, "turn": turn, "sentence": partial.sentence})

    def tell_state(self) -> None:
        self._speaker.tell({"type": "state", "state": STATES[self._turns.floor]})  # type: ignore[typeddict-item]

    # -- what the model says ------------------------------------------------------------------------------

    def say_sentence(self, sentence: events.ReplySentence) -> None:
        if sentence.generation != self._playout.generation or not self._playout.takes(sentence.sentence):
            return
        self.waterfall.mark("first_sentence", _now())
        self._speaker.tell(
            {"type": "reply", "text": sentence.text, "turn": sentence.turn, "sentence": sentence.sentence}
        )
        self._playout.text(sentence.sentence, sentence.text)
        if not self._is_voiced("llm"):
            self._read_only(sentence)

    def _is_voiced(self, source: str) -> bool:
        return self._routes.transport_plays and self._routes.tts_speaks(source)

    def _read_only(self, sentence: events.ReplySentence) -> None:
        """Without a voice a sentence has reached the caller as soon as it is told; not while nobody is there."""
        if self._playout.is_away:
            self._unread.append(sentence)
            return
        self.waterfall.mark("first_text", _now())
        self._tell_times()
        self._start_playout(_now(), sentence.generation)
        self._playout.fail(sentence.sentence)
        self._post(
            events.Played(
                turn=sentence.turn,
                generation=sentence.generation,
                sentence=sentence.sentence,
                samples=0,
                rate=0,
                text=sentence.text,
            )
        )

    def finish(self, generation: int, sentences: int) -> None:
        if generation == self._playout.generation:
            self._playout.finish(sentences, _now())
            self._speaker.stir()

    def fail_reply(self, generation: int, sentences: int) -> None:
        """Those that stand are heard, and then the apology."""
        self.step(turns.Failed(_now(), generation, "llm"))
        self.finish(generation, sentences)

    def fail_sentence(self, generation: int, sentence: int) -> None:
        """The reply is heard as far as it was spoken, and then the apology; where there is none, it goes on."""
        if generation != self._playout.generation:
            return
        self.step(turns.Failed(_now(), generation, "tts"))
        if self._turns.apology:
            self._playout.cut(sentence, _now())
        else:
            self._playout.fail(sentence)
        self._speaker.stir()

    def tell_unread(self) -> None:
        """To a caller who is there again."""
        unread, self._unread = self._unread, []
        for sentence in unread:
            if sentence.generation == self._playout.generation:
                self._read_only(sentence)

    # -- playing ------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """The one writer of the wire: commands first, then what is due, then a look at the ear."""
        while True:
            self._speaker.settle()
            await self._speaker.send_waiting()
            now = _now()
            for piece in self._playout.due(now):
                if piece.first:
                    self._begun(now)
                await self._speaker.send(piece)
            self._report(now)
            if self._playout.is_over():
                self.step(turns.ReplyOver(now, self._playout.generation))
            if (tick := turns.deadline(self._turns)) is not None and now >= tick:
                self.step(turns.Tick(now))
            await self._speaker.wait(self._next_due(now))

    def _next_due(self, now: float) -> float | None:
        due = [at for at in (self._playout.next_due(now), turns.deadline(self._turns)) if at is not None]
        return min(due) if due else None

    def _begun(self, now: float) -> None:
        """The first sample of a generation is on its way: the turn's waterfall is complete."""
        self._start_playout(now, self._playout.generation)
        self.waterfall.mark("first_sample", now)
        self._tell_times()

    def _tell_times(self) -> None:
        """Of a turn whose answer has begun, or will not: an apology or the next turn is no part of it."""
        if not (timed := self.waterfall.tell()):
            return
        self._post(timed)
        if timed.marks.keys() >= {"transcript", "first_sample"}:  # what was spoken on both sides
            self._metrics.response_seconds.observe(timed.marks["first_sample"] / 1000)

    def _start_playout(self, now: float, generation: int) -> None:
        self.step(turns.PlayoutStarted(now, generation))
        apology = self._apology
        if apology and apology.failed and apology.generation == generation:
            self._apology = None
            self._post(events.Apologised(turn=apology.turn, generation=generation, role=apology.failed))
            self._metrics.apologies.labels(apology.failed).inc()

    def _report(self, now: float) -> None:
        for spoken in self._playout.progress(now):
            self._post(
                events.Played(
                    turn=self._turns.answering,
                    generation=self._playout.generation,
                    sentence=spoken.sentence,
                    samples=spoken.samples,
                    rate=self._speaker.rate,
                    text=spoken.text,
                )
            )


def _now() -> float:
    return asyncio.get_running_loop().time()
