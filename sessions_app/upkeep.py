"""Ends sessions whose transport is gone or whose caller never came, and lets the stream forget those that are over.

Nothing is decided while rows lag behind the stream: a session that looks abandoned may have ended properly.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import msgspec
from django.utils import timezone

from mesh import events
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from mesh.roster import Beat
from mesh.sessions import Record, SessionStore
from mesh.store import ConfigStorage, StoreUnavailable, Valkey
from mesh.subjects import Stage
from sessions_app.actions import ROOMS, end_in_place_of_its_transport, note_end
from sessions_app.attendance import Attendance
from sessions_app.database import DatabaseAway, DatabaseThread
from sessions_app.models import Session, State

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
PURGE_AT_ONCE = 100
JOIN_GRACE = timedelta(seconds=5)
"""Who comes in the last moment is not live at once."""
PHONE_GRACE = timedelta(seconds=60)
"""A repeated phone webhook draws another token, which lives as long as the first one."""
PHONE = "twilio"


@dataclass(frozen=True, slots=True)
class Open:
    """What upkeep must know of a session that is not over."""

    id: str
    state: str
    owner: str
    epoch: int
    live_at: datetime | None


class Upkeep:
    def __init__(
        self,
        *,
        name: str,
        bus: Bus,
        database: DatabaseThread,
        caught_up: Callable[[], Awaitable[bool]],
        valkey_url: str,
        silence: float,
        keep: float,
    ) -> None:
        self._name = name
        self._bus = bus
        self._database = database
        self._caught_up = caught_up
        self._valkey = Valkey(valkey_url)
        self._configs = ConfigStorage(self._valkey)
        self._records = SessionStore(self._valkey)
        self._closed: dict[str, str] = {}
        """Sessions without a caller that nobody could join at the last look, and the reasons of their ends."""
        self._attendance = Attendance(silence, time.monotonic())
        self._keep = timedelta(seconds=keep)
        self.ended: Counter[str] = Counter()
        self.purged = 0

    def hear(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """A transport's heartbeat."""
        try:
            beat = msgspec.json.decode(payload, type=Beat)
        except msgspec.MsgspecError as error:
            log.warning("unreadable heartbeat", extra={"error": str(error)})
        else:
            self._attendance.hear(beat.id, time.monotonic())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._valkey.close()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Do what is due; what is away now is asked again the next time."""
        self._attendance.look(time.monotonic(), is_connected=self._bus.is_connected)
        try:
            if self._suspects(await self._database.run(_open_sessions)) and await self._caught_up():
                await self._end_lost()
            await self._purge()
            await self._end_never_connected()
        except (BusError, DatabaseAway, StoreUnavailable, TimeoutError) as error:
            log.info("upkeep waits", extra={"error": str(error)})

    # -- ends ---------------------------------------------------------------------------------------------

    def _suspects(self, sessions: list[Open]) -> list[Open]:
        """Calls whose transport is silent. A session that still waits for its caller can be taken by any transport."""
        return [session for session in sessions if session.state != State.CREATED and self.is_gone(session.owner)]

    async def _end_lost(self) -> None:
        for session in self._suspects(await self._database.run(_open_sessions)):
            owner = await self._owner(session)
            if self.is_gone(owner):
                await self._end(session, "transport_lost", failed=True, media_ms=self._media_ms(session, owner))

    def is_gone(self, owner: str) -> bool:
        """Whether that transport has been silent for too long."""
        return self._attendance.is_gone(owner, time.monotonic())

    async def _owner(self, session: Open) -> str:
        """As the stream says: rows may miss a session's first fence, which comes before the session."""
        fence = await self._bus.last_fence(session.id, Stage.SESSION)
        return fence.event.owner if fence and isinstance(fence.event, events.Fence) else session.owner

    def _media_ms(self, session: Open, owner: str) -> int:
        """How long the call was, up to the transport's last sign of life."""
        if session.live_at is None:
            return 0
        silence = self._attendance.silence(owner, time.monotonic())
        return max(0, int(((timezone.now() - session.live_at).total_seconds() - silence) * 1000))

    async def _end_never_connected(self) -> None:
        """Nobody can connect when the token has expired, or the configuration with its time to live.

        So at two looks in a row: a transport that ends a session deletes its configuration too.
        """
        closed, before = await self._closed_to_callers(), self._closed
        self._closed = closed
        due = closed.keys() & before.keys()
        if not due or not await self._caught_up():
            return
        for session in await self._database.run(_open_sessions):
            if session.state == State.CREATED and session.id in due:
                await self._end(session, closed[session.id])

    async def _closed_to_callers(self) -> dict[str, str]:
        """With the reasons of their ends."""
        waiting = {session.id for session in await self._database.run(_open_sessions) if session.state == State.CREATED}
        if not waiting:
            return {}
        records, configs = await self._records.list(), set(await self._configs.list_configs())
        closed = {session for session in waiting if session not in configs or _is_too_late(records.get(session))}
        return {session: _reason(records.get(session)) for session in closed}

    async def _end(self, session: Open, reason: str, *, failed: bool = False, media_ms: int = 0) -> None:
        if await end_in_place_of_its_transport(
            bus=self._bus,
            session=session.id,
            by=self._name,
            epoch=session.epoch,
            reason=reason,
            failed=failed,
            media_ms=media_ms,
        ):
            self.ended[reason] += 1
            log.warning("session ended for its transport", extra={"session": session.id, "reason": reason})
            await note_end(self._records, session.id, reason, State.FAILED if failed else State.ENDED)

    # -- purge --------------------------------------------------------------------------------------------

    async def _purge(self) -> None:
        sessions = await self._database.run(_sessions_to_purge, timezone.now() - self._keep)
        if not sessions or not await self._caught_up():
            return
        for session in sessions:
            await self._bus.purge_session(session)
        await self._database.run(_note_purged, sessions)
        self.purged += len(sessions)


def _is_too_late(record: Record | None) -> bool:
    if record is None or "join_by" not in record:
        return False
    grace = PHONE_GRACE if record.get("transport") == PHONE else JOIN_GRACE
    return timezone.now() > datetime.fromisoformat(record["join_by"]) + grace


def _reason(record: Record | None) -> str:
    """People were invited to a room, and it has closed by itself; nobody has to have stayed away."""
    return "time_limit" if record and record.get("transport") == ROOMS else "never_connected"


def _open_sessions() -> list[Open]:
    columns = ("id", "state", "owner", "epoch", "live_at")
    return [Open(*values) for values in Session.objects.open().order_by().values_list(*columns)]


def _sessions_to_purge(ended_before: datetime) -> list[str]:
    due = Session.objects.to_purge(ended_before=ended_before).order_by("ended_at")
    return list(due.values_list("id", flat=True)[:PURGE_AT_ONCE])


def _note_purged(sessions: list[str]) -> None:
    Session.objects.filter(id__in=sessions).update(purged_at=timezone.now())
