"""How end-to-end tests talk: callers of both transports, questions with exact answers, and what the rest tells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import numpy as np

from mesh.bus.client import Bus
from mesh.events import Event, Fence
from mesh.roster import Beat
from mesh.subjects import Stage
from tests import speech
from tests.callers import LOUD, Caller, TelephoneCaller, WebsocketCaller
from tests.providers.brain import reply_for
from tests.providers.routes import Route
from tests.unsupervised import System, document
from workers.telephony import session_of

E = TypeVar("E", bound=Event)
MS_PER_CHAR = 8.0
"""The agent's voice is in a hurry."""
DEADLINE = 3.0
"""Seconds that a provider has: more than a crowded machine takes for an answer."""
SPECTATOR = "spectator"
"""The name of the tests' own connection to the bus."""
STORY = "Please tell me a long story about the sea."
EVERYBODY = 7
"""Processes that tell their sessions: two workers of each role and the transport."""
WORKERS = (Stage.STT, Stage.LLM, Stage.TTS)


def telephone(system: System, agent: str = "desk") -> TelephoneCaller:
    caller = TelephoneCaller(system.client, system.url, agent=agent)
    caller.session = session_of(caller.call)
    return caller


async def web(
    system: System, config: Mapping[str, Any] | None = None, *, rate: int = 16_000, reports: bool = True
) -> WebsocketCaller:
    """A caller with a session of its own."""
    made = await system.create(config or document())
    caller = WebsocketCaller(system.client, made["room_url"], made["token"], rate=rate, reports=reports)
    caller.session = made["session_id"]
    return caller


async def say(caller: Caller, *texts: str, pause: float = 0.1) -> None:
    """One after the other, in one breath."""
    silence = bytes(2 * round(pause * caller.rate))
    await caller.say(silence.join(speech.speak(text, caller.rate) for text in texts))


async def ask(caller: Caller, text: str, *, answer: str = "", seconds: float = 20.0) -> float:
    """Say it and hear the whole answer, once and in order; returns the seconds between them."""
    await say(caller, text)
    voiced = caller.last_voiced
    return await caller.reply(answer or reply_for(text), since=voiced, seconds=seconds) - voiced


def lead(text: str, rate: int) -> float:
    """Seconds before an utterance's first voiced sample."""
    voiced = np.flatnonzero(np.abs(np.frombuffer(speech.speak(text, rate), np.int16)) > LOUD)
    return float(voiced[0]) / rate


async def happened(bus: Bus, session: str, kind: type[E]) -> list[E]:
    """A session's events of one kind so far."""
    return [stored.event for stored in await bus.history(session) if isinstance(stored.event, kind)]


async def become(true: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Wait for something that nobody tells."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  # what is asked is in another process
            await asyncio.sleep(0.05)


async def owner(bus: Bus, session: str, stage: Stage) -> str:
    """The worker that has a stage of the session."""
    fence = await bus.last_fence(session, stage)
    assert fence and isinstance(fence.event, Fence)
    return fence.event.owner


async def asked(system: System, route: Route, text: str) -> list[dict[str, Any]]:
    """The requests that a provider got with this text."""
    return [request for request in await system.standins.requests_to(route) if request["text"] == text]


async def others_than(system: System, wanted: int) -> object:
    """The roles of which the transport knows more or fewer workers."""
    async with system.client.get(f"{system.url}/ready") as response:
        checks = (await response.json())["checks"]
    known = {check["name"]: check["message"] for check in checks if check["name"].startswith("workers_")}
    return {name: message for name, message in known.items() if message != f"{wanted} running"}


class Gauges:
    """How many sessions each process says it has, as its heartbeats tell."""

    def __init__(self) -> None:
        self.sessions: dict[str, int] = {}
        self._told = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def of(cls, bus: Bus) -> AsyncIterator["Gauges"]:
        gauges = cls()
        subscription = await bus.subscribe("worker.beat.*", gauges._hear)
        yield gauges
        await subscription.close()

    def _hear(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        beat = msgspec.json.decode(payload, type=Beat)
        self.sessions[f"{beat.role}:{beat.id}"] = beat.sessions
        self._told.set()

    async def until(self, fault: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
        """Look at every heartbeat whether there is still a fault; raises AssertionError with the last one."""
        found: object = None
        try:
            async with asyncio.timeout(seconds):
                while found := await fault():
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError(f"after {seconds:g} s there is still {found}") from None

    async def busy(self) -> object:
        """Who still has sessions, or was not heard yet."""
        busy = {name: sessions for name, sessions in self.sessions.items() if sessions}
        return busy or (f"only {sorted(self.sessions)}" if len(self.sessions) < EVERYBODY else None)
