"""What is going on in each session at this moment, besides its rows: who has the floor, and words that are not final.

Pure: messages and events come in with their time, and `take_changed` gives what is to be shown.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import singledispatchmethod
from typing import TypeVar

import msgspec

from mesh import events
from mesh.events import Event, Stored
from mesh.subjects import Stage

MOST_SESSIONS = 2_000
"""The one that was silent for longest is forgotten; it comes back with its next word."""
SILENT_FOR = 3_600.0
REMEMBER_ENDS = 1_000
"""Sessions that are over, so that a late word of theirs is no new session."""
LONGEST_INTERIM = 2_000
LONGEST_REPLY = 8_000
MOST_SENTENCES = 100
MOST_UTTERANCES = 4


class Phase(StrEnum):
    WAITING = "waiting"  # nobody speaks
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    OVER = "over"


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One session's. It goes with the rows as they are at `sequence`: words that rows hold are not in it.

    0 means that no rows came since it began: it goes with any.
    """

    phase: Phase = Phase.WAITING
    sequence: int = 0
    caller: str = ""
    """What the caller is saying, as far as it was understood."""
    agent: str = ""
    """Sentences that are certain and not heard to their end yet."""
    coming: str = ""
    """What the model has written since then."""

    def goes_with(self, sequence: int) -> bool:
        """Newer rows may hold some of its words."""
        return self.sequence == 0 or self.sequence >= sequence


class Interim(msgspec.Struct, frozen=True):
    utterance: int
    epoch: int
    text: str


class Delta(msgspec.Struct, frozen=True):
    generation: int
    epoch: int
    text: str
    anew: bool = False
    sentence: int = 0
    """If `anew`: the text begins this sentence again, and what was written of it before is void."""


Word = TypeVar("Word", Interim, Delta)
_interims = msgspec.json.Decoder(Interim)
_deltas = msgspec.json.Decoder(Delta)


@dataclass(slots=True)
class _Reply:
    """The agent's words of one generation."""

    generation: int = 0
    sentences: dict[int, str] = field(default_factory=dict)
    """Those that are not heard to their end."""
    written: str = ""
    """The model's text since `epoch` began, or as far back as it is kept."""
    skipped: int = 0
    """So many characters of it, white space aside, are committed sentences."""
    first: int = 0
    """The sentence with which it begins, of those of this epoch."""
    epoch: int = 0
    expected: int | None = None
    """How many sentences there are, once that is known."""
    heard_to: int = 0
    """The number after that of the last sentence that was heard to its end."""

    @property
    def coming(self) -> str:
        return _after(self.written, self.skipped)

    def write(self, told: Delta) -> bool:
        """Whether it is news: not of a worker that was replaced."""
        if told.epoch < self.epoch:
            return False
        self._follow(told.epoch)
        if told.anew:
            self.written, self.skipped, self.first = "", 0, told.sentence
        if len(self.written) < LONGEST_REPLY:
            self.written += told.text
        return True

    def commit(self, sentence: int, text: str, epoch: int) -> None:
        """A sentence is certain; what is written besides it is still to come."""
        if epoch >= self.epoch:
            self._follow(epoch)
            if sentence >= self.first:
                self.skipped += _weight(text)

    def _follow(self, epoch: int) -> None:
        """Another worker writes on after the last committed sentence."""
        if epoch > self.epoch:
            self.epoch, self.written, self.skipped, self.first = epoch, "", 0, 0

    @property
    def is_over(self) -> bool:
        return self.expected is not None and self.heard_to >= self.expected


