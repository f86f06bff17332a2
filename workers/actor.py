"""What everything that writes for a session has in common: its pen, its feed, its tasks, and one end."""

import asyncio
import logging
from abc import ABC, abstractmethod

from mesh.bus import Bus, Fenced, Writer
from mesh.config import AgentConfig, ConfigError, parse
from mesh.events import Event, SessionEnded, SessionUpdated, Stored
from mesh.routing import Routes

log = logging.getLogger(__name__)

OUTGOING = 1000
"""Events of one session that may wait to be sent; an actor beyond that has lost its bus."""


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
        self.routes = Routes.of(config)
        self.is_live = False
        self.is_fenced = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outgoing: asyncio.Queue[Event] = asyncio.Queue(OUTGOING)
        self._over = asyncio.Event()

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
        try:
            await self.open()
            feed = await self.bus.feed(self.session, self._receive)
            try:
                self.is_live = True
                self.caught_up()
                if not self.ready.done():
                    self.ready.set_result(None)
                await self._over.wait()
            finally:
                await feed.close()
        finally:
            await self.close()

    @abstractmethod
    async def open(self) -> None:
        """Subscribe and connect, before the history is read."""

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
        self._outgoing.put_nowait(event)

    def let_go(self) -> None:
        self._over.set()

    def _receive(self, stored: Stored) -> None:
        match stored.event:
            case SessionUpdated(config=document):
                self._configure(document)
            case SessionEnded():
                self.let_go()
        self.receive(stored)

    def _configure(self, document: object) -> None:
        try:
            self.config = parse(document)
        except ConfigError as error:
            log.error("config in an event is not valid", extra={"session": self.session, "error": str(error)})
            return
        self.routes = Routes.of(self.config)
        self.configured()

    async def _send(self) -> None:
        while True:
            waiting = await self.writer.post(await self._outgoing.get())
            self._outgoing.task_done()
            waiting.add_done_callback(self._acknowledged)

    def _acknowledged(self, waiting: "asyncio.Future[int]") -> None:
        if not waiting.cancelled() and isinstance(waiting.exception(), Fenced):
            self.is_fenced = True
            self.let_go()
