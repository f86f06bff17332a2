"""People at the transport's door: an owner with a key, and whoever comes without one."""

from collections.abc import AsyncIterator

import pytest

from mesh.bus.client import Bus
from mesh.store import Valkey
from tests.workers.desks import KEY, STRANGER, Front, front
from tests.workers.stages import Cast
from workers.casting import Casting
from workers.settings import Settings


@pytest.fixture
async def deployed(valkey_url: str) -> AsyncIterator[Front]:
    """A deployment: keys are needed. The client has the owner's."""
    async with front(valkey_url, Settings(public_url="https://calls.example"), {"X-API-Key": KEY}) as opened:
        yield opened


@pytest.fixture
async def embedded(valkey_url: str) -> AsyncIterator[Front]:
    """What `make up` starts; the client sends no key."""
    async with front(valkey_url, Settings(embedded=True), {}) as opened:
        yield opened


@pytest.fixture
def stranger() -> dict[str, str]:
    """A key of another workspace."""
    return {"X-API-Key": STRANGER}


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_url, "test") as bus:
        await bus.ensure_streams()
        yield bus


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Valkey]:
    valkey = Valkey(valkey_url)
    yield valkey
    await valkey.close()


@pytest.fixture
async def cast(bus: Bus, valkey: Valkey) -> AsyncIterator[Cast]:
    """Nobody is employed yet."""
    casting = Casting(bus)
    await casting.open()
    yield Cast(bus, valkey, casting)
    await casting.close()
