"""The streams that hold events."""

import pytest

from mesh.bus.client import Bus
from mesh.events import SpeechStarted
from mesh.subjects import Stage

pytestmark = pytest.mark.nats


async def test_a_purged_session_is_gone(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    await writer.append(SpeechStarted(utterance=1, sample=0))
    await bus.purge_session(session)
    assert await bus.history(session) == []
    assert await bus.last_fence(session, Stage.STT) is None
