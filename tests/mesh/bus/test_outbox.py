"""Appends on a real NATS: each is stored once and in order, whatever becomes of the server."""

import asyncio
from pathlib import Path

import pytest

from mesh.bus.client import Bus
from mesh.events import SpeechStarted
from mesh.subjects import Stage
from tests.mesh.bus.ear import Ear
from tests.servers import running_nats

pytestmark = pytest.mark.nats


async def test_a_repeated_append_is_stored_once(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    waiting = await writer.post(SpeechStarted(utterance=1, sample=0))
    (append,) = bus._outbox._appends.values()
    await bus._outbox._send(append)
    await waiting
    await writer.append(SpeechStarted(utterance=2, sample=0))
    assert len([s for s in await bus.history(session) if s.type == "speech.started"]) == 2


async def test_a_killed_server_loses_no_event(tmp_path: Path, session: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url) as bus:
            await bus.ensure_streams()
            ear = Ear()
            feed = await bus.feed(session, ear)
            writer = await bus.take_fence(session, Stage.STT, owner="a")
            waiting = [await writer.post(SpeechStarted(utterance=n, sample=0)) for n in range(50)]
            server.kill()
            waiting += [await writer.post(SpeechStarted(utterance=n, sample=0)) for n in range(50, 80)]
            server.start()
            async with asyncio.timeout(15):
                await asyncio.gather(*waiting)
            heard = [
                stored.event.utterance for stored in await ear.count(80) if isinstance(stored.event, SpeechStarted)
            ]
            await feed.close()
    assert heard == list(range(80))


async def test_events_keep_their_order_through_a_restart(tmp_path: Path, session: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url) as bus:
            await bus.ensure_streams()
            writer = await bus.take_fence(session, Stage.STT, owner="a")
            server.kill()
            waiting = [await writer.post(SpeechStarted(utterance=1, sample=0))]
            server.start()
            async with asyncio.timeout(10):
                while not bus.is_connected:  # noqa: ASYNC110  # nobody tells of it
                    await asyncio.sleep(0)
                waiting.append(await writer.post(SpeechStarted(utterance=2, sample=0)))
                first, second = await asyncio.gather(*waiting)
    assert first < second
