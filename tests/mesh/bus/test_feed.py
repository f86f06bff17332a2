"""Feeds: history, then the live end, with nothing missed."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import NobodyThere, Unreachable
from mesh.events import ReplyDone, SpeechStarted, Stored, TurnStarted
from mesh.subjects import Stage
from tests.mesh.bus.ear import Ear
from tests.servers import running_nats

pytestmark = pytest.mark.nats


@pytest.mark.accepts("M69", "M87")
async def test_live_events_arrive_after_they_are_stored(bus: Bus, session: str) -> None:
    ear = Ear()
    feed = await bus.feed(session, ear)
    writer = await bus.take_fence(session, Stage.LLM, owner="a")
    sequences = [await writer.append(ReplyDone(turn=n, generation=n, sentences=0)) for n in range(20)]
    assert [stored.sequence for stored in await ear.count(20)] == sequences
    await feed.close()


async def test_a_feed_begins_with_history(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.SESSION, owner="a")
    first = await writer.append(TurnStarted(turn=1))
    ear = Ear()
    feed = await bus.feed(session, ear)
    second = await writer.append(TurnStarted(turn=2))
    assert [stored.sequence for stored in await ear.count(2)] == [first, second]
    await feed.close()


async def test_a_copy_missed_while_reading_is_found(bus: Bus, session: str) -> None:
    """An event is stored after the read, and its live copy is lost; the next one on its subject tells."""
    ear = Ear()
    stt = await bus.take_fence(session, Stage.STT, owner="a")
    llm = await bus.take_fence(session, Stage.LLM, owner="a")
    feed = await bus.feed(session, ear)
    assert feed._subscription
    await feed._subscription.close()  # nothing arrives by itself
    lost = await stt.append(SpeechStarted(utterance=1, sample=0))
    other = await llm.append(ReplyDone(turn=1, generation=1, sentences=0))
    later = await stt.append(SpeechStarted(utterance=2, sample=0))
    stored = {one.sequence: one for one in await bus.history(session)}
    feed._take(stored[other], 0)
    feed._take(stored[later], lost)
    assert {one.sequence for one in await ear.count(3)} == {lost, other, later}
    await feed.close()


async def test_a_feed_that_cannot_open_leaves_nothing(tmp_path: Path, session: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url) as bus:
            with pytest.raises(Unreachable):  # no stream is there
                await bus.feed(session, Ear())
            with pytest.raises(NobodyThere):
                await bus.request(subjects.live(subjects.canonical(Stage.STT, session)), b"", within=1)


async def test_follow_yields_every_session(bus: Bus) -> None:
    start = max([stored.sequence for stored in await bus.read(limit=10_000)], default=0)
    sessions = [str(uuid4()) for _ in range(3)]
    for session in sessions:
        await (await bus.take_fence(session, Stage.STT, owner="a")).append(SpeechStarted(utterance=1, sample=0))
    seen: list[Stored] = []
    async with asyncio.timeout(5):
        async for batch in bus.follow(after=start):
            seen += [stored for stored in batch if stored.type == "speech.started"]
            if len(seen) == 3:
                break
    assert [stored.session for stored in seen] == sessions
