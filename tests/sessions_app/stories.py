"""Sessions' events, as the four stages would have stored them, and a call that has a bit of everything."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesh import events
from mesh.events import Event, Stored
from mesh.subjects import Stage, canonical
from sessions_app.fold import Folded

Write = Callable[[list[Stored]], Folded]
START = 1_790_000_000.0


def created(workspace: str = "bicycles", **values: Any) -> events.SessionCreated:
    usual: dict[str, Any] = {"config": {}, "revision": "r1", "transport": "websocket"}
    return events.SessionCreated(workspace=workspace, **usual | values)


@dataclass
class Story:
    """A session's events in order; ids and sequences count by themselves."""

    session: str = "s1"
    sequence: int = 0
    told: list[Stored] = field(default_factory=list)

    def tell(self, *happened: Event, stage: Stage = Stage.SESSION, epoch: int = 1) -> list[Stored]:
        """Store some more, and return them."""
        return [self._store(event, stage, epoch) for event in happened]

    def _store(self, event: Event, stage: Stage, epoch: int) -> Stored:
        self.sequence += 1
        stored = Stored(
            sequence=self.sequence,
            subject=canonical(stage, self.session),
            id=events.event_id(self.session, stage, epoch, self.sequence),
            session=self.session,
            stage=stage,
            epoch=epoch,
            at=START + self.sequence,
            type=event.type(),
            event=event,
        )
        self.told.append(stored)
        return stored


def final(text: str, utterance: int = 1) -> events.TranscriptFinal:
    return events.TranscriptFinal(utterance=utterance, start=0, end=8000, text=text, provider="deepgram")


def ended(turn: int, text: str, *, generation: int | None = None, cause: Any = "speech") -> events.TurnEnded:
    return events.TurnEnded(turn=turn, generation=generation or turn, text=text, cause=cause)


def played(sentence: int, text: str, *, turn: int = 1, generation: int = 1, samples: int = 800) -> events.Played:
    return events.Played(turn=turn, generation=generation, sentence=sentence, samples=samples, rate=8000, text=text)


def interrupted(sentence: int, heard: str, *, turn: int = 1, samples: int = 800) -> events.Interrupted:
    return events.Interrupted(turn=turn, generation=turn, sentence=sentence, samples=samples, rate=8000, heard=heard)


def tell_a_call(story: Story) -> list[Stored]:
    """A greeting, a question with its answer, and one that is broken into."""
    story.tell(
        events.Fence(owner="transport-1", epoch=1), created(name="Booking"), events.SessionLive(worker="w", rate=8000)
    )
    story.tell(played(1, "Hello.", turn=0, generation=1), events.TurnStarted(turn=1))
    story.tell(final("A table for two."), stage=Stage.STT)
    story.tell(ended(1, "A table for two.", generation=2))
    story.tell(events.ReplyDone(turn=1, generation=2, sentences=2), stage=Stage.LLM)
    story.tell(usage(), stage=Stage.LLM)
    story.tell(
        played(1, "When?", generation=2),
        interrupted_by(2, "I have"),
        events.TurnTimed(turn=1, generation=2, marks={"transcript": 210, "turn_end": 212}),
    )
    story.tell(events.SessionEnded(reason="hangup", media_ms=9000))
    return story.told


def interrupted_by(sentence: int, heard: str) -> events.Interrupted:
    return events.Interrupted(turn=1, generation=2, sentence=sentence, samples=800, rate=8000, heard=heard)


def usage() -> events.Usage:
    return events.Usage(
        role="llm", provider="openai", model="gpt-4o", unit="output_tokens", quantity=12, turn=1, micros=34
    )
