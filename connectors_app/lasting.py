"""A session's WebSocket to a server that lets no socket live for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.line import Line, Socket


class LastingLine:
    """A Line that is changed for a fresh one between two utterances, before the server ends its socket.

    The fresh one opens while nobody waits for it, and what becomes of the old one is not told.
    """

    def __init__(
        self,
        by: Connector,
        dial: Callable[[], Awaitable[Socket]],
        *,
        lifetime: float,
        on_message: Callable[[bytes], None],
        on_end: Callable[[ProviderError], None],
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._by = by
        self._dial = dial
        self._lifetime = lifetime
        self._on_message = on_message
        self._on_end = on_end
        self._on_open = on_open
        self._opened = inf
        self._leaving: set[asyncio.Task[None]] = set()
        self._line = self._new()

    def open(self) -> None:
        self._line.open()

    async def send(self, message: str | bytes) -> None:
        """Raises ProviderError when the socket cannot be opened or has broken."""
        await self._line.send(message)

    def rest(self) -> None:
        """An utterance is over: now a socket that is old may go."""
        if time.monotonic() - self._opened > self._lifetime:
            self.renew()

    def renew(self) -> None:
        old, self._line = self._line, self._new()
        self._line.open()
        self._leaving.add(leaving := asyncio.create_task(old.close()))
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        await asyncio.gather(self._line.close(), *self._leaving)

    def _new(self) -> Line:
        self._opened = inf
        line = Line(
            self._by,
            self._dial,
            on_message=lambda message: self._on_message(message) if line is self._line else None,
            on_end=lambda error: self._on_end(error) if line is self._line else None,
            on_open=self._note,
        )
        return line

    def _note(self) -> None:
        self._opened = time.monotonic()
        self._on_open()
