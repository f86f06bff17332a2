"""From canonical events to rows: what each event means for them, batch by batch.

The same event twice changes nothing: entries, usage and incidents are known by event id or sentence, sessions and
turns only move forward. Events of unknown types and of unknown sessions are counted and passed over.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

from django.db import DataError, IntegrityError, transaction

from mesh import events
from mesh.events import Event, Stored
from mesh.subjects import Stage
from sessions_app.models import BridgeCursor, Incident, Session, Speaker, TurnState
from sessions_app.rows import Rows, moment

PASSING = (events.SpeechStarted, events.SpeechEnded, events.ReplySentence)
"""Known events that leave no trace in any row: nothing is read, written or nudged for them."""


@dataclass(slots=True)
class Folded:
    """What a batch came to. `sequences` tells, for each session it touched, the last event that is in its rows."""

    events: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    sequences: dict[str, int] = field(default_factory=dict)
    workspaces: dict[str, int] = field(default_factory=dict)
    """Whose these sessions are."""

    def add(self, other: "Folded") -> None:
        self.events += other.events
        self.skipped += other.skipped
        self.sequences |= other.sequences
        self.workspaces |= other.workspaces


def fold(batch: Sequence[Stored], cursor: BridgeCursor) -> Folded:
    """Write a batch and move the cursor, in one transaction; raises CursorMoved.

    An event that the database refuses is passed over alone, so that it cannot hold up all that follow.
    """
    try:
        return _fold(batch, cursor)
    except (DataError, IntegrityError, OverflowError, ValueError):
        cursor.refresh_from_db()
        if len(batch) == 1:
            cursor.advance(batch[0].sequence)
            return Folded(events=1, skipped=Counter(refused=1))
    folded = Folded()
    for stored in batch:
        folded.add(fold([stored], cursor))
    return folded


def _fold(batch: Sequence[Stored], cursor: BridgeCursor) -> Folded:
    new = [stored for stored in batch if stored.sequence > cursor.sequence]
    if not new:
        return Folded()
    with transaction.atomic():
        cursor.advance(new[-1].sequence)
        telling = [stored for stored in new if not isinstance(stored.event, PASSING)]
        rows = Rows(telling)
        folded = Rules(rows).apply(telling)
        rows.write()
    folded.events = len(new)
    return folded


class Rules:
    """Each `_apply` is one rule: what an event means for the rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._owners: dict[str, str] = {}
        self._folded = Folded()

    def apply(self, batch: Sequence[Stored]) -> Folded:
        """Apply the events in order."""
        for stored in batch:
            self._take(stored)
        return self._folded

    def _take(self, stored: Stored) -> None:
        """Apply one event, or count why not."""
        session = self._rows.sessions.get(stored.session)
        if session is None and isinstance(stored.event, events.SessionCreated):
            session = self._create(stored.event, stored)
        if isinstance(stored.event, events.Fence) and stored.stage == Stage.SESSION:
            self._owners[stored.session] = stored.event.owner  # a session's first fence comes before the session
        if stored.event is None:
            self._folded.skipped["unknown_type"] += 1
        elif session is None:
            self._folded.skipped["unknown_session"] += 1
        else:
            session.owner = self._owners.get(session.id, session.owner)
            session.last_sequence = self._folded.sequences[session.id] = stored.sequence
            self._folded.workspaces[session.id] = session.workspace_id
            if stored.stage == Stage.SESSION:
                session.epoch = max(session.epoch, stored.epoch)
            self._rows.change_session(session)
            self._apply(stored.event, session, stored)

    def _create(self, event: events.SessionCreated, stored: Stored) -> Session | None:
        session = self._rows.create(event, stored)
        if session is None:
            self._folded.skipped["unknown_workspace"] += 1
        return session

    @singledispatchmethod
    def _apply(self, event: Event, session: Session, stored: Stored) -> None:
        """A fence needs no rule: who owns a session is noted with every event."""

    @_apply.register
    def _(self, event: events.SessionLive, session: Session, stored: Stored) -> None:
        session.go_live(at=moment(stored), rate=event.rate)

    @_apply.register
    def _(self, event: events.SessionUpdated, session: Session, stored: Stored) -> None:
        session.config, session.revision = event.config, event.revision

    @_apply.register
    def _(self, event: events.SessionEnded, session: Session, stored: Stored) -> None:
        session.end(
            at=moment(stored),
            reason=event.reason,
            detail=event.detail,
            failed=event.failed,
            media_ms=event.media_ms,
        )

    @_apply.register
    def _(self, event: events.TurnStarted, session: Session, stored: Stored) -> None:
        self._rows.turn(event.turn, session, stored)

    @_apply.register
    def _(self, event: events.TurnEnded, session: Session, stored: Stored) -> None:
        turn = self._rows.turn(event.turn, session, stored)
        self._rows.claim(event.utterances, event.turn, session)
        turn.hear(text=event.text, cause=event.cause, generation=event.generation, at=moment(stored))
        said = self._rows.said(event.turn, stored)
        for entry in said:
            entry.turn, entry.generation = event.turn, event.generation
            self._rows.touch(entry)
        typed = _without(event.text, [entry.text for entry in said]) if event.cause == "typed" else ""
        if typed:
            self._rows.say(Speaker.CALLER, typed, session, stored, turn=event.turn, generation=event.generation)

    @_apply.register
    def _(self, event: events.TurnDiscarded, session: Session, stored: Stored) -> None:
        self._rows.claim(event.utterances, event.turn, session)
        if event.failed:
            self._rows.settle(event.turn, TurnState.FAILED, event.generation, session, event.reason)
        else:
            self._rows.settle(event.turn, TurnState.DISCARDED, event.generation, session)

    @_apply.register
    def _(self, event: events.TurnTimed, session: Session, stored: Stored) -> None:
        if turn := self._rows.begun(event.turn, session):
            turn.waterfall = turn.waterfall | event.marks

    @_apply.register
    def _(self, event: events.TranscriptFinal, session: Session, stored: Stored) -> None:
        if event.text:
            self._rows.say(Speaker.CALLER, event.text, session, stored, provider=event.provider)

    @_apply.register
    def _(self, event: events.Dtmf, session: Session, stored: Stored) -> None:
        self._rows.say(Speaker.SYSTEM, f"Keys pressed: {event.digits}", session, stored, turn=session.turn)

    @_apply.register
    def _(self, event: events.Played, session: Session, stored: Stored) -> None:
        self._rows.hear(event, event.text, session, stored, interrupted=False)

    @_apply.register
    def _(self, event: events.Interrupted, session: Session, stored: Stored) -> None:
        self._rows.settle(event.turn, TurnState.INTERRUPTED, event.generation, session)
        self._rows.hear(event, event.heard, session, stored, interrupted=True)

    @_apply.register
    def _(self, event: events.ReplyDone, session: Session, stored: Stored) -> None:
        self._rows.settle(event.turn, TurnState.ANSWERED, event.generation, session)

    @_apply.register
    def _(self, event: events.ReplyFailed, session: Session, stored: Stored) -> None:
        self._rows.settle(event.turn, TurnState.FAILED, event.generation, session, event.detail)
        self._rows.note(Incident.Kind.REPLY_FAILED, session, stored, detail=event.detail)

    @_apply.register
    def _(self, event: events.SentenceFailed, session: Session, stored: Stored) -> None:
        self._rows.settle(event.turn, TurnState.FAILED, event.generation, session, event.detail)
        self._rows.note(Incident.Kind.SENTENCE_FAILED, session, stored, detail=event.detail, sentence=event.sentence)

    @_apply.register
    def _(self, event: events.Apologised, session: Session, stored: Stored) -> None:
        self._rows.note(Incident.Kind.APOLOGISED, session, stored, role=event.role)

    @_apply.register
    def _(self, event: events.ProviderFailed, session: Session, stored: Stored) -> None:
        self._rows.note(
            Incident.Kind.PROVIDER_FAILED,
            session,
            stored,
            role=event.role,
            provider=event.provider,
            error=event.kind,
            detail=event.detail,
            ms=event.ms,
        )

    @_apply.register
    def _(self, event: events.ProviderSwitched, session: Session, stored: Stored) -> None:
        self._rows.note(
            Incident.Kind.PROVIDER_SWITCHED,
            session,
            stored,
            role=event.role,
            provider=event.before,
            successor=event.after,
        )

    @_apply.register
    def _(self, event: events.Usage, session: Session, stored: Stored) -> None:
        self._rows.charge(event, session, stored)


def _without(text: str, said: Iterable[str]) -> str:
    for words in said:
        text = text.replace(words, "", 1)
    return " ".join(text.split())
