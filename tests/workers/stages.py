"""Stage workers and the casting on a real bus, with actors so small that a test can see what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from connectors_app.pool import Pool
from connectors_app.runner import Deadlines
from mesh.bus import Bus
from mesh.config import parse
from mesh.events import Event, SessionCreated, Stored
from mesh.store import ConfigStorage, Valkey
from mesh.subjects import Stage
from tests.unsupervised import document
from workers.casting import Casting
from workers.metrics import Metrics
from workers.stage import Claim, Seat, StageActor, StageWorker

SECONDS = 10.0


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
    """Workers of the language model's stage, their actors in the order of their making, and the casting."""

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
    bus: Bus, valkey: Valkey, role: Stage, make: Callable[[Seat], StageActor], *, name: str = "worker"
) -> StageWorker:
    return StageWorker(
        role=role,
        worker=f"{name}-{uuid4().hex[:6]}",
        bus=bus,
        configs=ConfigStorage(valkey, 60),
        pool=Pool({}),
        deadlines=Deadlines(),
        metrics=Metrics(role),
        make=make,
    )


async def begin_session(bus: Bus) -> str:
    """A session that is in the stream alone."""
    session = str(uuid4())
    config = document()
    parse(config)
    writer = await bus.take_fence(session, Stage.SESSION, owner="transport")
    await writer.append(SessionCreated(workspace="w", config=config, revision="1", transport="websocket"))
    return session


def claim(session: str) -> Callable[[], Claim]:
    return lambda: Claim(session=session, rate=8000)
