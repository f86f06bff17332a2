"""The transports tell each other, and the system's page, that they are there and how busy they are."""

import asyncio
import time
from collections.abc import Mapping, Sized

import msgspec

from mesh import subjects
from mesh.bus.client import Bus
from mesh.roster import BEAT, Beat, Roster
from workers.metrics import Metrics


class Presence:
    def __init__(self, *, worker: str, bus: Bus, metrics: Metrics, calls: Sized) -> None:
        self._worker = worker
        self._bus = bus
        self._metrics = metrics
        self._calls = calls
        self._others = Roster()
        self.draining = False
        """This process is being stopped."""

    async def open(self) -> None:
        self._beats = await self._bus.subscribe(subjects.worker_beat("transport"), self._hear)

    async def close(self) -> None:
        await self._beats.close()

    def _hear(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        beat = msgspec.json.decode(payload, type=Beat)
        if beat.id != self._worker:
            self._others.hear(beat, time.monotonic())

    def has_company(self) -> bool:
        """Another transport is there that takes calls."""
        self._others.lost(time.monotonic())
        return self._others.has_another("transport")

    async def beat(self, address: str) -> None:
        """As long as the process runs."""
        used, at = time.process_time(), time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            now_used, now = time.process_time(), time.monotonic()
            self._metrics.loop_lag.set(max(0.0, now - at - BEAT))
            self._metrics.sessions.set(len(self._calls))
            load = round((now_used - used) / (now - at), 3)
            beat = Beat(
                id=self._worker,
                role="transport",
                sessions=len(self._calls),
                load=load,
                draining=self.draining,
                address=address,
            )
            await self._bus.publish(subjects.worker_beat("transport"), msgspec.json.encode(beat))
            used, at = now_used, now
