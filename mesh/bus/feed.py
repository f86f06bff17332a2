"""Stored events as they come: a session's without gaps, or all sessions' in batches."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

from nats.aio.client import Client

from mesh import subjects
from mesh.bus.counters import Counters
from mesh.bus.errors import Unreachable
from mesh.bus.event_log import EventLog, read_stored
from mesh.bus.messages import Subscription, subscribe
from mesh.events import Stored


class Feeds:
    """The open feeds of a process."""

    def __init__(self, client: Client, log: EventLog, counters: Counters) -> None:
        self.client = client
        self.log = log
        self.counters = counters
        self._open: set[Feed] = set()

    async def open(self, session: str, receive: Callable[[Stored], None], after: int) -> "Feed":
        feed = Feed(self, session, receive, after)
        self._open.add(feed)
        try:
            await feed.open()
        except BaseException:  # a cancellation too: nobody else could close it
            await feed.close()
            raise
        return feed

    def discard(self, feed: "Feed") -> None:
        self._open.discard(feed)

    def catch_up(self) -> None:
        for feed in list(self._open):
            feed.catch_up()


class Feed:
    """A session's canonical events, live and without gaps: each subject's in order, each event once.

    Across subjects the order is the stream's, except right after a gap.
    """

    def __init__(self, feeds: Feeds, session: str, receive: Callable[[Stored], None], after: int) -> None:
        self._feeds = feeds
        self._session = session
        self._receive = receive
        self._complete_to = after
        self._seen: dict[str, int] = {}
        self._held: list[tuple[Stored, int]] | None = []
        """Live events that wait while the stream is read; None when nothing is being read."""
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises Unreachable when the history cannot be read."""
        self._subscription = await subscribe(self._feeds.client, subjects.live(f"*.*.{self._session}"), self._arrive)
        await self._read()

    async def close(self) -> None:
        self._feeds.discard(self)
        if self._task:
            self._task.cancel()
        if self._subscription:
            await self._subscription.close()

    def catch_up(self) -> None:
        """Read from the stream what may have been missed."""
        if self._held is None:
            self._held = []
            self._task = asyncio.create_task(self._read_until_answered())

    def _arrive(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        stored = read_stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), payload)
        if stored.session == self._session:  # a session named like a stage also matches others' fences
            self._take(stored, int(headers["Nats-Last-Sequence"]))

    def _take(self, stored: Stored, previous: int) -> None:
        """A live event, and the sequence of the one before it on its subject."""
        if self._held is None and previous > self._last_seen(stored.subject):
            self._feeds.counters.gaps += 1
            self.catch_up()
        if self._held is None:
            self._deliver(stored)
        else:
            self._held.append((stored, previous))

    def _last_seen(self, subject: str) -> int:
        return max(self._seen.get(subject, 0), self._complete_to)

    def _deliver(self, stored: Stored) -> None:
        if stored.sequence > self._last_seen(stored.subject):
            self._seen[stored.subject] = stored.sequence
            self._receive(stored)

    async def _read_until_answered(self) -> None:
        while True:
            try:
                await self._read()
                return
            except Unreachable:
                await asyncio.sleep(0.1)

    async def _read(self) -> None:
        complete_to = self._complete_to
        while batch := await self._feeds.log.read(after=complete_to, subject=f"*.*.{self._session}"):
            for stored in batch:
                if stored.session == self._session:
                    self._deliver(stored)
            complete_to = batch[-1].sequence
        self._complete_to = complete_to
        held, self._held = self._held or [], None
        for stored, previous in held:
            self._take(stored, previous)


async def follow(
    client: Client, log: EventLog, *, after: int, max_events: int, gather: float
) -> AsyncGenerator[list[Stored], None]:
    """All sessions' events past `after` in batches, for ever; waits out every outage."""
    stirred = asyncio.Event()
    subscription = await subscribe(client, "live.>", lambda *_: stirred.set())
    try:
        while True:
            stirred.clear()
            try:
                batch = await log.read(after=after, limit=max_events)
            except Unreachable:
                batch = []
            if batch:
                after = batch[-1].sequence
                yield batch
                continue
            with contextlib.suppress(asyncio.TimeoutError):
                async with asyncio.timeout(1):
                    await stirred.wait()
            await asyncio.sleep(gather)
    finally:
        await subscription.close()
