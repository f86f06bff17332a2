"""What a session keeps open at its providers. One that cannot be opened or closed holds nobody up."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.base.recognizer import Recognition
from connectors_app.base.voice import Speech
from connectors_app.pool import unexpected

log = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""That a connection may take to be closed, which nobody waits for but the end of the session."""

C = TypeVar("C", bound=Connector)
Connection = TypeVar("Connection", bound=Speech | Recognition)


class Opening(Generic[C, Connection]):
    """One connection for each provider that was needed, made by `make`."""

    def __init__(self, make: Callable[[C], Connection]) -> None:
        self._make = make
        self._open: dict[C, Connection] = {}
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: asyncio.Task[None] | None = None

    def begin(self, connector: C, *, within: float) -> None:
        """Open it meanwhile. Whether that went well finds out who needs it."""
        self._early = asyncio.create_task(self._try(connector, within))

    async def get(self, connector: C) -> Connection:
        async with self._lock:
            if connector not in self._open:
                connection = self._make(connector)
                await _enter(connection)
                self._open[connector] = connection
            return self._open[connector]

    def leave(self, connector: C) -> None:
        if connector in self._open:
            self._tasks.add(closing := asyncio.create_task(_close(self._open.pop(connector))))
            closing.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        if self._early:
            self._early.cancel()
            await asyncio.wait([self._early])
        for connector in list(self._open):
            self.leave(connector)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _try(self, connector: C, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self.get(connector)
        except (ProviderError, TimeoutError):
            log.info("provider is not there yet", extra={"provider": connector.slug})
        except Exception as error:  # noqa: BLE001  # a fault in a provider's own code
            unexpected(error)


async def _enter(connection: Speech | Recognition) -> None:
    """It is closed when it cannot be opened, or when nobody waits for it any more."""
    try:
        await connection.__aenter__()
    except BaseException:
        await _close(connection)
        raise


async def _close(connection: Speech | Recognition) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
    except (ProviderError, TimeoutError):
        log.info("connection could not be closed in time")
    except Exception as error:  # noqa: BLE001  # a fault in a provider's own code
        unexpected(error)
