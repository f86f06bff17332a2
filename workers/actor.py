"""What everything that writes for a session has in common: its pen, its feed, its tasks, and one end."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

from connectors_app.base.connector import Sealed
from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, Fenced, Refused
from mesh.bus.messages import Subscription
from mesh.bus.writer import Writer
from mesh.config.document import AgentConfig
from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from mesh.events import Event, SessionEnded, SessionUpdated, Stored
from mesh.routing import Routes

log = logging.getLogger(__name__)

OUTGOING = 1000
"""Events of one session that may wait to be sent; an actor with more has lost its bus, and fails."""
FLUSH = 1.0
"""Seconds for the last events to be handed to the bus, which goes on sending them."""


class _Over(Exception):
    """The session is over for this actor."""


class Actor(ABC):
    """One session in one process. `receive` gets every canonical event once, first the history, then the live end."""

    tasks: asyncio.TaskGroup
    """Whatever the actor starts; a failure in it is the actor's failure."""

    def __init__(self, *, bus: Bus, writer: Writer, config: AgentConfig) -> None:
        self.bus = bus
        self.writer = writer
        self.session = writer.session
        self.config = config
        self.credentials = Sealed()
        """The workspace's own."""
        self.routes = Routes.of(config)
        self.is_live = False
        self.is_fenced = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outgoing: asyncio.Queue[Event] = asyncio.Queue(OUTGOING)
        self._over = asyncio.Event()
        self._fault: Exception | None = None
        self._newest: SessionUpdated | None = None
        """The history's last."""

    async def run(self) -> None:
        """Until the session ends or another worker has the stage. Opens, follows, closes."""
        try:
            async with asyncio.TaskGroup() as self.tasks:
                self.tasks.create_task(self._send())
                await self._follow()
                raise _Over  # ends whatever still runs in the group
        except* _Over:
            pass

    async def _follow(self) -> None:
        fences = await self._watch_fence()
        try:
            await self.open()
            feed = await self.bus.feed(self.session, self._receive)
            try:
                self._go_live()
                await self._over.wait()
            finally:
                await feed.close()
            if self._fault:
                raise self._fault
            if not self.is_fenced:
                await self.finish()
        finally:
            await fences.close()
            await self.close()
        await self._flush()

    def _go_live(self) -> None:
        if self._newest is not None:
            self._configure(self._newest)
        self.is_live = True
        self.caught_up()
        if not self.ready.done():
            self.ready.set_result(None)

    async def _watch_fence(self) -> Subscription:
        """A stage that was taken by somebody else is noticed also by an owner that has nothing to say."""
        return await self.bus.subscribe(subjects.live(subjects.fence(self.session, self.writer.stage)), self._fence)

    def _fence(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        if int(headers["Nats-Sequence"]) > self.writer.fence_sequence:
            self.is_fenced = True
            self.let_go()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH):
                await self._outgoing.join()
        except TimeoutError:
            log.warning("last events were not sent", extra={"session": self.session, "stage": self.writer.stage})

    @abstractmethod
    async def open(self) -> None:
        """Subscribe and connect, before the history is read."""

    async def finish(self) -> None:
        """The session is over: say what is owed to it, within bounded time."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back. Called once, also after a failure."""

    @abstractmethod
    def receive(self, stored: Stored) -> None: ...

    def caught_up(self) -> None:
        """The history has been read: go on with what it leaves open."""

    def configured(self) -> None:
        """`config` and `routes` are new."""

    def post(self, event: Event) -> None:
        """Append an event to the stage's subject, in order, without waiting."""
        try:
            self._outgoing.put_nowait(event)
        except asyncio.QueueFull:
            self._fail(BusError(f"{OUTGOING} events wait to be sent"))

    def let_go(self) -> None:
        self._over.set()

    def _fail(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self.let_go()

    def _receive(self, stored: Stored) -> None:
        if self._fault:
            return
        try:
            self._take_in(stored)
        except Exception as error:
            if not self.is_live:
                raise
            self._fail(error)  # it would end in a callback of the bus, and the actor go on without the event

    def _take_in(self, stored: Stored) -> None:
        match stored.event:
            case SessionUpdated() as updated if self.is_live:
                self._configure(updated)
            case SessionUpdated() as updated:
                self._newest = updated  # only what holds now has to fit the providers
            case SessionEnded():
                self.let_go()
        self.receive(stored)

    def _configure(self, updated: SessionUpdated) -> None:
        try:
            config = parse(updated.config)
        except ConfigError as error:
            log.error("config in an event is not valid", extra={"session": self.session, "error": str(error)})
            return
        told = updated.credentials
        credentials = self.credentials if told is None else replace(self.credentials, values=told)
        if (config, credentials) != (self.config, self.credentials):
            self.config, self.routes, self.credentials = config, Routes.of(config), credentials
            self.configured()

    async def _send(self) -> None:
        while True:
            waiting = await self.writer.post(await self._outgoing.get())
            self._outgoing.task_done()
            waiting.add_done_callback(self._acknowledged)

    def _acknowledged(self, waiting: "asyncio.Future[int]") -> None:
        if waiting.cancelled():
            return
        match waiting.exception():
            case Fenced():
                self.is_fenced = True
                self.let_go()
            case Refused() as error:
                log.error("event was refused", extra={"session": self.session, "error": str(error)})
