"""From canonical events to rows: a batch of events is read into the rows it touches, and these are written at once.

The same event twice changes nothing: entries, usage and incidents are known by event id or sentence, sessions and
turns only move forward. Events of unknown types and of unknown sessions are counted and passed over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce, singledispatchmethod
from operator import or_
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, models, transaction
from django.db.models import Q

from accounts_app.models import Workspace
from mesh import events
from mesh.events import Event, Stored
from mesh.subjects import Stage
from pipelines_app.models import AgentVersion
from sessions_app.models import (
    BridgeCursor,
    Incident,
    Session,
    Speaker,
    TranscriptEntry,
    Turn,
    TurnState,
    Usage,
)

Row = TypeVar("Row", bound=models.Model)
Numbers = Mapping[str, set[int]]
"""Turn numbers by session."""

SESSION_CHANGES = [
    *("state", "reason", "detail", "live_at", "ended_at", "media_ms", "rate", "config", "revision"),
    *("turn", "owner", "epoch", "last_sequence"),
]
TURN_CHANGES = ["generation", "cause", "text", "reply", "state", "ended_at", "waterfall"]
ENTRY_CHANGES = ["text", "turn", "generation", "heard_samples", "interrupted"]

PASSING = (events.SpeechStarted, events.SpeechEnded, events.ReplySentence)
"""Known events that leave no trace in any row: nothing is read, written or nudged for them."""

Heard = events.Played | events.Interrupted


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
        rows = Rows([stored for stored in new if not isinstance(stored.event, PASSING)])
        rows.write()
    rows.folded.events = len(new)
    return rows.folded


class Rows:
    """The rows that a batch touches, in memory. Each `_apply` is one rule: what an event means for them."""

    def __init__(self, batch: Sequence[Stored]) -> None:
        """Read what is there with a handful of queries, however large the batch, and apply the events in order."""
        created = [stored.event for stored in batch if isinstance(stored.event, events.SessionCreated)]
        self._workspaces = _workspaces(created)
        self._versions = _versions(created)
        self._sessions = Session.objects.in_bulk({stored.session for stored in batch})
        self._turns = {(turn.session_id, turn.number): turn for turn in _turns(batch)}
        self._sentences = {(entry.session_id, entry.generation, entry.sentence): entry for entry in _sentences(batch)}
        self._owners: dict[str, str] = {}
        self._changed_sessions: dict[str, Session] = {}
        self._changed_turns: dict[tuple[str, int], Turn] = {}
        self._utterances = _utterances(batch)
        self._new_entries: dict[str, TranscriptEntry] = {}
        self._changed_entries: dict[str, TranscriptEntry] = {}
        self._usage: list[Usage] = []
        self._incidents: list[Incident] = []
        self.folded = Folded()
        for stored in batch:
            self._take(stored)

    def _take(self, stored: Stored) -> None:
        """Apply one event, or count why not."""
        session = self._sessions.get(stored.session)
        if session is None and isinstance(stored.event, events.SessionCreated):
            session = self._create(stored.event, stored)
        if isinstance(stored.event, events.Fence) and stored.stage == Stage.SESSION:
            self._owners[stored.session] = stored.event.owner  # a session's first fence comes before the session
        if stored.event is None:
            self.folded.skipped["unknown_type"] += 1
        elif session is None:
            self.folded.skipped["unknown_session"] += 1
        else:
            session.owner = self._owners.get(session.id, session.owner)
            session.last_sequence = self.folded.sequences[session.id] = stored.sequence
            self.folded.workspaces[session.id] = session.workspace_id
            if stored.stage == Stage.SESSION:
                session.epoch = max(session.epoch, stored.epoch)
            self._changed_sessions[session.id] = session
            self._apply(stored.event, session, stored)

    def write(self) -> None:
        _upsert(Session, self._changed_sessions.values(), known_by=["id"], changes=SESSION_CHANGES)
        _upsert(Turn, self._changed_turns.values(), known_by=["session", "number"], changes=TURN_CHANGES)
        TranscriptEntry.objects.bulk_create(map(_fitted, self._new_entries.values()), ignore_conflicts=True)
        _upsert(TranscriptEntry, self._changed_entries.values(), known_by=["event_id"], changes=ENTRY_CHANGES)
        Usage.objects.bulk_create(map(_fitted, self._usage), ignore_conflicts=True)
        Incident.objects.bulk_create(map(_fitted, self._incidents), ignore_conflicts=True)

    # -- rules --------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _apply(self, event: Event, session: Session, stored: Stored) -> None:
        """A fence needs no rule: who owns a session is noted with every event."""

    def _create(self, event: events.SessionCreated, stored: Stored) -> Session | None:
        workspace = self._workspaces.get(event.workspace)
        if workspace is None:
            self.folded.skipped["unknown_workspace"] += 1
            return None
        session = Session(
            id=stored.session,
            workspace=workspace,
            agent_version=self._versions.get((event.workspace, event.agent, event.agent_version)),
            name=event.name,
            transport=event.transport,
            caller=event.caller,
            called=event.called,
            call_id=event.call_id,
            created_at=_moment(stored),
            config=event.config,
            revision=event.revision,
            details=event.details,
        )
        self._sessions[session.id] = session
        return session

    @_apply.register
    def _(self, event: events.SessionLive, session: Session, stored: Stored) -> None:
        session.go_live(at=_moment(stored), rate=event.rate)

    @_apply.register
    def _(self, event: events.SessionUpdated, session: Session, stored: Stored) -> None:
        session.config, session.revision = event.config, event.revision

    @_apply.register
    def _(self, event: events.SessionEnded, session: Session, stored: Stored) -> None:
        session.end(
            at=_moment(stored),
            reason=event.reason,
            detail=event.detail,
            failed=event.failed,
            media_ms=event.media_ms,
        )

    @_apply.register
    def _(self, event: events.TurnStarted, session: Session, stored: Stored) -> None:
        self._turn(event.turn, session, stored)

    @_apply.register
    def _(self, event: events.TurnEnded, session: Session, stored: Stored) -> None:
        turn = self._turn(event.turn, session, stored)
        turn.hear(text=event.text, cause=event.cause, generation=event.generation, at=_moment(stored))
        said = self._said(event.turn, stored)
        for entry in said:
            entry.turn, entry.generation = event.turn, event.generation
            if entry.event_id not in self._new_entries:
                self._changed_entries[entry.event_id] = entry
        typed = _without(event.text, [entry.text for entry in said]) if event.cause == "typed" else ""
        if typed:
            self._say(Speaker.CALLER, typed, session, stored, turn=event.turn, generation=event.generation)

    @_apply.register
    def _(self, event: events.TurnDiscarded, session: Session, stored: Stored) -> None:
        self._settle(event.turn, TurnState.DISCARDED, event.generation, session)

    @_apply.register
    def _(self, event: events.TurnTimed, session: Session, stored: Stored) -> None:
        if turn := self._change(event.turn, session):
            turn.waterfall = turn.waterfall | event.marks

    @_apply.register
    def _(self, event: events.TranscriptFinal, session: Session, stored: Stored) -> None:
        if event.text:
            self._say(Speaker.CALLER, event.text, session, stored, provider=event.provider)

    @_apply.register
    def _(self, event: events.Dtmf, session: Session, stored: Stored) -> None:
        self._say(Speaker.SYSTEM, f"Keys pressed: {event.digits}", session, stored, turn=session.turn)

    @_apply.register
    def _(self, event: events.Played, session: Session, stored: Stored) -> None:
        self._hear(event, event.text, session, stored, interrupted=False)

    @_apply.register
    def _(self, event: events.Interrupted, session: Session, stored: Stored) -> None:
        self._settle(event.turn, TurnState.INTERRUPTED, event.generation, session)
        self._hear(event, event.heard, session, stored, interrupted=True)

    @_apply.register
    def _(self, event: events.ReplyDone, session: Session, stored: Stored) -> None:
        self._settle(event.turn, TurnState.ANSWERED, event.generation, session)

    @_apply.register
    def _(self, event: events.ReplyFailed, session: Session, stored: Stored) -> None:
        self._settle(event.turn, TurnState.FAILED, event.generation, session)
        self._note(Incident.Kind.REPLY_FAILED, session, stored, detail=event.detail)

    @_apply.register
    def _(self, event: events.SentenceFailed, session: Session, stored: Stored) -> None:
        self._note(Incident.Kind.SENTENCE_FAILED, session, stored, detail=event.detail, sentence=event.sentence)

    @_apply.register
    def _(self, event: events.ProviderFailed, session: Session, stored: Stored) -> None:
        self._note(
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
        self._note(
            Incident.Kind.PROVIDER_SWITCHED,
            session,
            stored,
            role=event.role,
            provider=event.before,
            successor=event.after,
        )

    @_apply.register
    def _(self, event: events.Usage, session: Session, stored: Stored) -> None:
        self._usage.append(
            Usage(
                workspace_id=session.workspace_id,
                session=session,
                event_id=stored.id,
                turn=event.turn,
                role=event.role,
                provider=event.provider,
                model=event.model,
                unit=event.unit,
                quantity=event.quantity,
                estimated=event.estimated,
                micros=event.micros,
                price_version=event.price_version,
                at=_moment(stored),
            )
        )

    # -- what the rules do --------------------------------------------------------------------------------

    def _turn(self, number: int, session: Session, stored: Stored) -> Turn:
        """The turn of that number, begun if it is new."""
        session.turn = max(session.turn, number)
        key = (session.id, number)
        if key not in self._turns:
            self._turns[key] = Turn(
                workspace_id=session.workspace_id, session=session, number=number, started_at=_moment(stored)
            )
        return self._changed_turns.setdefault(key, self._turns[key])

    def _change(self, number: int, session: Session) -> Turn | None:
        """The turn of that number, if it was ever begun: greetings and announcements belong to none."""
        key = (session.id, number)
        if key not in self._turns:
            return None
        return self._changed_turns.setdefault(key, self._turns[key])

    def _settle(self, number: int, state: TurnState, generation: int, session: Session) -> None:
        if turn := self._change(number, session):
            turn.settle(state, generation=generation)

    def _say(self, speaker: Speaker, text: str, session: Session, stored: Stored, **values: Any) -> TranscriptEntry:
        entry = TranscriptEntry(
            workspace_id=session.workspace_id,
            session=session,
            event_id=stored.id,
            sequence=stored.sequence,
            speaker=speaker,
            text=text,
            **{"at": _moment(stored)} | values,
        )
        if speaker == Speaker.CALLER:
            self._utterances.setdefault(stored.id, entry)
        return self._new_entries.setdefault(stored.id, entry)

    def _said(self, turn: int, stored: Stored) -> list[TranscriptEntry]:
        """The caller's words that belong to a turn that ends: its own, and those that came since the last one."""
        return [
            entry
            for entry in self._utterances.values()
            if entry.session_id == stored.session and entry.turn in (0, turn) and entry.sequence < stored.sequence
        ]

    def _hear(self, event: Heard, text: str, session: Session, stored: Stored, *, interrupted: bool) -> None:
        """One entry a sentence: what was heard of it at the end, and when it began to be heard."""
        key = (session.id, event.generation, event.sentence)
        entry = self._sentences.get(key)
        if entry is None and text:
            where: dict[str, Any] = {"turn": event.turn, "generation": event.generation, "sentence": event.sentence}
            where["at"] = _moment(stored) - _length(event)
            entry = self._sentences[key] = self._say(Speaker.AGENT, text, session, stored, **where)
        if entry is None:
            return
        if event.samples >= entry.heard_samples:
            entry.text, entry.heard_samples, entry.interrupted = text, event.samples, interrupted
        if entry.event_id not in self._new_entries:
            self._changed_entries[entry.event_id] = entry
        if turn := self._change(event.turn, session):
            turn.reply = self._reply(session.id, event.turn)

    def _reply(self, session: str, turn: int) -> str:
        spoken = [entry for key, entry in self._sentences.items() if key[0] == session and entry.turn == turn]
        spoken.sort(key=lambda entry: (entry.generation, entry.sentence))
        return " ".join(entry.text for entry in spoken)

    def _note(self, kind: Incident.Kind, session: Session, stored: Stored, **values: Any) -> None:
        event = stored.event
        self._incidents.append(
            Incident(
                workspace_id=session.workspace_id,
                session=session,
                event_id=stored.id,
                kind=kind,
                turn=getattr(event, "turn", 0),
                generation=getattr(event, "generation", 0),
                at=_moment(stored),
                **{"role": stored.stage, **values},
            )
        )


