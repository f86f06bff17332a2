"""Which worker plays which stage of which session: claims, lost workers, and the next one. The transport's side."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from mesh.bus.messages import Subscription
from mesh.roster import BEAT, Beat, Roster
from mesh.subjects import Stage
from workers.stage import Claim, Left, Taken

log = logging.getLogger(__name__)

CLAIM_SECONDS = 3.0
"""For a worker to open the session; a provider's slow handshake is part of it."""


class Gone(msgspec.Struct, frozen=True):
    id: str


@dataclass(eq=False, slots=True)
class Part:
    """A stage of a session in the hands of a worker."""

    session: str
    stage: Stage
    worker: str
    epoch: int
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """The worker has it no more, or is no more."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """The worker wants to leave, and another one is there: time to give the stage to that when nobody speaks."""

    async def until_given_up(self, resting: asyncio.Event) -> None:
        """It is lost, or its worker wants to leave and nobody has the floor."""

        async def handed_over() -> None:
            await self.leaving.wait()
            await resting.wait()

        waits = [asyncio.create_task(wait) for wait in (self.lost.wait(), handed_over())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Casting:
    """Hears the workers' heartbeats and gives them sessions."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.roster = Roster()
        self._parts: set[Part] = set()
        self._broken: dict[tuple[str, Stage], set[str]] = {}
        """Workers that gave a stage of a session back: it is offered to the others first, and to them after a pause."""
        self._subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()

    async def open(self) -> None:
        for stage in (Stage.STT, Stage.LLM, Stage.TTS):
            self._subscriptions.append(await self._bus.subscribe(subjects.worker_beat(stage), self._beat))
        self._subscriptions.append(await self._bus.subscribe(subjects.WORKER_GONE, self._gone))
        self._subscriptions.append(await self._bus.subscribe(subjects.WORKER_LEFT, self._left))

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()

    async def watch(self) -> None:
        """Notice the workers whose heartbeats have stopped."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(BEAT)
            if not self._bus.is_connected or loop.time() - before > 2 * BEAT:
                self._forgive(loop.time())  # it is we who did not hear them
            for worker in self.roster.lost(loop.time()):
                log.warning("worker is lost", extra={"worker": worker})
                self._lose(worker)

    def _forgive(self, now: float) -> None:
        for beat in [beat for stage in Stage for beat in self.roster.workers(stage)]:
            self.roster.hear(beat, now)

    def _beat(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        beat = msgspec.json.decode(payload, type=Beat)
        known = self.roster.is_there(beat.id)
        self.roster.hear(beat, asyncio.get_running_loop().time())
        if not known:
            self._changed.set()
        if beat.draining and self.roster.has_another(beat.role):
            for part in self._parts:
                if part.worker == beat.id:
                    part.leaving.set()

    def _gone(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self._lose(msgspec.json.decode(payload, type=Gone).id)

    def _left(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        left = msgspec.json.decode(payload, type=Left)
        for part in self._parts:
            if (part.session, part.stage, part.epoch) == (left.session, left.stage, left.epoch):
                self._broken.setdefault((part.session, part.stage), set()).add(part.worker)
                part.lost.set()

    def _lose(self, worker: str) -> None:
        self.roster.gone(worker)
        for part in self._parts:
            if part.worker == worker:
                part.lost.set()

    @asynccontextmanager
    async def cast(self, stage: Stage, claim: Callable[[], Claim]) -> AsyncIterator[Part]:
        """Find a worker that takes the stage; waits while there is none. `claim` is asked anew for each worker."""
        part: Part | None = None
        try:
            part = await self._find(stage, claim)
            if not self.roster.is_there(part.worker):
                part.lost.set()  # before it was asked
            yield part
        finally:
            if part:
                self._parts.discard(part)
            if part is None or not part.lost.is_set():
                self._broken.pop((claim().session, stage), None)

    async def _find(self, stage: Stage, claim: Callable[[], Claim]) -> Part:
        key = (claim().session, stage)
        refused = set(self._broken.get(key, ()))
        while True:
            worker = self.roster.pick(stage, exclude=refused)
            if worker is None:
                self._broken.pop(key, None)
                refused.clear()
                await self.wait_for_workers()
            elif part := await self._claim(worker, stage, claim):
                return part
            else:
                refused.add(worker)

    async def _claim(self, worker: str, stage: Stage, claim: Callable[[], Claim]) -> Part | None:
        """None when the worker does not take it. Whether it is lost, only its heartbeats say."""
        part: Part | None = None
        taken = False
        try:
            asked = await self._expecting(stage, claim)
            part = Part(asked.session, stage, worker, asked.epoch)
            self._parts.add(part)  # it may be lost while it answers
            taken = await self._ask(worker, asked)
        except (BusError, msgspec.MsgspecError) as error:
            log.warning("claim was not answered", extra={"worker": worker, "error": repr(error)})
        finally:
            if part and not taken:
                self._parts.discard(part)
        return part if taken else None

    async def _ask(self, worker: str, claim: Claim) -> bool:
        payload = msgspec.json.encode(claim)
        answer = await self._bus.request(subjects.worker_claim(worker), payload, within=CLAIM_SECONDS)
        taken = msgspec.json.decode(answer, type=Taken)
        if not taken.ok:
            log.warning("claim was refused", extra={"worker": worker, "error": taken.error})
        return taken.ok

    async def _expecting(self, stage: Stage, claim: Callable[[], Claim]) -> Claim:
        """The claim of what is the stage's last fence now: should it come late, it finds another one and is refused."""
        last = await self._bus.last_fence(claim().session, stage)
        epoch, expected = (last.epoch + 1, last.sequence) if last else (1, 0)
        return msgspec.structs.replace(claim(), epoch=epoch, expected=expected)

    async def wait_for_workers(self) -> None:
        """Until another worker is there, for a second at most."""
        self._changed.clear()
        try:
            async with asyncio.timeout(1):
                await self._changed.wait()
        except TimeoutError:
            pass
