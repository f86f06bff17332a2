"""Fences and the pens of their owners: only who holds a stage's newest fence may append to it."""

import asyncio
import time

from mesh import events, subjects
from mesh.bus.event_log import EventLog
from mesh.bus.outbox import Outbox
from mesh.events import Event
from mesh.subjects import Stage


class Writer:
    """The pen of a stage's owner. Appends are refused (Fenced) as soon as somebody else has taken the stage."""

    def __init__(self, outbox: Outbox, session: str, stage: Stage, epoch: int, fence_sequence: int) -> None:
        self._outbox = outbox
        self._subject = subjects.canonical(stage, session)
        self._guard = {
            "Nats-Expected-Last-Subject-Sequence": str(fence_sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": subjects.fence(session, stage),
        }
        self._n = 0
        self.session = session
        self.stage = stage
        self.epoch = epoch
        self.fence_sequence = fence_sequence

    async def append(self, event: Event) -> int:
        """Store an event and wait for its sequence; raises Fenced. Waits out outages, so bound it where it matters."""
        return await (await self.post(event))

    async def post(self, event: Event) -> "asyncio.Future[int]":
        """Send an event on its way, in order; the future tells its sequence or raises Fenced."""
        self._n += 1
        payload = events.encode(
            event, session=self.session, stage=self.stage, epoch=self.epoch, n=self._n, at=time.time()
        )
        message_id = events.event_id(self.session, self.stage, self.epoch, self._n)
        return await self._outbox.append(self._subject, payload, {**self._guard, "Nats-Msg-Id": message_id})


async def take_fence(
    outbox: Outbox, log: EventLog, session: str, stage: Stage, *, owner: str, epoch: int, expected: int | None
) -> Writer:
    """Become the owner of a stage. Of two takers one gets Fenced. `epoch` is the least that will do.

    `expected`: the sequence of the fence that is to be replaced (0: the first one); None: whatever is the last.
    """
    subject = subjects.fence(session, stage)
    if expected is None:
        last = await log.last(subject)
        expected = last.sequence if last else 0
        epoch = max(epoch, last.epoch + 1 if last else 1)
    event = events.Fence(owner=owner, epoch=epoch)
    payload = events.encode(event, session=session, stage=stage, epoch=epoch, n=0, at=time.time())
    headers = {
        "Nats-Msg-Id": f"{events.event_id(session, stage, epoch, 0)}:{owner}",
        "Nats-Expected-Last-Subject-Sequence": str(expected),
    }
    sequence = await (await outbox.append(subject, payload, headers))
    return Writer(outbox, session, stage, epoch, sequence)