# -- reading and writing rows ----------------------------------------------------------------------------


def _workspaces(created: Iterable[events.SessionCreated]) -> dict[str, Workspace]:
    slugs = {event.workspace for event in created}
    return {workspace.slug: workspace for workspace in Workspace.objects.filter(slug__in=slugs)} if slugs else {}


def _versions(created: Iterable[events.SessionCreated]) -> dict[tuple[str, str, int], AgentVersion]:
    slugs = {event.agent for event in created if event.agent}
    if not slugs:
        return {}
    numbers = {event.agent_version for event in created}
    found = AgentVersion.objects.filter(agent__slug__in=slugs, number__in=numbers).select_related("agent__workspace")
    return {(version.agent.workspace.slug, version.agent.slug, version.number): version for version in found}


def _turns(batch: Iterable[Stored]) -> Iterable[Turn]:
    wanted = _numbers(batch, Event)
    return Turn.objects.filter(_any("number", wanted)) if wanted else ()


def _sentences(batch: Iterable[Stored]) -> Iterable[TranscriptEntry]:
    wanted = _numbers(batch, events.Played, events.Interrupted)
    return TranscriptEntry.objects.by(Speaker.AGENT).filter(_any("turn", wanted)) if wanted else ()


def _utterances(batch: Iterable[Stored]) -> dict[str, TranscriptEntry]:
    """The caller's entries of the turns that end here, and those of no turn yet."""
    wanted = {session: numbers | {0} for session, numbers in _numbers(batch, events.TurnEnded).items()}
    found = TranscriptEntry.objects.by(Speaker.CALLER).filter(_any("turn", wanted)) if wanted else ()
    return {entry.event_id: entry for entry in found}


