"""What the live page of a session shows, as pieces of HTML: all of it at first, later what is new or changed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from accounts_app.models import User
from sessions_app.models import Incident, Session, TranscriptEntry, Turn, Usage
from sessions_app.scene import Scene
from sessions_app.waterfall import bars, response_ms
from sessions_app.wording import tell_clock

MAY_CHANGE = 30
"""So many of the latest entries are looked at again each time: a sentence goes on while it is spoken."""
TURNS_MAY_CHANGE = 3
"""Usage and times of a turn come after its words."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A list item; its place in the list is by `order`."""

    id: str
    order: tuple[Any, ...]
    template: str
    context: dict[str, Any]
    html: SafeString

    @classmethod
    def make(cls, id: str, order: tuple[Any, ...], template: str, **context: Any) -> "Piece":
        return cls(id, order, template, context, render_to_string(template, context))

    @property
    def replacement(self) -> SafeString:
        """As it takes the place of the item that the page has."""
        return render_to_string(self.template, self.context | {"again": True})


@dataclass(frozen=True, slots=True)
class Part:
    """The latest items of a list, as they are shown: the page has those before them too."""

    looks: dict[str, SafeString] = field(default_factory=dict)
    last: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """Of a list: `swap` says where the new items go; nowhere when it is empty."""

    swap: str = ""
    new: Sequence[Piece] = ()
    changed: Sequence[Piece] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What somebody's page has."""

    sequence: int
    is_over: bool
    said: Part
    turns: Part
    state: str


@dataclass(frozen=True, slots=True)
class News:
    html: str
    page: Page
    session: Session


def session_for(user: User, session_id: str) -> Session | None:
    sessions = Session.objects.for_user(user).select_related("agent_version__agent", "workspace")
    return sessions.filter(id=session_id).first()


def said_in(session: Session) -> list[Piece]:
    """The whole transcript, with failures at their place in it."""
    return _in_order(session.transcript.all(), session.incidents.all())


def turns_of(session: Session, since: int = 0) -> list[Piece]:
    turns = list(session.turns.filter(number__gte=since).order_by("number"))
    used: dict[int, list[Usage]] = {}
    for usage in session.usage.filter(turn__gte=since):
        used.setdefault(usage.turn, []).append(usage)
    return [_turn_piece(turn, used.get(turn.number, [])) for turn in turns]


def fingerprint(*lists: Iterable[Piece]) -> str:
    """The same for the same items with the same looks."""
    looks = [[(piece.id, str(piece.html)) for piece in pieces] for pieces in lists]
    return hashlib.sha256(repr(looks).encode()).hexdigest()[:16]


def render_page(user: User, session_id: str, shown: str) -> News | None:
    """All of the session; its lists only when the page does not show just those. None when it is not theirs."""
    session = session_for(user, session_id)
    if session is None:
        return None
    said, turns = said_in(session), turns_of(session)
    if shown == fingerprint(said, turns):
        changes = Changes(), Changes()
    else:
        changes = Changes("innerHTML", said), Changes("innerHTML", turns)
    return _news(session, _part(said), _part(turns), *changes)


def render_news(user: User, session_id: str, page: Page) -> News | None:
    """The session's state, and items that the page does not have or that look different; None when it is not theirs."""
    session = session_for(user, session_id)
    if session is None:
        return None
    said, said_changes = _changes(_latest_said(session, page.said), page.said)
    if said_changes.swap == "innerHTML":
        said_changes = Changes("innerHTML", said_in(session))
    since = page.turns.last[0] - TURNS_MAY_CHANGE if page.turns.last else 0
    turns, turn_changes = _changes(turns_of(session, max(since, 0)), page.turns)
    return _news(session, said, turns, said_changes, turn_changes, shown=page.state)


def render_scene(scene: Scene, session: Session) -> str:
    return render_to_string("sessions_app/_scene.html", {"scene": scene, "session": session, "live": True})


