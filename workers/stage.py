"""What every stage worker does: takes sessions, hosts an actor for each, says that it lives, and lets go cleanly."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Sealed
from connectors_app.base.errors import ProviderError
from connectors_app.pool import AllFailed, Attempt, Pool
from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, Fenced
from mesh.bus.writer import Writer
from mesh.config.problems import ConfigError
from mesh.events import (
    ProviderFailed,
    ProviderSwitched,
    Usage,
)
from mesh.roster import BEAT, Beat, Roster
from mesh.store import ConfigStorage
from mesh.subjects import Stage
from workers.actor import Actor
from workers.documents import Setup, find_setup
from workers.metrics import Metrics

log = logging.getLogger(__name__)

ALONE = 2.0
"""Seconds that sessions have to end by themselves when a worker leaves and no other one can take them."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transport's request to take a stage of a session. `rate` is the wire's."""

    session: str
    rate: int
    epoch: int = 1
    """The one that the stage's owner will have."""
    expected: int = 0
    """The sequence of the stage's last fence when the transport asked, 0 for none: a late claim takes nothing."""
    generation: int = 0
    unfinished: int = 0
    """Sentences of `generation` before this one need no more audio: a voice takes over in the middle of a reply."""


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    ok: bool
    error: str = ""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has given a stage of a session back; somebody has to claim it anew."""

    session: str
    stage: Stage
    epoch: int


@dataclass(frozen=True, slots=True)
class Seat:
    """What an actor is given: its session, the pen of its stage, and what it works with."""

    claim: Claim
    worker: str
    writer: Writer
    bus: Bus
    pool: Pool
    deadlines: Deadlines
    metrics: Metrics
    setup: Setup

    @property
    def session(self) -> str:
        return self.claim.session


class StageActor(Actor):
    """One session in a stage worker."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(bus=seat.bus, writer=seat.writer, config=seat.setup.config)
        self.seat = seat
        self.credentials = seat.setup.credentials

    def choice(self, service: str) -> tuple[Sequence[str], Mapping[str, Any], Sealed]:
        """What a chain is made of: as long as it is the same, the chain stays."""
        return self.config.chain(service), self.provider_options(service), self.credentials

    def provider_options(self, service: str) -> Mapping[str, Any]:
        """The document's, by provider; none where a changed configuration has no use for this stage any more."""
        entry = self.config.connectors.get(service)
        return entry.config if entry else {}


class Reporting:
    """Turns what the runner tells of its attempts into the session's events, and into metrics."""

    def __init__(self, actor: StageActor, role: str, turn: int = 0, generation: int = 0) -> None:
        self._actor = actor
        self._role = role
        self._turn = turn
        self._generation = generation
        self.utterance = 0
        """Of the caller, where it is not known yet which turn that becomes."""

    def failed(self, provider: str, error: ProviderError, ms: int) -> None:
        self._actor.seat.metrics.provider_failures.labels(provider, error.kind).inc()
        self._actor.post(
            ProviderFailed(
                role=self._role,
                provider=provider,
                kind=error.kind,
                detail=error.message,
                turn=self._turn,
                generation=self._generation,
                utterance=self.utterance,
                ms=ms,
            )
        )

    def switched(self, before: str, after: str) -> None:
        self._actor.post(
            ProviderSwitched(
                role=self._role,
                before=before,
                after=after,
                turn=self._turn,
                generation=self._generation,
                utterance=self.utterance,
            )
        )

    def used(self, provider: str, model: str, unit: str, quantity: int, *, estimated: bool = False) -> None:
        if quantity:
            self._actor.post(
                Usage(
                    role=self._role,
                    provider=provider,
                    model=model,
                    unit=unit,
                    quantity=quantity,
                    estimated=estimated,
                    turn=self._turn,
                    generation=self._generation,
                    utterance=self.utterance,
                )
            )


def explain(error: AllFailed | ProviderError) -> str:
    """What a person reads about a reply that did not come."""
    if isinstance(error, ProviderError):
        return error.message
    return "; ".join(_attempt(attempt) for attempt in error.attempts) or "no provider is configured"


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.provider}: {attempt.error.message}"


@dataclass(frozen=True, slots=True)
class _Hosted:
    fence: int
    task: asyncio.Task[None]


