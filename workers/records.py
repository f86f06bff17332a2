"""The records of a transport's sessions in Valkey: what changes in them waits for a Valkey that is away."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from mesh.sessions import Record, SessionStore
from mesh.store import ConfigStorage, StoreUnavailable

log = logging.getLogger(__name__)

WRITE_AGAIN = 1.0
"""Seconds until a change that Valkey did not take is offered again."""
WRITE_WITHIN = 3.0
"""Seconds after which a write that hangs holds up the others no longer."""


class Records:
    """Those of live calls are remembered, for a Valkey that forgets them, until the end of the call is written."""

    def __init__(self, sessions: SessionStore, configs: ConfigStorage, ttl: int) -> None:
        self._sessions = sessions
        self._configs = configs
        self._ttl = ttl
        self._live: set[str] = set()
        self._seen: dict[str, Record] = {}
        """By session of a call, or with changes that wait: its record as it was last known."""
        self._unwritten: dict[str, Record] = {}
        """By session: changes of its record that wait for Valkey."""
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def remember(self, session: str) -> None:
        """From here on, while its call lasts."""
        self._live.add(session)

    def forget(self, session: str) -> None:
        """Its call is over; what waits to be written still needs the record."""
        self._live.discard(session)
        if session not in self._unwritten:
            self._seen.pop(session, None)

    def hand_over(self, session: str) -> None:
        """Its call goes on elsewhere: what waits here is older than what is written there."""
        self._unwritten.pop(session, None)
        self.forget(session)

    async def note(self, session: str, **changes: Any) -> None:
        """While Valkey is away the changes wait, and the call does not. Without changes, write it anew."""
        if changes:
            changes["updated_at"] = datetime.now(UTC).isoformat()
        self._unwritten[session] = self._unwritten.get(session, {}) | changes  # kept, whatever interrupts the writing
        async with self._writing.setdefault(session, asyncio.Lock()):
            waiting = self._unwritten.get(session)
            if waiting is None:
                return  # somebody else has written it
            try:
                await self._write(session, waiting)
            except StoreUnavailable as error:
                log.warning("session record waits for Valkey", extra={"session": session, "error": str(error)})
            else:
                self._written(session, waiting)

    def _written(self, session: str, changes: Record) -> None:
        if self._unwritten.get(session) is changes:  # nothing was added meanwhile
            del self._unwritten[session]
        if session not in self._live:
            self.forget(session)

    async def _write(self, session: str, changes: Record) -> None:
        record = await self._sessions.get(session) or self._seen.get(session)
        if record is not None:
            self._seen[session] = record = record | changes
            await self._sessions.put(session, record, self._ttl)
        await self._configs.extend_config_ttl(session, self._ttl)

    async def extend(self, session: str) -> None:
        """It stays in Valkey, and comes back to one that has lost it; raises StoreUnavailable."""
        if not await self._sessions.extend(session, self._ttl):
            await self.note(session)

    async def keep_writing(self) -> None:
        """As long as the process runs."""
        while True:
            await asyncio.sleep(WRITE_AGAIN)
            for session in list(self._unwritten):
                with suppress(TimeoutError):
                    async with asyncio.timeout(WRITE_WITHIN):
                        await self.note(session)
                if session in self._unwritten:
                    break  # still away: the others wait too

    async def write_rest(self) -> None:
        """Once more, before nobody is left to try."""
        for session in list(self._unwritten):
            await self.note(session)