@dataclass(slots=True)
class _Stage:
    """One session while it goes on."""

    phase: Phase = Phase.WAITING
    sequence: int = 0
    interims: dict[int, str] = field(default_factory=dict)
    last_final: int = -1
    stt_epoch: int = 0
    reply: _Reply = field(default_factory=_Reply)
    dropped: int = 0
    """The last generation of which nothing more is said."""
    stirred: float = 0.0

    def picture(self) -> Scene:
        return Scene(
            phase=self.phase,
            sequence=self.sequence,
            caller=" ".join(filter(None, self.interims.values())),
            agent=" ".join(text for _, text in sorted(self.reply.sentences.items())),
            coming=self.reply.coming.strip(),
        )

    # -- plain messages -----------------------------------------------------------------------------------

    def hear_interim(self, told: Interim) -> bool:
        """Whether it is news: not of a recogniser that was replaced, nor of an utterance whose final is there."""
        if told.epoch < self.stt_epoch or told.utterance <= self.last_final:
            return False
        self.stt_epoch = told.epoch
        self.interims[told.utterance] = told.text[-LONGEST_INTERIM:]
        while len(self.interims) > MOST_UTTERANCES:
            del self.interims[min(self.interims)]
        if self.phase is Phase.WAITING:
            self.phase = Phase.LISTENING
        return True

    def read_delta(self, told: Delta) -> bool:
        if told.generation <= self.dropped or not self._is_current(told.generation):
            return False
        return self.reply.write(told)

    def _is_current(self, generation: int) -> bool:
        """A newer generation takes the place of the one before."""
        if generation > self.reply.generation:
            self.reply = _Reply(generation=generation)
        return generation == self.reply.generation

    def _drop(self, generation: int) -> None:
        """Nothing more of this generation, and of those before it, is to be shown."""
        self.dropped = max(self.dropped, generation)
        if self.reply.generation <= generation:
            self.reply = _Reply(generation=generation)

    # -- canonical events ---------------------------------------------------------------------------------

    @singledispatchmethod
    def happen(self, event: Event, stored: Stored) -> None:
        """Most events change rows only."""

    @happen.register
    def _(self, event: events.SpeechStarted, stored: Stored) -> None:
        if self.phase is Phase.WAITING:
            self.phase = Phase.LISTENING

    @happen.register
    def _(self, event: events.TranscriptFinal, stored: Stored) -> None:
        self.last_final = max(self.last_final, event.utterance)
        self.interims = {number: text for number, text in self.interims.items() if number > self.last_final}

    @happen.register
    def _(self, event: events.TurnStarted, stored: Stored) -> None:
        self.phase = Phase.LISTENING

    @happen.register
    def _(self, event: events.TurnEnded, stored: Stored) -> None:
        self._drop(event.generation - 1)
        self.phase = Phase.THINKING

    @happen.register
    def _(self, event: events.TurnDiscarded, stored: Stored) -> None:
        if event.generation:
            self._drop(event.generation)
        self.phase = Phase.LISTENING if event.generation else Phase.WAITING

    @happen.register
    def _(self, event: events.ReplySentence, stored: Stored) -> None:
        if event.generation <= self.dropped or not self._is_current(event.generation):
            return
        reply = self.reply
        if stored.stage == Stage.SESSION:  # nothing says how many sentences a greeting has: so many that are there
            reply.expected = event.sentence + 1
        else:
            reply.commit(event.sentence, event.text, stored.epoch)
        reply.sentences[event.sentence] = event.text
        while len(reply.sentences) > MOST_SENTENCES:
            del reply.sentences[min(reply.sentences)]
        self.phase = Phase.SPEAKING

    @happen.register(events.Played)
    @happen.register(events.SentenceFailed)
    def _(self, event: events.Played | events.SentenceFailed, stored: Stored) -> None:
        if event.generation != self.reply.generation:
            return
        self.reply.sentences.pop(event.sentence, None)
        self.reply.heard_to = max(self.reply.heard_to, event.sentence + 1)
        self._rest_when_over()

    @happen.register
    def _(self, event: events.Interrupted, stored: Stored) -> None:
        self._drop(event.generation)
        self.phase = Phase.LISTENING

    @happen.register(events.ReplyDone)
    @happen.register(events.ReplyFailed)
    def _(self, event: events.ReplyDone | events.ReplyFailed, stored: Stored) -> None:
        if event.generation == self.reply.generation and event.generation > self.dropped:
            self.reply.written, self.reply.expected = "", event.sentences
            self._rest_when_over()

    def _rest_when_over(self) -> None:
        if self.reply.is_over and self.phase in (Phase.SPEAKING, Phase.THINKING):
            self.phase = Phase.WAITING


class Scenes:
    """All sessions that go on. What waits to be shown is bounded by their number."""

    def __init__(self) -> None:
        self._stages: OrderedDict[str, _Stage] = OrderedDict()
        self._changed: dict[str, Scene | None] = {}
        self._over: deque[str] = deque(maxlen=REMEMBER_ENDS)
        self.unreadable = 0

    def __len__(self) -> int:
        return len(self._stages)

    def __contains__(self, session: str) -> bool:
        return session in self._stages

    def fold(self, batch: Iterable[Stored], sequences: Mapping[str, int], now: float) -> None:
        """Events whose rows are written, and up to where they are for each session."""
        for stored in batch:
            if isinstance(stored.event, events.SessionEnded):
                self._end(stored)
            elif stored.event is not None and (stage := self._stage(stored.session, now)):
                stage.happen(stored.event, stored)
                self._changed[stored.session] = None
        for session, sequence in sequences.items():
            if stage := self._stages.get(session):
                stage.sequence = sequence

    def hear_interim(self, session: str, payload: bytes, now: float) -> None:
        told = self._read(payload, _interims)
        if told and (stage := self._stage(session, now)) and stage.hear_interim(told):
            self._changed[session] = None

    def read_delta(self, session: str, payload: bytes, now: float) -> None:
        told = self._read(payload, _deltas)
        if told and (stage := self._stage(session, now)) and stage.read_delta(told):
            self._changed[session] = None

    def at(self, session: str) -> Scene | None:
        stage = self._stages.get(session)
        return stage.picture() if stage else None

    def take_changed(self, now: float) -> dict[str, Scene]:
        """The scenes that are others than at the last time."""
        changed, self._changed = self._changed, {}
        self._forget(now)
        scenes = {session: scene or self.at(session) for session, scene in changed.items()}
        return {session: scene for session, scene in scenes.items() if scene}

    @property
    def has_changes(self) -> bool:
        return bool(self._changed)

    def _stage(self, session: str, now: float) -> _Stage | None:
        """None for a session that is over."""
        stage = self._stages.get(session)
        if stage is None:
            if session in self._over:
                return None
            stage = self._stages[session] = _Stage()
        self._stages.move_to_end(session)
        stage.stirred = now
        return stage

    def _end(self, stored: Stored) -> None:
        self._stages.pop(stored.session, None)
        if stored.session not in self._over:
            self._over.append(stored.session)
        self._changed[stored.session] = Scene(phase=Phase.OVER, sequence=stored.sequence)

    def _forget(self, now: float) -> None:
        while self._stages:
            session, stage = next(iter(self._stages.items()))
            if len(self._stages) <= MOST_SESSIONS and now - stage.stirred < SILENT_FOR:
                return
            del self._stages[session]

    def _read(self, payload: bytes, decoder: "msgspec.json.Decoder[Word]") -> Word | None:
        try:
            return decoder.decode(payload)
        except msgspec.MsgspecError:
            self.unreadable += 1
            return None


def _weight(text: str) -> int:
    """Sentences and deltas are the same text but for white space."""
    return sum(map(len, text.split()))


def _after(text: str, skipped: int) -> str:
    """The rest of a text after so many characters that are no white space."""
    if not skipped:
        return text
    for place, character in enumerate(text):
        if not character.isspace():
            if not skipped:
                return text[place:]
            skipped -= 1
    return ""
