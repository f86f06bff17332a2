"""A session's canonical events as server-sent events: in the stream's order, each once, from any place on.

The events are read, not received: what arrives on the bus only says that there is more to read. So nothing piles up
behind a slow reader, and no gap can open. Interim words are the exception: they come as they come, the latest few.
"""

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from django.conf import settings

from mesh import events, subjects
from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.events import Event, Stored

HEARTBEAT = 15.0
LOOK_AGAIN = 1.0
"""What announces an event may be lost; the stream is looked at this often without it."""
AT_ONCE = 128
WAITING_INTERIMS = 32
RETRY = "retry: 1000\n\n"
ALIVE = ": alive\n\n"

_PLACE = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is: which stream, since one that was made anew counts from the beginning, and how far."""

    mark: str
    sequence: int

    @classmethod
    def read(cls, text: str) -> "Place | None":
        found = _PLACE.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.mark}-{self.sequence}"


def mark_of(stream_created: str) -> str:
    return hashlib.sha256(stream_created.encode()).hexdigest()[:8]


# -- the connection --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shared:
    lock: asyncio.Lock
    bus: Bus | None = None
    readers: int = 0


_shared: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared]" = WeakKeyDictionary()


@asynccontextmanager
async def shared_bus() -> AsyncIterator[Bus]:
    """One connection for all streams of an event loop, as long as there is one. Raises Unreachable."""
    shared = _shared.setdefault(asyncio.get_running_loop(), _Shared(asyncio.Lock()))
    async with shared.lock:
        if shared.bus is None:
            shared.bus = await Bus.connect(settings.NATS_URL, "web-events")
        bus = shared.bus
        shared.readers += 1
    try:
        yield bus
    finally:
        shared.readers -= 1
        if not shared.readers:
            shared.bus = None
            await asyncio.shield(bus.close())


# -- what is told ----------------------------------------------------------------------------------------


def message(stored: Stored, mark: str) -> str:
    """Empty for what is no news of the session: who owns a stage, and what we cannot read."""
    if stored.event is None or isinstance(stored.event, events.Fence):
        return ""
    data = {
        "id": stored.id,
        "session": stored.session,
        "stage": stored.stage,
        "epoch": stored.epoch,
        "at": stored.at,
        "data": told(stored.event),
    }
    return f"id: {mark}-{stored.sequence}\nevent: {stored.type}\ndata: {_encoder.encode(data).decode()}\n\n"


def told(event: Event) -> dict[str, Any]:
    """All but the credentials, which are sealed and nobody's business here."""
    found: dict[str, Any] = msgspec.to_builtins(event)
    found.pop("type", None)
    found.pop("credentials", None)
    return found


def interim(kind: str, payload: bytes) -> str:
    """Without an id: it is never repeated. Empty for what cannot be read."""
    try:
        data = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return f"event: {kind}\ndata: {_encoder.encode(data).decode()}\n\n"


# -- the stream ------------------------------------------------------------------------------------------

StillAllowed = Callable[[], Awaitable["Standing"]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rows say of a reader and the session."""

    may_read: bool
    is_over: bool


class EventStream:
    """Opened once; `messages` then goes on until the session is over, or the reader leaves."""

    def __init__(self, bus: Bus, session: str, mark: str, after: int, ask: StillAllowed) -> None:
        self._bus = bus
        self._session = session
        self._mark = mark
        self._after = after
        self._ask = ask
        self._stirred = asyncio.Event()
        self._interims: deque[str] = deque(maxlen=WAITING_INTERIMS)
        """The latest ones: a reader that is slow misses the others."""

    async def listen(self, stack: AsyncExitStack, *, interims: bool) -> None:
        """Until the stack is closed."""
        heard = {subjects.live(f"*.*.{self._session}"): ""}
        if interims:
            heard[subjects.stt_interim(self._session)] = "transcript.interim"
            heard[subjects.llm_delta(self._session)] = "reply.delta"
        for subject, kind in heard.items():
            subscription = await self._bus.subscribe(subject, self._receiver(kind))
            stack.push_async_callback(subscription.close)

    def _receiver(self, kind: str) -> Callable[[str, bytes, Any], None]:
        def receive(subject: str, payload: bytes, headers: Any) -> None:
            if kind and (text := interim(kind, payload)):
                self._interims.append(text)
            self._stirred.set()

        return receive

    async def messages(self) -> AsyncGenerator[str, None]:
        """Ends after the session's end and all that is stored behind it."""
        yield RETRY
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + HEARTBEAT
        is_over = False
        while True:
            self._stirred.clear()
            while self._interims:
                yield self._interims.popleft()
            batch = await self._read()
            for stored in batch:
                self._after = stored.sequence
                is_over = is_over or isinstance(stored.event, events.SessionEnded)
                if text := message(stored, self._mark):
                    yield text
            if batch:
                continue
            if is_over:
                return
            if loop.time() >= beat_at:
                yield ALIVE
                standing = await self._ask()
                if not standing.may_read:
                    return
                is_over, beat_at = standing.is_over, loop.time() + HEARTBEAT
                if is_over:
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._stirred.wait()

    async def _read(self) -> list[Stored]:
        """Empty while NATS is away."""
        with suppress(Unreachable):
            found = await self._bus.read(after=self._after, subject=f"*.*.{self._session}", limit=AT_ONCE)
            own = [stored for stored in found if stored.session == self._session]
            if found and not own:
                self._after = found[-1].sequence
            return own
        return []


async def open_stream(
    stack: AsyncExitStack, *, session: str, last: Place | None, interims: bool, ask: StillAllowed
) -> EventStream:
    """Past the reader's place, if that is in today's stream. Raises BusError."""
    bus = await stack.enter_async_context(shared_bus())
    mark = mark_of(await bus.stream_created())
    after = last.sequence if last is not None and last.mark == mark else 0
    stream = EventStream(bus, session, mark, after, ask)
    await stream.listen(stack, interims=interims)
    return stream


async def has_more(session: str, last: Place | None) -> bool:
    """Whether the stream still holds something past the reader's place. Raises BusError."""
    async with shared_bus() as bus:
        mark = mark_of(await bus.stream_created())
        after = last.sequence if last is not None and last.mark == mark else 0
        found = await bus.read(after=after, subject=f"*.*.{session}", limit=1)
        return any(stored.session == session for stored in found)
