"""Giving stages to workers: who is asked, and who counts as lost."""

import msgspec
import pytest

from mesh import subjects
from mesh.bus.client import Bus
from mesh.roster import Beat
from mesh.subjects import Stage
from tests.workers.stages import Cast, begin_session, claim

pytestmark = pytest.mark.nats


async def test_a_worker_that_beats_is_not_lost(cast: Cast, bus: Bus) -> None:
    """A claim that finds nobody says nothing of its other sessions: only heartbeats do."""
    session = await begin_session(bus)
    await bus.publish(subjects.worker_beat(Stage.LLM), msgspec.json.encode(Beat(id="deaf", role="llm")))
    async with cast.worker("a") as worker, cast.casting.cast(Stage.LLM, claim(session)) as part:
        assert part.worker == worker.name
        assert cast.casting.roster.is_there("deaf")
