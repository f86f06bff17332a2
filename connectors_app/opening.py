"""What a session keeps open at its providers. One that cannot be opened or closed holds nobody up."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.pool import unexpected

log = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""That a connection may take to be closed, which nobody waits for but the end of the session."""

C = TypeVar("C", bound=Connector)


class Openable(Protocol):
    async def __aenter__(self) -> object: ...

    async def close(self) -> None: ...


Connection = TypeVar("Connection", bound=Openable)


class Opening(Generic[C, Connection]):
    """Connections by provider, made by `make` when they are needed: one that all share, or as many as are lent."""

    def __init__(self, make: Callable[[C], Connection]) -> None:
        self._make = make
        self._open: dict[C, Connection] = {}
        self._locks: defaultdict[C, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: asyncio.Task[None] | None = None
        self._is_over = False

    def begin(self, connector: C, *, within: float) -> None:
        """Open it meanwhile. Whether that went well finds out who needs it."""
        self._early = asyncio.create_task(self._try(connector, within))

    async def get(self, connector: C) -> Connection:
        """The one that all share."""
        async with self._locks[connector]:
            if connector not in self._open:
                self._open[connector] = await self._made(connector)
            return self._open[connector]

    @asynccontextmanager
    async def lent(self, connector: C) -> AsyncIterator[Connection]:
        """One that nobody else has meanwhile. It is kept for the next one unless something went wrong with it."""
        connection = await self._take(connector)
        try:
            yield connection
        except BaseException:
            self._close_meanwhile(connection)
            raise
        if self._is_over or self._open.setdefault(connector, connection) is not connection:
            self._close_meanwhile(connection)

    async def close(self) -> None:
        self._is_over = True
        if self._early:
            self._early.cancel()
            await asyncio.wait([self._early])
        while self._open:
            self._close_meanwhile(self._open.popitem()[1])
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self, connector: C) -> Connection:
        async with self._locks[connector]:  # it may be opening already
            if connector in self._open:
                return self._open.pop(connector)
        return await self._made(connector)

    async def _made(self, connector: C) -> Connection:
        """It is closed when it cannot be opened, or when nobody waits for it any more."""
        connection = self._make(connector)
        try:
            await connection.__aenter__()
        except BaseException:
            await _close(connection)
            raise
        return connection

    def _close_meanwhile(self, connection: Connection) -> None:
        self._tasks.add(closing := asyncio.create_task(_close(connection)))
        closing.add_done_callback(self._tasks.discard)

    async def _try(self, connector: C, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self.get(connector)
        except (ProviderError, TimeoutError):
            log.info("provider is not there yet", extra={"provider": connector.slug})
        except Exception as error:  # noqa: BLE001  # a fault in a provider's own code
            unexpected(error)


async def _close(connection: Openable) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
    except (ProviderError, TimeoutError):
        log.info("connection could not be closed in time")
    except Exception as error:  # noqa: BLE001  # a fault in a provider's own code
        unexpected(error)
