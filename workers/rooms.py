"""The rooms of sessions at their provider: made, looked into, and deleted for as long as that takes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from connectors_app.base.connector import Sealed
from connectors_app.base.doors import Present, Room, RoomService, RoomWishes
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.pool import Pool

log = logging.getLogger(__name__)

MAKE_SECONDS: Final = 4.0
"""For a room and its token together: who asks by NATS waits five."""
ASK_SECONDS: Final = 3.0
DELETE_SECONDS: Final = 5.0
WAITS: Final = (1.0, 4.0, 16.0, 30.0)
"""Seconds between the tries to delete a room. After the last one it stays, until it expires."""
LONGEST_WAIT: Final = 60.0
FRESH_SECONDS: Final = 5.0
"""How long what was seen in a room is told again, without another look."""

FINAL: Final = {ErrorKind.UNCONFIGURED, ErrorKind.AUTH, ErrorKind.REQUEST}
"""What another try would not change."""
NOTHING_MADE: Final = {ErrorKind.REFUSED, ErrorKind.AUTH, ErrorKind.REQUEST, ErrorKind.RATE_LIMIT, ErrorKind.QUOTA}
"""Failures after which there is no room."""


@dataclass(frozen=True, slots=True)
class RoomKey:
    """What it takes to reach a session's room: whose it is, and with which credentials."""

    session: str
    """The room's name too."""
    provider: str
    sealed: Sealed = field(default_factory=Sealed)


class Rooms:
    """Those that this process opens, and those that it is asked about."""

    def __init__(self, pool: Pool, *, waits: Sequence[float] = WAITS) -> None:
        self._pool = pool
        self._waits = tuple(waits)
        self._deleting: set[asyncio.Task[None]] = set()
        self._seen: dict[str, tuple[float, tuple[Present, ...]]] = {}
        self._looking: dict[str, asyncio.Task[tuple[Present, ...]]] = {}

    async def make(
        self, key: RoomKey, options: Mapping[str, Any], wishes: RoomWishes, *, caller: str
    ) -> tuple[Room, str]:
        """A room and the token that opens it; raises ProviderError and leaves no room behind."""
        room: Room | None = None
        async with self._service(key, options) as service:
            try:
                async with asyncio.timeout(MAKE_SECONDS):
                    room = await service.create_room(key.session, wishes)
                    return room, await service.create_token(key.session, wishes, caller=caller)
            except (TimeoutError, ProviderError) as error:
                failure = error if isinstance(error, ProviderError) else _late(key, MAKE_SECONDS)
                if room or failure.kind not in NOTHING_MADE:
                    self.delete(key, is_sure=room is not None)
                raise failure from None

    async def people(self, key: RoomKey) -> tuple[Present, ...]:
        """Who is there, or was some seconds ago; raises ProviderError."""
        now = time.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen[0] < FRESH_SECONDS}
        if key.session in self._seen:
            return self._seen[key.session][1]
        if key.session not in self._looking:
            self._looking[key.session] = task = asyncio.create_task(self._look(key))
            task.add_done_callback(lambda _: self._looking.pop(key.session, None))
        return await asyncio.shield(self._looking[key.session])

    async def _look(self, key: RoomKey) -> tuple[Present, ...]:
        try:
            async with self._service(key) as service, asyncio.timeout(ASK_SECONDS):
                people = await service.presence(key.session)
        except TimeoutError:
            raise _late(key, ASK_SECONDS) from None
        self._seen[key.session] = time.monotonic(), people
        return people

    # -- deleting -----------------------------------------------------------------------------------------

    def delete(self, key: RoomKey, *, is_sure: bool = True) -> "asyncio.Task[None]":
        """Try until it is gone, or often enough. Not sure that it was made: it may still appear."""
        task = asyncio.create_task(self._delete(key, is_sure))
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)
        return task

    async def _delete(self, key: RoomKey, is_sure: bool) -> None:
        for wait in (*self._waits, None):
            error = await self._try_to_delete(key)
            if error is None and is_sure:
                return
            if error and (error.kind in FINAL or wait is None):
                log.error(
                    "a room could not be deleted; it closes when it expires",
                    extra={"session": key.session, "provider": key.provider, "error": error.message},
                )
                return
            if wait is not None:
                await asyncio.sleep(min(LONGEST_WAIT, max(wait, (error.retry_after if error else None) or 0)))

    async def _try_to_delete(self, key: RoomKey) -> ProviderError | None:
        try:
            async with self._service(key) as service, asyncio.timeout(DELETE_SECONDS):
                await service.delete_room(key.session)
        except TimeoutError:
            return _late(key, DELETE_SECONDS)
        except ProviderError as error:
            return error
        return None

    async def close(self, *, within: float) -> None:
        """Rooms that are still there then close when they expire."""
        if self._deleting:
            await asyncio.wait(self._deleting, timeout=within)
        for task in (rest := [*self._deleting, *self._looking.values()]):
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._pool.close()

    @asynccontextmanager
    async def _service(self, key: RoomKey, options: Mapping[str, Any] | None = None) -> AsyncIterator[RoomService]:
        """Raises ProviderError, where it cannot be used."""
        chain = self._pool.rooms(key.provider, {key.provider: options or {}}, key.sealed)
        try:
            if not chain.connectors:
                raise chain.skipped[0].error
            yield chain.connectors[0]
        finally:
            await chain.close()


def _late(key: RoomKey, seconds: float) -> ProviderError:
    return ProviderError(ErrorKind.TIMEOUT, f"{key.provider} did not answer within {seconds:g} s")