def _without(text: str, said: Iterable[str]) -> str:
    for words in said:
        text = text.replace(words, "", 1)
    return " ".join(text.split())


def _numbers(batch: Iterable[Stored], *types: type[Event]) -> Numbers:
    numbers: dict[str, set[int]] = {}
    for stored in batch:
        if isinstance(stored.event, types) and hasattr(stored.event, "turn"):
            numbers.setdefault(stored.session, set()).add(stored.event.turn)
    return numbers


def _any(column: str, wanted: Numbers) -> Q:
    return reduce(or_, (Q(session=session, **{f"{column}__in": numbers}) for session, numbers in wanted.items()))


def _upsert(model: type[Row], rows: Iterable[Row], *, known_by: list[str], changes: list[str]) -> None:
    fitted = [_fitted(row) for row in rows]
    model._default_manager.bulk_create(fitted, update_conflicts=True, unique_fields=known_by, update_fields=changes)


def _fitted(row: Row) -> Row:
    """Texts from outside as the columns take them: not longer, and without NUL, which PostgreSQL refuses."""
    for column in row._meta.concrete_fields:
        value = getattr(row, column.attname)
        if isinstance(value, str) and not column.primary_key and not column.is_relation:
            limit = getattr(column, "max_length", None)
            setattr(row, column.attname, value.replace("\x00", "")[:limit])
    return row


def _length(heard: Heard) -> timedelta:
    """Of what was played; a sentence that was passed over has no rate."""
    return timedelta(seconds=heard.samples / heard.rate) if heard.rate else timedelta()


def _moment(stored: Stored) -> datetime:
    return datetime.fromtimestamp(stored.at, UTC)
