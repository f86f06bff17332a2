"""Which worker plays which stage of which session: claims, lost workers, and the next one. The transport's side."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from mesh import subjects
from mesh.bus import Bus, BusError, NobodyThere, Subscription
from mesh.roster import BEAT, Beat, Roster
from mesh.subjects import Stage
from workers.stage import Claim, Taken

log = logging.getLogger(__name__)

CLAIM_SECONDS = 3.0
"""For a worker to open the session; a provider's slow handshake is part of it."""


class Gone(msgspec.Struct, frozen=True):
    id: str


@dataclass(eq=False, slots=True)
class Part:
    """A stage of a session in the hands of a worker, until that is lost."""

    worker: str
    epoch: int
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class Casting:
    """Hears the workers' heartbeats and gives them sessions."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.roster = Roster()
        self._parts: set[Part] = set()
        self._subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()

    async def open(self) -> None:
        for stage in (Stage.STT, Stage.LLM, Stage.TTS):
            self._subscriptions.append(await self._bus.subscribe(subjects.worker_beat(stage), self._beat))
        self._subscriptions.append(await self._bus.subscribe(subjects.WORKER_GONE, self._gone))

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

    def _gone(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self._lose(msgspec.json.decode(payload, type=Gone).id)

    def _lose(self, worker: str) -> None:
        self.roster.gone(worker)
        for part in self._parts:
            if part.worker == worker:
                part.lost.set()

    @asynccontextmanager
    async def cast(self, stage: Stage, claim: Callable[[], Claim]) -> AsyncIterator[Part]:
        """Find a worker that takes the stage; waits while there is none. `claim` is asked anew for each worker."""
        part = await self._find(stage, claim)
        self._parts.add(part)
        if not self.roster.is_there(part.worker):
            part.lost.set()  # it was lost while it answered
        try:
            yield part
        finally:
            self._parts.discard(part)

    async def _find(self, stage: Stage, claim: Callable[[], Claim]) -> Part:
        refused: set[str] = set()
        while True:
            worker = self.roster.pick(stage, exclude=refused)
            if worker is None:
                refused.clear()
                await self._wait_for_workers()
                continue
            if taken := await self._claim(worker, claim()):
                return Part(worker, taken.epoch)
            refused.add(worker)

    async def _claim(self, worker: str, claim: Claim) -> Taken | None:
        try:
            payload = msgspec.json.encode(claim)
            answer = await self._bus.request(subjects.worker_claim(worker), payload, within=CLAIM_SECONDS)
            taken = msgspec.json.decode(answer, type=Taken)
        except NobodyThere:
            self._lose(worker)
            return None
        except (BusError, msgspec.MsgspecError) as error:
            log.warning("claim was not answered", extra={"worker": worker, "error": repr(error)})
            return None
        if not taken.ok:
            log.warning("claim was refused", extra={"worker": worker, "error": taken.error})
            return None
        return taken

    async def _wait_for_workers(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(1):
                await self._changed.wait()
        except TimeoutError:
            pass
