"""Stage workers and the casting on a real bus, with actors so small that a test can see what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Connector, Sealed
from connectors_app.pool import Chain, Pool
from mesh.bus.client import Bus
from mesh.bus.writer import Writer
from mesh.config.reading import parse
from mesh.events import Event, SessionCreated, Stored
from mesh.store import ConfigStorage, Valkey
from mesh.subjects import Stage
from tests.unsupervised import document
from workers.casting import Casting
from workers.metrics import Metrics
from workers.stage import Claim, Seat, StageActor, StageWorker

SECONDS = 10.0
E = TypeVar("E", bound=Event)


class Extra(StageActor):
    """Hears everything, and does nothing but what its test asks."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        self.heard: asyncio.Queue[Event | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.fault: Exception | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.closed.set()

    def receive(self, stored: Stored) -> None:
        if self.fault:
            raise self.fault
        self.heard.put_nowait(stored.event)


class Cast:
    """Workers of one stage, their actors in the order of their making, and the casting."""

    def __init__(self, bus: Bus, valkey: Valkey, casting: Casting) -> None:
        self.bus = bus
        self.valkey = valkey
        self.casting = casting
        self.actors: list[Extra] = []
        self._made = asyncio.Event()

    def _make(self, seat: Seat) -> Extra:
        self.actors.append(actor := Extra(seat))
        self._made.set()
        return actor

    async def actor(self, number: int) -> Extra:
        """The so-manieth that was made, when it is live."""
        async with asyncio.timeout(SECONDS):
            while len(self.actors) <= number:
                self._made.clear()
                await self._made.wait()
            await self.actors[number].ready
        return self.actors[number]

    @asynccontextmanager
    async def worker(self, name: str, *, grace: float = 20.0) -> AsyncIterator["Employed"]:
        """A worker that is known to the casting."""
        host = stage_worker(self.bus, self.valkey, Stage.LLM, self._make, name=name)
        stop = asyncio.Event()
        running = asyncio.create_task(host.run(stop, grace=grace))
        async with asyncio.timeout(SECONDS):
            while not self.casting.roster.is_there(host.worker):
                await self.casting.wait_for_workers()
        try:
            yield Employed(host, stop, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Employed:
    def __init__(self, host: StageWorker, stop: asyncio.Event, running: asyncio.Task[None]) -> None:
        self.host = host
        self.name = host.worker
        self.stop = stop
        self.running = running


def stage_worker(
    bus: Bus,
    valkey: Valkey,
    role: Stage,
    make: Callable[[Seat], StageActor],
    *,
    name: str = "worker",
    pool: Pool | None = None,
) -> StageWorker:
    return StageWorker(
        role=role,
        worker=f"{name}-{uuid4().hex[:6]}",
        bus=bus,
        configs=ConfigStorage(valkey, 60),
        pool=pool or Pool({}),
        deadlines=Deadlines(),
        metrics=Metrics(),
        make=make,
    )


class Given(Pool):
    """Every session gets the same providers, if it names any."""

    def __init__(self, *connectors: Connector) -> None:
        super().__init__({})
        self._given = connectors

    def _chain(self, role: Any, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed) -> Chain[Connector]:
        given = self._given if order else ()
        for connector in given:
            self._users[connector] = self._users.get(connector, 0) + 1
        return Chain(self, given, ())


async def begin_session(bus: Bus, *, apology: str = "", **changes: Any) -> str:
    """A session that is in the stream alone."""
    session = str(uuid4())
    config = document(apology=apology, **changes)
    parse(config)
    writer = await bus.take_fence(session, Stage.SESSION, owner="transport")
    await writer.append(SessionCreated(workspace="w", config=config, revision="1", transport="websocket"))
    return session


@asynccontextmanager
async def played(
    bus: Bus,
    valkey: Valkey,
    role: Stage,
    make: Callable[[Seat], StageActor],
    *providers: Connector,
    session: str = "",
    rate: int = 8000,
) -> AsyncIterator["Played"]:
    """A stage of one session in the hands of a worker with these providers."""
    session = session or await begin_session(bus)
    heard: asyncio.Queue[Stored] = asyncio.Queue()
    host = stage_worker(bus, valkey, role, make, pool=Given(*providers))
    last = await bus.last_fence(session, role)
    asked = Claim(
        session=session, rate=rate, epoch=last.epoch + 1 if last else 1, expected=last.sequence if last else 0
    )
    taken = await host._take(asked)
    assert taken.ok
    transport = await bus.take_fence(session, Stage.SESSION, owner="transport")
    feed = await bus.feed(session, heard.put_nowait)
    try:
        yield Played(bus, transport, heard, host)
    finally:
        await feed.close()
        for task in host._tasks():
            task.cancel()
        await asyncio.gather(*host._tasks(), return_exceptions=True)


class Played:
    """What the transport says to a stage, and what it hears of it."""

    def __init__(self, bus: Bus, transport: Writer, heard: "asyncio.Queue[Stored]", host: StageWorker) -> None:
        self.bus = bus
        self.transport = transport
        self.session = transport.session
        self.host = host
        self._heard = heard

    async def say(self, event: Event) -> None:
        await self.transport.append(event)

    async def hear(self, kind: type[E]) -> E:
        """The next event of a kind."""
        async with asyncio.timeout(SECONDS):
            while True:
                event = (await self._heard.get()).event
                if isinstance(event, kind):
                    return event


def claim(session: str) -> Callable[[], Claim]:
    return lambda: Claim(session=session, rate=8000)
