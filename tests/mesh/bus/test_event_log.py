"""What is stored and read back."""

import pytest

from mesh.bus.client import Bus
from mesh.events import SpeechStarted
from mesh.subjects import Stage

pytestmark = pytest.mark.nats


async def test_an_event_is_stored_and_read_back(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    sequence = await writer.append(SpeechStarted(utterance=1, sample=800))
    *_, stored = await bus.history(session)
    assert (stored.sequence, stored.event) == (sequence, SpeechStarted(utterance=1, sample=800))
