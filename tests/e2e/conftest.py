"""The whole system, started once for all end-to-end tests."""

import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from mesh.bus.client import Bus
from tests import speech
from tests.e2e.conversations import DEADLINE, MS_PER_CHAR, SPECTATOR, WORKERS, Gauges, others_than
from tests.unsupervised import System, document, running_system

SETTINGS: dict[str, Any] = {
    "MESHAG_MEDIA_SECONDS": "3",  # less than a story takes
    "MESHAG_TRANSCRIPT_SECONDS": str(DEADLINE),
    "MESHAG_FIRST_TOKEN_SECONDS": str(DEADLINE),
    "MESHAG_FIRST_AUDIO_SECONDS": str(DEADLINE),
}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    speech.speak_all()
    directory = tmp_path_factory.mktemp("system") / "data"
    async with running_system(directory, bridge=True, ms_per_char=MS_PER_CHAR, **SETTINGS) as system:
        system.import_agent("desk", document())
        yield system


@pytest_asyncio.fixture(loop_scope="package")
async def system(running: System) -> AsyncIterator[System]:
    """The system with prompt providers that have seen nothing, whatever the test before made of them."""
    async with running.client.delete(f"{running.standins.url}/_requests") as response:
        response.raise_for_status()
    await running.standins.calm()
    yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def bus(running: System) -> AsyncIterator[Bus]:
    """A look at what crosses the processes."""
    async with await Bus.connect(running.nats.url, SPECTATOR) as bus:
        yield bus


@pytest_asyncio.fixture(loop_scope="package")
async def alone(system: System, bus: Bus) -> AsyncIterator[None]:
    """One worker of each role: the second ones are frozen, and known to be away."""
    frozen = [system.processes[f"{role}-2"] for role in WORKERS]
    async with Gauges.of(bus) as gauges:
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            await gauges.until(lambda: others_than(system, 1))
            yield
        finally:
            for process in frozen:
                process.send_signal(signal.SIGCONT)
            await gauges.until(lambda: others_than(system, 2))
