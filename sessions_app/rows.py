"""The rows that a batch of events touches: read with a handful of queries, changed in memory, written at once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from accounts_app.models import Workspace
from mesh import events
from mesh.events import Event, Stored
from pipelines_app.models import AgentVersion
from sessions_app.models import Incident, Session, Speaker, TranscriptEntry, Turn, TurnState, Usage

Row = TypeVar("Row", bound=models.Model)
Numbers = Mapping[str, set[int]]
"""Turn numbers by session."""

SESSION_CHANGES = [
    *("state", "reason", "detail", "live_at", "ended_at", "media_ms", "rate", "config", "revision"),
    *("turn", "owner", "epoch", "last_sequence"),
]
TURN_CHANGES = ["generation", "cause", "text", "reply", "state", "detail", "ended_at", "waterfall"]
ENTRY_CHANGES = ["text", "turn", "generation", "heard_samples", "interrupted"]

Heard = events.Played | events.Interrupted


class Rows:
    """What a batch needs of the tables, and what it changes there."""

    def __init__(self, batch: Sequence[Stored]) -> None:
        """Read what is there with a handful of queries, however large the batch."""
        created = [stored.event for stored in batch if isinstance(stored.event, events.SessionCreated)]
        self._workspaces = _workspaces(created)
        self._versions = _versions(created)
        self.sessions = Session.objects.in_bulk({stored.session for stored in batch})
        self._turns = {(turn.session_id, turn.number): turn for turn in _turns(batch)}
        self._sentences = {(entry.session_id, entry.generation, entry.sentence): entry for entry in _sentences(batch)}
        self._utterances = _utterances(batch)
        self._changed_sessions: dict[str, Session] = {}
        self._changed_turns: dict[tuple[str, int], Turn] = {}
        self._new_entries: dict[str, TranscriptEntry] = {}
        self._changed_entries: dict[str, TranscriptEntry] = {}
        self._usage: list[Usage] = []
        self._incidents: list[Incident] = []
        self._of_utterances = _of_utterances(batch)
        self._claimed: list[Usage | Incident] = []

    def write(self) -> None:
        _upsert(Session, self._changed_sessions.values(), known_by=["id"], changes=SESSION_CHANGES)
        _upsert(Turn, self._changed_turns.values(), known_by=["session", "number"], changes=TURN_CHANGES)
        TranscriptEntry.objects.bulk_create(map(_fitted, self._new_entries.values()), ignore_conflicts=True)
        _upsert(TranscriptEntry, self._changed_entries.values(), known_by=["event_id"], changes=ENTRY_CHANGES)
        Usage.objects.bulk_create(map(_fitted, self._usage), ignore_conflicts=True)
        Incident.objects.bulk_create(map(_fitted, self._incidents), ignore_conflicts=True)
        Usage.objects.bulk_update([row for row in self._claimed if isinstance(row, Usage)], ["turn"])
        Incident.objects.bulk_update([row for row in self._claimed if isinstance(row, Incident)], ["turn"])

    def create(self, event: events.SessionCreated, stored: Stored) -> Session | None:
        """A new session's row; None where nobody has its workspace."""
        workspace = self._workspaces.get(event.workspace)
        if workspace is None:
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
            created_at=moment(stored),
            config=event.config,
            revision=event.revision,
            details=event.details,
        )
        self.sessions[session.id] = session
        return session

    def change_session(self, session: Session) -> None:
        self._changed_sessions[session.id] = session

    def turn(self, number: int, session: Session, stored: Stored) -> Turn:
        """The turn of that number, begun if it is new."""
        session.turn = max(session.turn, number)
        key = (session.id, number)
        if key not in self._turns:
            self._turns[key] = Turn(
                workspace_id=session.workspace_id, session=session, number=number, started_at=moment(stored)
            )
        return self._changed_turns.setdefault(key, self._turns[key])

    def begun(self, number: int, session: Session) -> Turn | None:
        """The turn of that number, if it was ever begun: greetings and announcements belong to none."""
        key = (session.id, number)
        if key not in self._turns:
            return None
        return self._changed_turns.setdefault(key, self._turns[key])

    def settle(self, number: int, state: TurnState, generation: int, session: Session, detail: str = "") -> None:
        if turn := self.begun(number, session):
            turn.settle(state, generation=generation, detail=detail)

    def touch(self, entry: TranscriptEntry) -> None:
        """Have an entry written that was there already; a new one is written anyway."""
        if entry.event_id not in self._new_entries:
            self._changed_entries[entry.event_id] = entry

    def say(self, speaker: Speaker, text: str, session: Session, stored: Stored, **values: Any) -> TranscriptEntry:
        entry = TranscriptEntry(
            workspace_id=session.workspace_id,
            session=session,
            event_id=stored.id,
            sequence=stored.sequence,
            speaker=speaker,
            text=text,
            **{"at": moment(stored)} | values,
        )
        if speaker == Speaker.CALLER:
            self._utterances.setdefault(stored.id, entry)
        return self._new_entries.setdefault(stored.id, entry)

    def said(self, turn: int, stored: Stored) -> list[TranscriptEntry]:
        """The caller's words that belong to a turn that ends: its own, and those that came since the last one."""
        return [
            entry
            for entry in self._utterances.values()
            if entry.session_id == stored.session and entry.turn in (0, turn) and entry.sequence < stored.sequence
        ]

    def hear(self, event: Heard, text: str, session: Session, stored: Stored, *, interrupted: bool) -> None:
        """One entry a sentence: what was heard of it at the end, and when it began to be heard."""
        key = (session.id, event.generation, event.sentence)
        entry = self._sentences.get(key)
        if entry is None and text:
            where: dict[str, Any] = {"turn": event.turn, "generation": event.generation, "sentence": event.sentence}
            where["at"] = moment(stored) - _length(event)
            entry = self._sentences[key] = self.say(Speaker.AGENT, text, session, stored, **where)
        if entry is None:
            return
        if event.samples >= entry.heard_samples:
            entry.text, entry.heard_samples, entry.interrupted = text, event.samples, interrupted
        self.touch(entry)
        if turn := self.begun(event.turn, session):
            turn.reply = self._reply(session.id, event.turn)

    def _reply(self, session: str, turn: int) -> str:
        spoken = [entry for key, entry in self._sentences.items() if key[0] == session and entry.turn == turn]
        spoken.sort(key=lambda entry: (entry.generation, entry.sentence))
        return " ".join(entry.text for entry in spoken)

    def claim(self, utterances: Iterable[int], turn: int, session: Session) -> None:
        """What recognition needed and met for these belongs to the turn that they have become."""
        for utterance in utterances:
            for row in self._of_utterances.pop((session.id, utterance), ()):
                row.turn = turn
                if row.pk:
                    self._claimed.append(row)

    def _await_turn(self, row: Usage | Incident) -> None:
        if row.utterance and row.session_id:
            self._of_utterances.setdefault((row.session_id, row.utterance), []).append(row)

    def note(self, kind: Incident.Kind, session: Session, stored: Stored, **values: Any) -> None:
        event = stored.event
        incident = Incident(
            workspace_id=session.workspace_id,
            session=session,
            event_id=stored.id,
            kind=kind,
            turn=getattr(event, "turn", 0),
            utterance=getattr(event, "utterance", 0),
            generation=getattr(event, "generation", 0),
            at=moment(stored),
            **{"role": stored.stage, **values},
        )
        self._incidents.append(incident)
        self._await_turn(incident)

    def charge(self, event: events.Usage, session: Session, stored: Stored) -> None:
        usage = Usage(
            workspace_id=session.workspace_id,
            session=session,
            event_id=stored.id,
            turn=event.turn,
            utterance=event.utterance,
            role=event.role,
            provider=event.provider,
            model=event.model,
            unit=event.unit,
            quantity=event.quantity,
            estimated=event.estimated,
            micros=event.micros,
            price_version=event.price_version,
            at=moment(stored),
        )
        self._usage.append(usage)
        self._await_turn(usage)


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


def _of_utterances(batch: Iterable[Stored]) -> dict[tuple[str, int], list[Usage | Incident]]:
    """What is known of the utterances of turns that end here, and is of no turn yet."""
    wanted: dict[str, set[int]] = {}
    for stored in batch:
        if isinstance(stored.event, events.TurnEnded | events.TurnDiscarded) and stored.event.utterances:
            wanted.setdefault(stored.session, set()).update(stored.event.utterances)
    if not wanted:
        return {}
    where = _any("utterance", wanted)
    found: dict[tuple[str, int], list[Usage | Incident]] = {}
    for row in (*Usage.objects.filter(where, turn=0), *Incident.objects.filter(where, turn=0)):
        found.setdefault((str(row.session_id), row.utterance), []).append(row)
    return found


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


def moment(stored: Stored) -> datetime:
    return datetime.fromtimestamp(stored.at, UTC)
