"""The whole system, started once for all end-to-end tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mesh.bus import Bus
from tests import speech
from tests.e2e.conversations import MS_PER_CHAR
from tests.providers.steering import Route
from tests.unsupervised import System, document, running_system

MEDIA_SECONDS = "3"
"""The media streams forget after less time than a story takes."""


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    speech.speak_all()
    directory = tmp_path_factory.mktemp("system") / "data"
    async with running_system(
        directory, bridge=True, ms_per_char=MS_PER_CHAR, MESHAG_MEDIA_SECONDS=MEDIA_SECONDS
    ) as system:
        system.import_agent("desk", document())
        yield system


@pytest_asyncio.fixture(loop_scope="package")
async def system(running: System) -> AsyncIterator[System]:
    """The system with prompt providers that have seen nothing, whatever the test before made of them."""
    async with running.client.delete(f"{running.standins.url}/_requests") as response:
        response.raise_for_status()
    for route in Route:
        await running.standins.steer(route)
    yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def bus(running: System) -> AsyncIterator[Bus]:
    """A look at what crosses the processes."""
    async with await Bus.connect(running.nats.url, "spectator") as bus:
        yield bus
