"""The one door to NATS: canonical events with fenced writers and gapless feeds, media, requests.

nats-py's defaults are not fit for real time, so the connection is set here: a frozen server is noticed within three
seconds, reconnects never end, and nothing stale is flushed after one. What must arrive is appended to the stream and
retried under the same id until it is acknowledged; everything else may be lost and says so in a counter.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from mesh import events, subjects
from mesh.events import Event, Stored
from mesh.subjects import Stage

log = logging.getLogger(__name__)

Receiver = Callable[[str, bytes, Mapping[str, str]], None]
Handler = Callable[[bytes], Awaitable[bytes]]

WRONG_LAST_SEQUENCE = 10071
BAD_REQUEST = 400
MEDIA_SECONDS = 10.0
"""How long the memory streams keep media where nobody says otherwise."""
CONNECT_TIMEOUT = 2.0
RESEND_AFTER = 1.0
READ_TIMEOUT = 2.0
FINISH_TIMEOUT = 1.0
PENDING_MESSAGES = 4096
WAITING_APPENDS = 20_000
"""Events of a process that may wait for NATS. Beyond that it is of no use to keep more."""


class BusError(Exception):
    """Something on the bus went wrong; subclasses say what."""


class Unreachable(BusError):
    """NATS does not answer."""


class NobodyThere(BusError):
    """No process serves the subject."""


class NoAnswer(BusError):
    """A process serves the subject, but did not answer in time."""


class Refused(BusError):
    """The stream will never take this event."""


class Fenced(BusError):
    """Another owner holds the stage: this one must let go."""


@dataclass(slots=True)
class _Append:
    token: str
    subject: str
    payload: bytes
    headers: dict[str, str]
    acknowledged: "asyncio.Future[int]"
    sent_at: float = 0.0


@dataclass
class Counters:
    """What was lost or repeated, for /metrics."""

    published: int = 0
    dropped_offline: int = 0
    appended: int = 0
    resent: int = 0
    fenced: int = 0
    reconnects: int = 0
    gaps: int = 0
    slow_reader: int = 0


@dataclass(frozen=True, slots=True)
class ServerState:
    """A NATS server as the doctor sees it."""

    id: str
    version: str
    has_jetstream: bool
    streams: Mapping[str, str]
    """What is wrong with each of our streams; empty when nothing is."""
    last_sequence: int
    """Of the event stream."""


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    """nats-py waits by `wait_for`, which forgets a cancellation that comes in the moment of the answer."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


