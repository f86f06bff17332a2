"""What asking any provider for a stream has in common: deadlines, held by our own clock."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from connectors_app.base import Connector, ErrorKind, ProviderError
from connectors_app.pool import unexpected

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
    """For a sentence of a reply that has begun, while another model could be asked."""
    silence: float = 3.0
    """Without a word from a recogniser that tells as it hears, while the caller speaks."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`what` comes within `first` seconds, and each next piece within `stall`."""

    what: str
    first: float
    stall: float

    def behind(self) -> ProviderError:
        return ProviderError(ErrorKind.TIMEOUT, f"came too slowly: {self.stall:g} s behind")

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
        """Nobody would be asked after this one."""
        return not self._waiting

    def again(self, connector: C) -> None:
        if connector not in self._again:
            self._again.add(connector)
            self._waiting.append(connector)


async def in_time(
    items: AsyncIterator[Item], pace: Pace, worth: Callable[[Item], float] | None = None
) -> AsyncGenerator[Item, None]:
    """The items, each in its time. Raises ProviderError and no other; closing it closes what it reads.

    `worth`: for how many seconds an item lasts its listener. A stream that trickles falls behind him, and is then as
    late as one that stands still.
    """
    begun = False
    ahead = pace.stall
    async with aclosing(cast(AsyncGenerator[Item, None], items)) as source:
        while True:
            asked = time.monotonic()
            try:
                async with asyncio.timeout(pace.stall if begun else pace.first):
                    item = await anext(source)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise pace.late(begun) from None
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001
                raise unexpected(error) from error
            if worth:
                ahead += worth(item) - (time.monotonic() - asked if begun else 0.0)
                if ahead < 0:
                    raise pace.behind()
            begun = True
            yield item
