"""The one door to NATS: canonical events with fenced writers and gapless feeds, media, requests.

nats-py's defaults are not fit for real time, so the connection is set here: a frozen server is noticed within three
seconds, reconnects never end, and nothing stale is flushed after one. What must arrive is appended to the stream and
retried under the same id until it is acknowledged; everything else may be lost and says so in a counter.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from mesh import subjects
from mesh.bus import feed, messages, writer
from mesh.bus.counters import Counters
from mesh.bus.errors import Unreachable
from mesh.bus.event_log import EventLog
from mesh.bus.feed import Feed, Feeds
from mesh.bus.messages import PENDING_MESSAGES, Receiver, Subscription
from mesh.bus.outbox import Outbox
from mesh.bus.streams import ServerState, Streams
from mesh.bus.writer import Writer
from mesh.cancelling import cancellable
from mesh.events import Stored
from mesh.subjects import Stage

log = logging.getLogger(__name__)

Handler = Callable[[bytes], Awaitable[bytes]]

CONNECT_TIMEOUT = 2.0


class Bus:
    """One connection to NATS, shared by everything in a process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.counters = Counters()
        self._streams = Streams(client)
        self._outbox = Outbox(client, self.counters)
        self._log = EventLog(client)
        self._feeds = Feeds(client, self._log, self.counters)
        self._reconciling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._media_seconds: float | None = None

    # -- connection ---------------------------------------------------------------------------------------

    @classmethod
    async def connect(cls, url: str, name: str = "") -> Self:
        """Raises Unreachable when no server answers within two seconds."""
        client = Client()
        bus = cls(client)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):  # reconnecting without end includes the first time
                await client.connect(
                    servers=url.split(","),
                    name=name,
                    connect_timeout=1,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.1,  # type: ignore[arg-type]  # a float works; the annotation says int
                    ping_interval=1,
                    max_outstanding_pings=2,
                    disconnected_cb=bus._disconnected,
                    reconnected_cb=bus._reconnected,
                    error_cb=bus._failed,
                )
        except (TimeoutError, OSError, NatsError) as error:
            with contextlib.suppress(NatsError, OSError):
                await client.close()
            reason = f" ({error})" if str(error) else ""
            raise Unreachable(f"NATS at {_addresses(url)} does not answer{reason}; set NATS_URL") from None
        await bus._outbox.open()
        bus._spawn(bus._outbox.resend_late())
        return bus

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._outbox.close()
        with contextlib.suppress(NatsError, OSError):
            await self._client.close()

    async def round_trip(self) -> float:
        """Seconds for a ping to the server; raises Unreachable. For /ready."""
        start = time.monotonic()
        try:
            with cancellable():
                await self._client.flush(timeout=1)
            if not self._client.is_connected:  # then flushing waits for nothing
                raise TimeoutError
        except (TimeoutError, NatsError, ValueError):
            raise Unreachable("NATS does not answer; set NATS_URL or start the server") from None
        return time.monotonic() - start

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _disconnected(self) -> None:
        # What nats-py still holds would be flushed, stale and out of order, after the reconnect. Appends are resent
        # from the outbox, media is not wanted late.
        self._outbox.hold_back()
        self._client._pending.clear()
        self._client._pending_data_size = 0

    async def _reconnected(self) -> None:
        self.counters.reconnects += 1
        if self._reconciling:
            self._reconciling.cancel()
        self._reconciling = self._spawn(self._reconcile())

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.counters.slow_reader += 1
        elif not isinstance(error, OSError):
            log.warning("bus error", extra={"error": repr(error)})

    async def _reconcile(self) -> None:
        """After a reconnect: memory streams may be gone, appends unacknowledged, live copies missed."""
        while self._client.is_connected:
            try:
                await self.ensure_streams(media_seconds=self._media_seconds)
                break
            except Unreachable:
                await asyncio.sleep(0.2)
        await self._outbox.release()
        self._feeds.catch_up()

    # -- streams ------------------------------------------------------------------------------------------

    async def ensure_streams(self, *, media_seconds: float | None = None, replicas: int = 1) -> None:
        """Create what is missing; raises Unreachable when JetStream does not answer.

        Without `media_seconds` a media stream that is there keeps its own.
        """
        self._media_seconds = media_seconds
        await self._streams.ensure(media_seconds=media_seconds, replicas=replicas)

    async def stream_created(self) -> str:
        """When the event stream was created: with a sequence, the whole place of a reader."""
        return await self._streams.created()

    async def inspect(self) -> ServerState:
        """What the server is and what of ours it has; raises Unreachable. For people who look for a fault."""
        return await self._streams.inspect()

    async def purge_session(self, session: str) -> None:
        """Forget a session's canonical events and fences. Its rows are the archive."""
        await self._streams.purge(session)

    # -- plain messages -----------------------------------------------------------------------------------

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send without waiting. While NATS is away the message is dropped and counted: late media is worthless."""
        if not self._client.is_connected:
            self.counters.dropped_offline += 1
            return
        self.counters.published += 1
        await self._client.publish(subject, payload, headers=dict(headers) if headers else None)

    async def subscribe(
        self, subject: str, receive: Receiver, *, queue: str = "", pending: int = PENDING_MESSAGES
    ) -> Subscription:
        """`receive` runs for each message, in order, and must not block. Beyond `pending`, new ones are dropped."""
        return await messages.subscribe(self._client, subject, receive, queue=queue, pending=pending)

    async def request(
        self, subject: str, payload: bytes, *, within: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Ask and wait; raises NobodyThere at once when nobody serves the subject, NoAnswer after `within` seconds."""
        return await messages.request(self._client, subject, payload, within=within, headers=headers)

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Answer requests; each runs in its own task. `handler` must turn its errors into answers."""

        async def answer(message: Msg) -> None:
            reply = await handler(message.data)
            if message.reply and self._client.is_connected:
                await self._client.publish(message.reply, reply)

        async def deliver(message: Msg) -> None:
            self._spawn(answer(message))

        return Subscription(await self._client.subscribe(subject, queue=queue, cb=deliver))

    # -- canonical events ---------------------------------------------------------------------------------

    async def take_fence(
        self, session: str, stage: Stage, *, owner: str, epoch: int = 1, expected: int | None = None
    ) -> Writer:
        """Become the owner of a stage. Of two takers one gets Fenced. `epoch` is the least that will do.

        `expected`: the sequence of the fence that is to be replaced (0: the first one); None: whatever is the last.
        """
        return await writer.take_fence(
            self._outbox, self._log, session, stage, owner=owner, epoch=epoch, expected=expected
        )

    async def last_fence(self, session: str, stage: Stage) -> Stored | None:
        return await self._log.last(subjects.fence(session, stage))

    async def read(self, *, after: int = 0, subject: str = ">", limit: int = 256) -> list[Stored]:
        """Up to `limit` stored events past sequence `after`, in order; raises Unreachable."""
        return await self._log.read(after=after, subject=subject, limit=limit)

    async def history(self, session: str, *, after: int = 0) -> list[Stored]:
        """All canonical events of a session past `after`, in order."""
        return await self._log.history(session, after=after)

    async def feed(self, session: str, receive: Callable[[Stored], None], *, after: int = 0) -> Feed:
        """History past `after`, then the live end: every event once, in the stream's order."""
        return await self._feeds.open(session, receive, after)

    def follow(self, *, after: int, max_events: int = 256, gather: float = 0.02) -> AsyncGenerator[list[Stored], None]:
        """All sessions' events past `after` in batches, for ever; waits out every outage."""
        return feed.follow(self._client, self._log, after=after, max_events=max_events, gather=gather)


def _addresses(url: str) -> str:
    """Where the servers are, without the credentials that a URL may hold."""
    return ", ".join(part.rsplit("@", 1)[-1].removeprefix("nats://") for part in url.split(","))