class Subscription:
    """Interest in a subject. End it with `close`."""

    def __init__(self, inner: NatsSubscription) -> None:
        self._inner = inner

    async def close(self) -> None:
        with contextlib.suppress(NatsError):
            await self._inner.unsubscribe()

    async def finish(self) -> None:
        """End it so that what is on its way still arrives: another member of the queue would never get it."""
        with contextlib.suppress(TimeoutError, NatsError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                await self._inner.drain()  # type: ignore[no-untyped-call]


class Bus:
    """One connection to NATS, shared by everything in a process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = ""
        self._tokens = itertools.count(1)
        self._appends: dict[str, _Append] = {}
        self._feeds: set[Feed] = set()
        self._held_back = False
        """After a loss: new appends wait until the older ones have been sent again."""
        self._stalled: set[str] = set()
        """Subjects of which an append was not taken: newer ones wait for its turn to be sent again."""
        self._reconciling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._media_seconds: float | None = None
        self.counters = Counters()

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
        bus._inbox = client.new_inbox()
        await client.subscribe(f"{bus._inbox}.*", cb=bus._acknowledge)
        bus._spawn(bus._resend_late())
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
        for append in self._appends.values():
            append.acknowledged.cancel()
        with contextlib.suppress(NatsError, OSError):
            await self._client.close()

    async def round_trip(self) -> float:
        """Seconds for a ping to the server; raises Unreachable. For /ready."""
        start = time.monotonic()
        try:
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
        # from our own list, media is not wanted late.
        self._held_back = True
        self._client._pending.clear()
        self._client._pending_data_size = 0

    async def _reconnected(self) -> None:
        self.counters.reconnects += 1
        if self._reconciling:
            self._reconciling.cancel()
        self._reconciling = self._spawn(self._reconcile())

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
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
        await self._resend(lambda _: True)
        self._held_back = False
        for feed in list(self._feeds):
            feed.catch_up()

    # -- streams ------------------------------------------------------------------------------------------

    async def ensure_streams(self, *, media_seconds: float | None = None, replicas: int = 1) -> None:
        """Create what is missing; raises Unreachable when JetStream does not answer.

        Without `media_seconds` a media stream that is there keeps its own.
        """
        self._media_seconds = media_seconds
        for config in _stream_configs(media_seconds or MEDIA_SECONDS, replicas):
            await self._ensure_stream(config, keeps_age=media_seconds is None)

    async def _ensure_stream(self, config: StreamConfig, *, keeps_age: bool) -> None:
        js = self._client.jetstream(timeout=2)
        assert config.name
        try:
            have = (await js.stream_info(config.name)).config
            if keeps_age:
                config.max_age, config.duplicate_window = have.max_age, have.duplicate_window
            if (have.max_age or 0, have.num_replicas) != (config.max_age or 0, config.num_replicas):
                await js.update_stream(config)
        except NotFoundError:
            with contextlib.suppress(APIError):  # another process created it in the same moment
                await js.add_stream(config)
        except (TimeoutError, NatsError) as error:
            raise Unreachable(f"JetStream does not answer ({error}); is NATS started with JetStream?") from None

    async def stream_created(self) -> str:
        """When the event stream was created: with a sequence, the whole place of a reader."""
        info = await self._jetstream_call("STREAM.INFO." + subjects.EVENTS)
        return str(info["created"])

    async def inspect(self) -> ServerState:
        """What the server is and what of ours it has; raises Unreachable. For people who look for a fault."""
        info = self._client._server_info
        streams, last = {}, 0
        for want in _stream_configs(MEDIA_SECONDS, 1) if info.get("jetstream") else []:
            assert want.name
            try:
                found = await self._client.jetstream(timeout=1).stream_info(want.name)
            except NotFoundError:
                streams[want.name] = "is missing"
            except (TimeoutError, NatsError) as error:
                raise Unreachable(f"JetStream does not answer ({error})") from None
            else:
                streams[want.name] = _differences(found.config, want)
                last = found.state.last_seq if want.name == subjects.EVENTS else last
        return ServerState(
            id=str(info.get("server_id", "")),
            version=str(info.get("version", "")),
            has_jetstream=bool(info.get("jetstream")),
            streams=streams,
            last_sequence=last,
        )

    async def purge_session(self, session: str) -> None:
        """Forget a session's canonical events and fences. Its rows are the archive."""
        prefixes = [*(subjects.canonical(stage, session) for stage in Stage), f"fence.{session}.*"]
        for subject in prefixes:
            await self._jetstream_call("STREAM.PURGE." + subjects.EVENTS, {"filter": subject})

    async def _jetstream_call(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body else b""
        answer: dict[str, Any] = json.loads(await self.request("$JS.API." + verb, payload, within=2))
        if "error" in answer:
            raise BusError(str(answer["error"].get("description", answer["error"])))
        return answer

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

        async def deliver(message: Msg) -> None:
            receive(message.subject, message.data, message.headers or {})

        inner = await self._client.subscribe(subject, queue=queue, cb=deliver, pending_msgs_limit=pending)
        return Subscription(inner)

    async def request(
        self, subject: str, payload: bytes, *, within: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Ask and wait; raises NobodyThere at once when nobody serves the subject, NoAnswer after `within` seconds."""
        if not self._client.is_connected:
            raise Unreachable("NATS is away")
        try:
            with _cancellable():
                sent = dict(headers) if headers else None
                return (await self._client.request(subject, payload, timeout=within, headers=sent)).data
        except NoRespondersError:
            raise NobodyThere(subject) from None
        except (TimeoutError, NatsTimeout):
            raise NoAnswer(subject) from None
        except NatsError as error:
            raise Unreachable(f"NATS is away ({error})") from None

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Answer requests; each runs in its own task. `handler` must turn its errors into answers."""

        async def answer(message: Msg) -> None:
            reply = await handler(message.data)
            if message.reply and self._client.is_connected:
                await self._client.publish(message.reply, reply)

        async def deliver(message: Msg) -> None:
            self._spawn(answer(message))

        return Subscription(await self._client.subscribe(subject, queue=queue, cb=deliver))

    # -- canonical events: writing ------------------------------------------------------------------------

    async def take_fence(
        self, session: str, stage: Stage, *, owner: str, epoch: int = 1, expected: int | None = None
    ) -> "Writer":
        """Become the owner of a stage. Of two takers one gets Fenced. `epoch` is the least that will do.

        `expected`: the sequence of the fence that is to be replaced (0: the first one); None: whatever is the last.
        """
        subject = subjects.fence(session, stage)
        if expected is None:
            last = await self._last(subject)
            expected = last.sequence if last else 0
            epoch = max(epoch, last.epoch + 1 if last else 1)
        event = events.Fence(owner=owner, epoch=epoch)
        payload = events.encode(event, session=session, stage=stage, epoch=epoch, n=0, at=time.time())
        headers = {
            "Nats-Msg-Id": f"{events.event_id(session, stage, epoch, 0)}:{owner}",
            "Nats-Expected-Last-Subject-Sequence": str(expected),
        }
        sequence = await (await self._append(subject, payload, headers))
        return Writer(self, session, stage, epoch, sequence)

    async def last_fence(self, session: str, stage: Stage) -> Stored | None:
        return await self._last(subjects.fence(session, stage))

    async def _last(self, subject: str) -> Stored | None:
        body = {"last_by_subj": subject}
        for message in await self._direct_get(body):
            return _stored(message)
        return None

    async def _append(self, subject: str, payload: bytes, headers: dict[str, str]) -> "asyncio.Future[int]":
        if len(self._appends) >= WAITING_APPENDS:
            raise Unreachable(f"{WAITING_APPENDS} events wait for NATS")
        token = f"{self._inbox}.{next(self._tokens)}"
        append = _Append(token, subject, payload, headers, asyncio.get_running_loop().create_future())
        self._appends[token] = append
        append.acknowledged.add_done_callback(lambda _: self._appends.pop(token, None))
        if not self._held_back and subject not in self._stalled:
            await self._send(append)
        return append.acknowledged

    async def _send(self, append: _Append) -> None:
        append.sent_at = time.monotonic()
        if self._client.is_connected:
            await self._client.publish(append.subject, append.payload, reply=append.token, headers=append.headers)

    async def _resend(self, wanted: Callable[[_Append], bool]) -> None:
        """Send again what waits, oldest first, and with it whatever is added meanwhile, so that the order holds."""
        sent: set[str] = set()
        while waiting := [a for a in self._appends.values() if a.token not in sent and wanted(a)]:
            for append in waiting:
                sent.add(append.token)
                if not append.acknowledged.done():
                    self.counters.resent += 1
                    await self._send(append)

    async def _acknowledge(self, message: Msg) -> None:
        append = self._appends.get(message.subject)
        if append is None or append.acknowledged.done():
            return
        # Nothing in it: no stream is there.
        answer: dict[str, Any] = json.loads(message.data) if message.data else {"error": {"code": 503}}
        error = answer.get("error")
        if error is None:
            self.counters.appended += 1
            append.acknowledged.set_result(int(answer["seq"]))
        elif error.get("err_code") == WRONG_LAST_SEQUENCE:
            self.counters.fenced += 1
            append.acknowledged.set_exception(Fenced(append.subject))
        elif error.get("code") == BAD_REQUEST:
            append.acknowledged.set_exception(Refused(f"{append.subject}: {error.get('description', 'refused')}"))
        else:
            self._stalled.add(append.subject)

    async def _resend_late(self) -> None:
        """Appends that nobody acknowledged in time go again."""
        while True:
            await asyncio.sleep(RESEND_AFTER / 2)
            late = time.monotonic() - RESEND_AFTER
            overdue = {a.subject for a in self._appends.values() if a.sent_at < late} | self._stalled
            if overdue and self._client.is_connected and not self._held_back:
                self._stalled = overdue
                await self._resend(lambda append: append.subject in self._stalled)
                self._stalled = set()

    # -- canonical events: reading ------------------------------------------------------------------------

    async def read(self, *, after: int = 0, subject: str = ">", limit: int = 256) -> list[Stored]:
        """Up to `limit` stored events past sequence `after`, in order; raises Unreachable."""
        body = {"seq": after + 1, "next_by_subj": subject, "batch": limit}
        return [_stored(message) for message in await self._direct_get(body)]

    async def history(self, session: str, *, after: int = 0) -> list[Stored]:
        """All canonical events of a session past `after`, in order."""
        result: list[Stored] = []
        while batch := await self.read(after=after, subject=f"*.*.{session}"):
            result += [stored for stored in batch if stored.session == session]
            after = batch[-1].sequence
        return result

    async def feed(self, session: str, receive: Callable[[Stored], None], *, after: int = 0) -> "Feed":
        """History past `after`, then the live end: every event once, in the stream's order."""
        feed = Feed(self, session, receive, after)
        self._feeds.add(feed)
        try:
            await feed.open()
        except BaseException:  # a cancellation too: nobody else could close it
            await feed.close()
            raise
        return feed

    async def follow(
        self, *, after: int, max_events: int = 256, gather: float = 0.02
    ) -> AsyncGenerator[list[Stored], None]:
        """All sessions' events past `after` in batches, for ever; waits out every outage."""
        stirred = asyncio.Event()
        subscription = await self.subscribe("live.>", lambda *_: stirred.set())
        try:
            while True:
                stirred.clear()
                try:
                    batch = await self.read(after=after, limit=max_events)
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

    async def _direct_get(self, body: Mapping[str, Any]) -> list[Msg]:
        """Messages of the event stream by one request, without a consumer."""
        if not self._client.is_connected:
            raise Unreachable("NATS is away")
        inbox = self._client.new_inbox()
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._client.subscribe(inbox, cb=arrived.put)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                subject = f"$JS.API.DIRECT.GET.{subjects.EVENTS}"
                await self._client.publish(subject, json.dumps(body).encode(), reply=inbox)
                return await _collect(arrived, single="batch" not in body)
        except (TimeoutError, NatsError):
            raise Unreachable("the event stream does not answer") from None
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()


async def _collect(arrived: "asyncio.Queue[Msg]", *, single: bool) -> list[Msg]:
    messages: list[Msg] = []
    while True:
        message = await arrived.get()
        status = (message.headers or {}).get("Status", "")
        if status == "503":
            raise Unreachable("the event stream is not there")
        if status:  # 204: end of batch; 404: nothing there
            return messages
        messages.append(message)
        if single:
            return messages


def _stored(message: Msg) -> Stored:
    headers = message.headers or {}
    return read_stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data)


def read_stored(subject: str, sequence: int, payload: bytes) -> Stored:
    """An event as stored; what cannot be read becomes an event of unknown type, so that readers go past it."""
    try:
        return events.decode(payload, sequence=sequence, subject=subject)
    except events.BadEvent as error:
        log.warning("unreadable event", extra={"error": str(error)})
        return Stored(
            sequence=sequence, subject=subject, id="", session="", stage="", epoch=0, at=0, type="", event=None
        )


def _addresses(url: str) -> str:
    """Where the servers are, without the credentials that a URL may hold."""
    return ", ".join(part.rsplit("@", 1)[-1].removeprefix("nats://") for part in url.split(","))


def _stream_configs(media_seconds: float, replicas: int) -> list[StreamConfig]:
    canonical = StreamConfig(
        name=subjects.EVENTS,
        subjects=list(subjects.EVENT_SUBJECTS),
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=replicas,
        allow_direct=True,
        duplicate_window=120,
        republish=RePublish(src=">", dest="live.>"),
    )
    media = [
        StreamConfig(
            name=name,
            subjects=list(captured),
            storage=StorageType.MEMORY,
            num_replicas=1,
            max_age=media_seconds,
            max_bytes=256 * 1024 * 1024,
            no_ack=True,
            duplicate_window=min(media_seconds, 2.0),
        )
        for name, captured in subjects.MEDIA_STREAMS.items()
    ]
    return [canonical, *media]


def _differences(have: StreamConfig, want: StreamConfig) -> str:
    """What of a stream would lose events or keep them from their readers; empty when nothing does."""
    lacking = sorted({*(want.subjects or [])} - {*(have.subjects or [])})
    found = [f"does not take {', '.join(lacking)}"] if lacking else []
    if have.storage != want.storage:
        found.append(f"is kept in {have.storage}, not {want.storage}")
    if (have.republish and have.republish.dest) != (want.republish and want.republish.dest):
        found.append("does not republish what it has stored")
    if want.storage == StorageType.FILE and have.max_age:
        found.append(f"forgets after {have.max_age:.0f} s")
    return " and ".join(found)


class Writer:
    """The pen of a stage's owner. Appends are refused (Fenced) as soon as somebody else has taken the stage."""

    def __init__(self, bus: Bus, session: str, stage: Stage, epoch: int, fence_sequence: int) -> None:
        self._bus = bus
        self._subject = subjects.canonical(stage, session)
        self._guard = {
            "Nats-Expected-Last-Subject-Sequence": str(fence_sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": subjects.fence(session, stage),
        }
        self._n = 0
        self.session = session
        self.stage = stage
        self.epoch = epoch
        self.fence_sequence = fence_sequence

    async def append(self, event: Event) -> int:
        """Store an event and wait for its sequence; raises Fenced. Waits out outages, so bound it where it matters."""
        return await (await self.post(event))

    async def post(self, event: Event) -> "asyncio.Future[int]":
        """Send an event on its way, in order; the future tells its sequence or raises Fenced."""
        self._n += 1
        payload = events.encode(
            event, session=self.session, stage=self.stage, epoch=self.epoch, n=self._n, at=time.time()
        )
        message_id = events.event_id(self.session, self.stage, self.epoch, self._n)
        return await self._bus._append(self._subject, payload, {**self._guard, "Nats-Msg-Id": message_id})


class Feed:
    """A session's canonical events, live and without gaps: each subject's in order, each event once.

    Across subjects the order is the stream's, except right after a gap.
    """

    def __init__(self, bus: Bus, session: str, receive: Callable[[Stored], None], after: int) -> None:
        self._bus = bus
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
        self._subscription = await self._bus.subscribe(subjects.live(f"*.*.{self._session}"), self._arrive)
        await self._read()

    async def close(self) -> None:
        self._bus._feeds.discard(self)
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
            self._bus.counters.gaps += 1
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
        while batch := await self._bus.read(after=complete_to, subject=f"*.*.{self._session}"):
            for stored in batch:
                if stored.session == self._session:
                    self._deliver(stored)
            complete_to = batch[-1].sequence
        self._complete_to = complete_to
        held, self._held = self._held or [], None
        for stored, previous in held:
            self._take(stored, previous)
