"""A connected bus, and the name of a session of one's own."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from mesh.bus.client import Bus


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_url, "test") as bus:
        await bus.ensure_streams()
        yield bus


@pytest.fixture
def session() -> str:
    return str(uuid4())
