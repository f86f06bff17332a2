"""`manage.py bridge` as a process: what a crash leaves behind, and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh import events
from mesh.bus.client import Bus
from mesh.bus.errors import NobodyThere
from mesh.subjects import BRIDGE_AGENT, Stage
from sessions_app.models import Session, TranscriptEntry, Turn, Usage
from tests.databases import database_url
from tests.servers import RunningServer
from tests.sessions_app.stories import created, ended, final, played, usage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("workspace")]

CALLS = 20
TURNS = 10
SOON = 30.0
ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def bridge(nats: RunningServer, valkey_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    servers = {"DATABASE_URL": database_url(), "NATS_URL": nats.url, "VALKEY_URL": valkey_url}
    environment = {**os.environ, **servers, "LOG_LEVEL": "warning"}
    process = await asyncio.create_subprocess_exec(sys.executable, "manage.py", "bridge", env=environment, cwd=ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_it_answers(bus: Bus) -> None:
    async with asyncio.timeout(SOON):
        while True:
            try:
                await bus.request(BRIDGE_AGENT, b"{}", within=1)
                return
            except NobodyThere:
                await bus.round_trip()


async def have_calls(bus: Bus) -> None:
    async with asyncio.TaskGroup() as calls:
        for number in range(CALLS):
            calls.create_task(have_call(bus, f"call-{number}"))


async def have_call(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.SESSION, owner="t")
    ear = await bus.take_fence(session, Stage.STT, owner="stt")
    await writer.append(created())
    for turn in range(1, TURNS + 1):
        await ear.append(final(f"Question {turn}.", turn))
        await writer.append(ended(turn, f"Question {turn}."))
        await ear.append(usage())
        await writer.append(played(1, f"Answer {turn}.", turn=turn, generation=turn))
    await writer.append(events.SessionEnded(reason="hangup"))


async def stop(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(SOON):
        return await process.wait()


async def test_a_killed_bridge_loses_and_doubles_nothing(own_nats: RunningServer, valkey_url: str, bus: Bus) -> None:
    async with bridge(own_nats, valkey_url) as first:
        await until_it_answers(bus)
        calls = asyncio.create_task(have_calls(bus))
        async with asyncio.timeout(SOON):
            while not await TranscriptEntry.objects.aexists():
                pass
        first.kill()
        await calls
    async with bridge(own_nats, valkey_url) as second:
        await until_it_answers(bus)
        assert await stop(second) == 0
    rows = [await model.objects.acount() for model in (Session, Turn, TranscriptEntry, Usage)]
    assert rows == [CALLS, CALLS * TURNS, CALLS * TURNS * 2, CALLS * TURNS]


async def test_a_bridge_that_is_asked_to_stop_writes_all(own_nats: RunningServer, valkey_url: str, bus: Bus) -> None:
    async with bridge(own_nats, valkey_url) as process:
        await until_it_answers(bus)
        await have_call(bus, "s1")
        assert await stop(process) == 0
    assert (await Session.objects.aget()).reason == "hangup"
