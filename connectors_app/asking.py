"""What asking any provider for a stream has in common: deadlines, held by our own clock."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar, cast

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.pool import unexpected

CLOSING_SECONDS = 0.05
"""How long a provider that is left may take to close before somebody else is asked; it closes on meanwhile."""
AFTERMATH_SECONDS = 1.0
"""How long anything may go on that nobody waits for."""
C = TypeVar("C", bound=Connector)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a provider has before the next one is asked."""

    first_token: float = 1.5
    first_audio: float = 1.0
    transcript: float = 3.0
    stall: float = 2.0
    """Between two pieces of a stream that has begun, and for taking a piece of the caller's audio."""
    sentence: float = 3.0
    """For each 45 characters of a reply that has begun, while another model could be asked: speech is as fast."""
    silence: float = 3.0
    """Without a word from a recogniser that tells as it hears, while the caller speaks."""
    beside: float = 1.0
    """That a recogniser may be late with a sign of life or a transcript before the next one is asked beside it; from
    `transcript` on: never.
    """

    @property
    def asks_beside(self) -> bool:
        return self.beside < self.transcript


class Limit:
    """Calls `on_late` when it was not set anew or turned off within its time. Made to be set often."""

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._loop = asyncio.get_running_loop()
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        """Moved only when it has run out, or would come too late."""

    def within(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer()

    def off(self) -> None:
        self._due = inf

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._due:
            self._due = inf
            self._on_late()
        elif self._due < inf:
            self._set_timer()


class TooSlow(ProviderError):
    """It goes on, but slower than it is needed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`what` comes within `first` seconds, and each next piece within `stall`."""

    what: str
    first: float
    stall: float

    def behind(self) -> ProviderError:
        return TooSlow(ErrorKind.TIMEOUT, f"came too slowly: {self.stall:g} s behind")

    def late(self, begun: bool) -> ProviderError:
        if begun:
            return ProviderError(ErrorKind.TIMEOUT, f"stopped in the middle for {self.stall:g} s")
        return ProviderError(ErrorKind.TIMEOUT, f"no {self.what} within {self.first:g} s")


class Turns(Generic[C]):
    """Whose turn it is: each once, and those that broke off in the middle once more when nobody else is left."""

    def __init__(self, order: Sequence[C]) -> None:
        self._waiting = deque(order)
        self._again: set[C] = set()

    def __iter__(self) -> Iterator[C]:
        while self._waiting:
            yield self._waiting.popleft()

    @property
    def is_last(self) -> bool:
        """Nobody would be asked after this one who has not failed."""
        return self._again.issuperset(self._waiting)

    def again(self, connector: C) -> None:
        if connector not in self._again:
            self._again.add(connector)
            self._waiting.append(connector)


@dataclass(frozen=True, slots=True)
class _End:
    """In place of an item: there are no more."""

    error: ProviderError | None


_readings: set[asyncio.Task[None]] = set()
"""Kept here, or the loop would forget those that nobody waits for."""


async def in_time(
    items: AsyncIterator[Item],
    pace: Pace,
    worth: Callable[[Item], float] | None = None,
    is_end: Callable[[Item], bool] = lambda item: False,
) -> AsyncGenerator[Item, None]:
    """The items, each in its time. Raises ProviderError and no other; closing it closes what it reads.

    `worth`: for how many seconds an item lasts its listener. A stream that trickles falls behind him, and is then as
    late as one that stands still. `is_end` knows the last item: what follows is read without anybody waiting for it,
    since only a connection that was read to its end serves another time.

    The items are read by a task, so that no provider holds anybody up by closing slowly.
    """
    read: asyncio.Queue[Item | _End] = asyncio.Queue(1)
    reading = asyncio.create_task(_read(items, read, is_end))
    _readings.add(reading)
    reading.add_done_callback(_readings.discard)
    begun = is_over = False
    ahead = pace.stall
    try:
        while not is_over:
            asked = time.monotonic()
            try:
                async with asyncio.timeout(min(pace.stall, ahead) if begun else pace.first):
                    item = await read.get()
            except TimeoutError:
                raise pace.behind() if ahead < pace.stall else pace.late(begun) from None
            if isinstance(item, _End):
                if item.error:
                    raise item.error
                return
            if worth:
                waited = time.monotonic() - asked if begun else 0.0
                ahead = max(0.0, ahead - waited) + worth(item)
            begun, is_over = True, is_end(item)
            yield item
    finally:
        await _leave(reading, at_once=not is_over)


async def _read(items: AsyncIterator[Item], into: "asyncio.Queue[Item | _End]", is_end: Callable[[Item], bool]) -> None:
    error: ProviderError | None = None
    try:
        async with aclosing(cast(AsyncGenerator[Item, None], items)) as source:
            async for item in source:
                await into.put(item)
                if is_end(item):
                    break
            async for _ in source:
                pass  # what comes after the end
    except ProviderError as failure:
        error = failure
    except Exception as failure:  # noqa: BLE001
        error = unexpected(failure)
    task = asyncio.current_task()
    if task and not task.cancelling():  # else nobody waits for it
        await into.put(_End(error))


async def _leave(reading: asyncio.Task[None], *, at_once: bool) -> None:
    """Nobody waits for long: what reads or closes for too long is told to stop, once more if it was told before."""
    if reading.done():
        return
    asyncio.get_running_loop().call_later(AFTERMATH_SECONDS, reading.cancel)
    if at_once:
        reading.cancel()
        await asyncio.wait([reading], timeout=CLOSING_SECONDS)