class StageWorker:
    """One process of a role. Sessions come by claim; each runs as an actor of its own."""

    def __init__(
        self,
        *,
        role: Stage,
        worker: str,
        bus: Bus,
        configs: ConfigStorage,
        pool: Pool,
        deadlines: Deadlines,
        metrics: Metrics,
        make: Callable[[Seat], StageActor],
    ) -> None:
        self.role = role
        self.worker = worker
        self.address = ""
        self.providers: tuple[str, ...] = ()
        self.draining = False
        self._bus = bus
        self._configs = configs
        self._pool = pool
        self._deadlines = deadlines
        self._metrics = metrics
        self._make = make
        self._hosted: dict[str, _Hosted] = {}

    @property
    def sessions(self) -> int:
        return len(self._hosted)

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """Serve until `stop`, then wait until others have the sessions: `grace` seconds at most."""
        claims = await self._bus.serve(subjects.worker_claim(self.worker), self._claimed)
        beating = asyncio.create_task(self._beat())
        await stop.wait()
        self.draining = True
        await self._say_beat(0.0)
        if self._hosted:
            await self._hand_over(grace)
        await claims.close()
        beating.cancel()
        await self._bus.publish(subjects.WORKER_GONE, msgspec.json.encode({"id": self.worker}))
        for task in (tasks := self._tasks()):
            task.cancel()
        await asyncio.gather(beating, *tasks, return_exceptions=True)

    async def _hand_over(self, grace: float) -> None:
        """The transports take the sessions away when nobody speaks; without another worker none is waited for."""
        loop = asyncio.get_running_loop()
        end, alone_since = loop.time() + grace, loop.time()
        others = Roster()
        subscription = await self._bus.subscribe(
            subjects.worker_beat(self.role), lambda _, beat, __: others.hear(_read(beat), loop.time())
        )
        while self._hosted and loop.time() < min(end, alone_since + ALONE):
            await asyncio.wait(self._tasks(), timeout=BEAT)
            others.lost(loop.time())
            if others.has_another(self.role):
                alone_since = loop.time()
        await subscription.close()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [hosted.task for hosted in self._hosted.values()]

    async def _beat(self) -> None:
        used, at = time.process_time(), time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            now_used, now = time.process_time(), time.monotonic()
            self._metrics.loop_lag.set(max(0.0, now - at - BEAT))
            await self._say_beat((now_used - used) / (now - at))
            used, at = now_used, now

    async def _say_beat(self, load: float) -> None:
        beat = Beat(
            id=self.worker,
            role=self.role,
            sessions=self.sessions,
            load=round(load, 3),
            providers=self.providers,
            draining=self.draining,
            address=self.address,
        )
        self._metrics.sessions.set(self.sessions)
        await self._bus.publish(subjects.worker_beat(self.role), msgspec.json.encode(beat))

    # -- sessions -----------------------------------------------------------------------------------------

    async def _claimed(self, payload: bytes) -> bytes:
        try:
            claim = msgspec.json.decode(payload, type=Claim)
            answer = await self._take(claim)
        except (msgspec.MsgspecError, BusError, ConfigError) as error:
            answer = Taken(ok=False, error=str(error) or type(error).__name__)
        return msgspec.json.encode(answer)

    async def _take(self, claim: Claim) -> Taken:
        if self.draining:
            return Taken(ok=False, error="draining")
        writer = await self._bus.take_fence(
            claim.session, self.role, owner=self.worker, epoch=claim.epoch, expected=claim.expected
        )
        held = self._hosted.get(claim.session)
        if held and held.fence > writer.fence_sequence:
            return Taken(ok=False, error="a newer claim was answered first")
        if held:
            held.task.cancel()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._host(claim, writer, ready))
        self._hosted[claim.session] = _Hosted(writer.fence_sequence, task)
        task.add_done_callback(lambda task: self._left(claim.session, task, ready))
        await ready
        return Taken(ok=True)

    def _left(self, session: str, task: asyncio.Task[None], ready: "asyncio.Future[None]") -> None:
        hosted = self._hosted.get(session)
        if hosted and hosted.task is task:
            del self._hosted[session]
        if not ready.done():
            ready.set_exception(BusError("the session was given away while it was opened"))

    async def _host(self, claim: Claim, writer: Writer, ready: "asyncio.Future[None]") -> None:
        """Run the session's actor. One that breaks gives the stage back: who claims it anew knows what was played."""
        try:
            actor = self._make(await self._seat(claim, writer))
            actor.ready.add_done_callback(lambda _: _tell(ready))
            await actor.run()
        except Fenced:
            return
        except Exception as error:  # noqa: BLE001  # the outermost loop: one session's fault stays its own
            self._metrics.actor_failures.inc()
            log.exception("session's actor failed", extra={"session": claim.session})
            if not ready.done():
                ready.set_exception(BusError(f"the session could not be opened: {type(error).__name__}"))
                return
            left = Left(session=claim.session, stage=self.role, epoch=writer.epoch)
            await self._bus.publish(subjects.WORKER_LEFT, msgspec.json.encode(left))

    async def _seat(self, claim: Claim, writer: Writer) -> Seat:
        return Seat(
            claim=claim,
            worker=self.worker,
            writer=writer,
            bus=self._bus,
            pool=self._pool,
            deadlines=self._deadlines,
            metrics=self._metrics,
            setup=await find_setup(claim.session, self._configs, self._bus),
        )


def _read(beat: bytes) -> Beat:
    return msgspec.json.decode(beat, type=Beat)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
