"""Who is there to work: the workers as their heartbeats tell. Pure; times are a monotonic clock's seconds."""

from collections.abc import Iterable

import msgspec

BEAT = 0.25
"""Seconds between heartbeats."""
LEASE = 1.0
"""Seconds without a heartbeat after which a worker's sessions are given to others."""


class Beat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of itself, from the event loop that does its work."""

    id: str
    role: str
    sessions: int = 0
    load: float = 0.0
    """Share of a core that its process used lately, 0…1 and more."""
    providers: tuple[str, ...] = ()
    """Those of its role that have their keys."""
    draining: bool = False
    address: str = ""
    """Where its /health, /ready and /metrics are."""


class Roster:
    def __init__(self) -> None:
        self._beats: dict[str, Beat] = {}
        self._seen: dict[str, float] = {}
        self._given: dict[str, int] = {}
        """Sessions handed out since the worker's last heartbeat."""

    def hear(self, beat: Beat, now: float) -> None:
        self._beats[beat.id] = beat
        self._seen[beat.id] = now
        self._given[beat.id] = 0

    def gone(self, worker: str) -> None:
        for table in (self._beats, self._seen, self._given):
            table.pop(worker, None)

    def lost(self, now: float) -> list[str]:
        """Forget the workers whose lease is over, and name them."""
        late = [worker for worker, seen in self._seen.items() if now - seen > LEASE]
        for worker in late:
            self.gone(worker)
        return late

    def is_there(self, worker: str) -> bool:
        return worker in self._beats

    def workers(self, role: str) -> list[Beat]:
        return [beat for beat in self._beats.values() if beat.role == role]

    def pick(self, role: str, *, exclude: Iterable[str] = ()) -> str | None:
        """The worker with the fewest sessions among those that take any; load tells equals apart."""
        shut = set(exclude)
        open_ = [beat for beat in self.workers(role) if not beat.draining and beat.id not in shut]
        if not open_:
            return None
        best = min(open_, key=lambda beat: (beat.sessions + self._given[beat.id], beat.load))
        self._given[best.id] += 1
        return best.id

    def has_another(self, role: str) -> bool:
        """Whether a worker is there that takes sessions, beside those that are leaving."""
        return any(not beat.draining for beat in self.workers(role))

    def providers(self, role: str) -> frozenset[str]:
        return frozenset(name for beat in self.workers(role) for name in beat.providers)