def _news(
    session: Session, said: Part, turns: Part, said_changes: Changes, turn_changes: Changes, *, shown: str = ""
) -> News:
    state = render_to_string("sessions_app/_state.html", {"session": session, "live": True})
    context = {"state": "" if state == shown else state, "lists": [("said", said_changes), ("turns", turn_changes)]}
    html = render_to_string("sessions_app/_news.html", context).strip()
    return News(html, Page(session.last_sequence, session.is_over, said, turns, state), session)


def _latest_said(session: Session, part: Part) -> list[Piece]:
    """Those that may look different, and the new ones."""
    entries, incidents = session.transcript.all(), session.incidents.all()
    return _in_order(entries.filter(id__gte=_least(part, "entry")), incidents.filter(id__gte=_least(part, "incident")))


def _least(part: Part, kind: str) -> int:
    ids = [int(name.partition("-")[2]) for name in part.looks if name.startswith(kind)]
    return min(ids, default=0)


def _part(pieces: Sequence[Piece]) -> Part:
    kept = _kept(pieces)
    return Part({piece.id: piece.html for piece in kept}, pieces[-1].order if pieces else ())


def _kept(pieces: Sequence[Piece]) -> list[Piece]:
    """The latest rows of each kind, so that each is found again. Their order on the page is another one."""
    kept: list[Piece] = []
    for kind in {piece.id.partition("-")[0] for piece in pieces}:
        kept += sorted((piece for piece in pieces if piece.id.startswith(kind)), key=_number)[-MAY_CHANGE:]
    return sorted(kept, key=lambda piece: piece.order)


def _number(piece: Piece) -> int:
    return int(piece.id.partition("-")[2])


def _changes(pieces: Sequence[Piece], part: Part) -> tuple[Part, Changes]:
    """What the page has then, and how it comes there. A new item that belongs before the last one: all anew."""
    new = [piece for piece in pieces if piece.id not in part.looks]
    changed = [piece for piece in pieces if piece.id in part.looks and part.looks[piece.id] != piece.html]
    last = max([part.last, *(piece.order for piece in pieces)])
    swap = "" if not new else "beforeend" if new[0].order > part.last else "innerHTML"
    kept = {piece.id: piece.html for piece in _kept(pieces)}
    return Part(kept, last), Changes(swap, new, changed)


def _in_order(entries: Iterable[TranscriptEntry], incidents: Iterable[Incident]) -> list[Piece]:
    pieces = [_entry_piece(entry) for entry in entries] + [_incident_piece(incident) for incident in incidents]
    return sorted(pieces, key=lambda piece: piece.order)


def _entry_piece(entry: TranscriptEntry) -> Piece:
    return Piece.make(f"entry-{entry.pk}", (entry.at, 0, entry.pk), "sessions_app/_entry.html", entry=entry)


def _incident_piece(incident: Incident) -> Piece:
    order = (incident.at, 1, incident.pk)
    return Piece.make(f"incident-{incident.pk}", order, "sessions_app/_incident.html", incident=incident)


def _turn_piece(turn: Turn, usage: Sequence[Usage]) -> Piece:
    response = response_ms(turn.waterfall)
    context = {"turn": turn, "bars": bars(turn.waterfall), "response": response, "clock": tell_clock(turn)}
    return Piece.make(f"turn-{turn.number}", (turn.number,), "sessions_app/_turn.html", used=_used(usage), **context)


def _used(usage: Sequence[Usage]) -> list[str]:
    """What each provider was asked for: all its attempts together."""
    sums: dict[str, dict[str, int]] = {}
    for use in usage:
        units = sums.setdefault(f"{use.role}: {use.provider} {use.model}".strip(), {})
        unit = f"{use.unit.replace('_', ' ')}{' (about)' if use.estimated else ''}"
        units[unit] = units.get(unit, 0) + use.quantity
    return [f"{who}, {', '.join(f'{count} {unit}' for unit, count in units.items())}" for who, units in sums.items()]
