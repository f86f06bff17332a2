"""Of two who want a stage, one may write."""

import asyncio

import pytest

from mesh.bus.client import Bus
from mesh.bus.errors import Fenced
from mesh.events import ReplyDone
from mesh.subjects import Stage

pytestmark = pytest.mark.nats


async def test_a_replaced_owner_is_refused(bus: Bus, session: str) -> None:
    old = await bus.take_fence(session, Stage.TTS, owner="a")
    new = await bus.take_fence(session, Stage.TTS, owner="b")
    with pytest.raises(Fenced):
        await old.append(ReplyDone(turn=1, generation=1, sentences=0))
    assert new.epoch == old.epoch + 1
    assert await new.append(ReplyDone(turn=1, generation=1, sentences=0))


async def test_of_two_takers_one_is_refused(bus: Bus, session: str) -> None:
    takers = [bus.take_fence(session, Stage.LLM, owner=name) for name in "abcd"]
    results = await asyncio.gather(*takers, return_exceptions=True)
    assert sum(isinstance(result, Fenced) for result in results) >= 1
    fences = [stored for stored in await bus.read(subject=f"fence.{session}.*")]
    assert [fence.epoch for fence in fences] == list(range(1, len(fences) + 1))


async def test_a_late_taker_is_refused(bus: Bus, session: str) -> None:
    known = await bus.last_fence(session, Stage.LLM)
    await bus.take_fence(session, Stage.LLM, owner="quick", expected=0)
    with pytest.raises(Fenced):
        await bus.take_fence(session, Stage.LLM, owner="late", expected=known.sequence if known else 0)
