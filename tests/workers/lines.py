"""Calls in a transport process without its HTTP: a wire that is spoken to by hand, on real servers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from mesh import subjects
from mesh.bus.client import Bus
from mesh.config.reading import parse
from mesh.store import Valkey
from tests.workers.desks import document
from workers.call import Call
from workers.desk import SessionSpec
from workers.media.wire import Fact, HungUp, Opened, Reason, Told, Wire
from workers.opening import WEBSOCKET, open_session
from workers.settings import Settings
from workers.transport import Transport

DEADLINE = 10.0


class HandWire(Wire):
    """The other side is the test: it puts facts in, and sees what the call does."""

    takes_token = True

    def __init__(self, *, rate: int = 16_000) -> None:
        super().__init__()
        self.rate = rate
        self.facts: asyncio.Queue[Fact] = asyncio.Queue()
        self.facts.put_nowait(Opened("", "", "", rate))
        self.done: list[str] = []
        self.told: list[Told] = []
        self.resume = ""
        self._stirred = asyncio.Event()

    async def receive(self) -> AsyncIterator[Fact]:
        while not isinstance(fact := await self.facts.get(), HungUp):
            yield fact
        yield fact

    async def until(self, what: str) -> None:
        """Wait until the call has done it: `welcome`, `play`, `clear`, `close`, or told a message of that type."""
        async with asyncio.timeout(DEADLINE):
            while what not in self.done:
                self._stirred.clear()
                await self._stirred.wait()

    def _note(self, what: str) -> None:
        self.done.append(what)
        self._stirred.set()

    async def welcome(self, session: str, *, resume: str = "", received: int = 0, sent: int = 0) -> None:
        self.resume = resume
        self._note("welcome")

    async def play(self, pcm: bytes) -> None:
        self._note("play")

    async def mark(self, number: int) -> None:
        self._note("mark")

    async def clear(self) -> None:
        self._note("clear")

    async def tell(self, message: Told) -> None:
        self.told.append(message)
        self._note(message["type"])

    def lose(self) -> None:
        self.facts.put_nowait(HungUp(Reason.LOST))
        self._note("lose")

    async def close(self, reason: str = "") -> None:
        self._note("close")


@dataclass
class Process:
    """A transport, and the calls that it answers."""

    transport: Transport
    calls: asyncio.TaskGroup

    async def create(self, **changes: Any) -> str:
        config = parse(document() | changes)
        spec = SessionSpec(id=uuid4().hex, workspace="default", transport=WEBSOCKET, config=config)
        await open_session(self.transport, spec, "", 60)
        return spec.id

    def answer(self, session: str, wire: Wire) -> "asyncio.Task[None]":
        return self.calls.create_task(self.transport.answer_media(session, wire))

    async def meet_bridge(self) -> None:
        """One whose workspaces have no credentials."""

        async def answer(payload: bytes) -> bytes:
            return b'{"sealed": {}}'

        await self.transport.bus.serve(subjects.BRIDGE_CREDENTIALS, answer)
        await self.transport.bus.round_trip()

    async def call(self, session: str) -> tuple[HandWire, Call]:
        """A call that has begun."""
        wire = HandWire()
        self.answer(session, wire)
        await wire.until("welcome")
        return wire, self.transport.calls[session]


@asynccontextmanager
async def transport_process(
    nats_url: str, valkey_url: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    async with await Bus.connect(nats_url) as bus:
        await bus.ensure_streams()
        valkey = Valkey(valkey_url)
        transport = Transport(
            worker=f"transport-{uuid4().hex[:6]}",
            bus=bus,
            valkey=valkey,
            settings=Settings(embedded=True),
            environ=environ or {},
        )
        await transport.open()
        async with asyncio.TaskGroup() as calls:
            yield Process(transport, calls)
            for call in list(transport.calls.values()):
                call.end("ended")
        await transport.close()
        await valkey.close()
