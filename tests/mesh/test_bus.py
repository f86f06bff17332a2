"""The bus on a real NATS: fences, appends, feeds, and what a killed server leaves of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from mesh import subjects
from mesh.bus import Bus, Fenced, NobodyThere, Unreachable
from mesh.events import ReplyDone, SpeechStarted, Stored, TurnStarted
from mesh.subjects import Stage
from meshag_site.ports import free_port
from tests.servers import running_nats

pytestmark = pytest.mark.nats


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_url, "test") as bus:
        await bus.ensure_streams()
        yield bus


@pytest.fixture
def session() -> str:
    return str(uuid4())


class Ear:
    """Keeps what a feed delivers and waits for more."""

    def __init__(self) -> None:
        self.heard: list[Stored] = []
        self._stirred = asyncio.Event()

    def __call__(self, stored: Stored) -> None:
        self.heard.append(stored)
        self._stirred.set()

    async def count(self, wanted: int) -> list[Stored]:
        async with asyncio.timeout(10):
            while len(self.heard) < wanted:
                self._stirred.clear()
                await self._stirred.wait()
        return self.heard


async def test_an_event_is_stored_and_read_back(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    sequence = await writer.append(SpeechStarted(utterance=1, sample=800))
    *_, stored = await bus.history(session)
    assert (stored.sequence, stored.event) == (sequence, SpeechStarted(utterance=1, sample=800))


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


async def test_a_replaced_owner_is_refused(bus: Bus, session: str) -> None:
    old = await bus.take_fence(session, Stage.TTS, owner="a")
    new = await bus.take_fence(session, Stage.TTS, owner="b")
    with pytest.raises(Fenced):
        await old.append(ReplyDone(turn=1, generation=1, sentences=0))
    assert new.epoch == old.epoch + 1
    assert await new.append(ReplyDone(turn=1, generation=1, sentences=0))


async def test_of_two_takers_one_is_refused(bus: Bus, session: str) -> None:
    takers = [bus.take_fence(session, Stage.LLM, owner=name) for name in "abcd"]
    results = await asyncio.gather(*takers, return_exceptions=True)
    assert sum(isinstance(result, Fenced) for result in results) >= 1
    fences = [stored for stored in await bus.read(subject=f"fence.{session}.*")]
    assert [fence.epoch for fence in fences] == list(range(1, len(fences) + 1))


async def test_a_repeated_append_is_stored_once(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    waiting = await writer.post(SpeechStarted(utterance=1, sample=0))
    (append,) = bus._appends.values()
    await bus._send(append)
    await waiting
    await writer.append(SpeechStarted(utterance=2, sample=0))
    assert len([s for s in await bus.history(session) if s.type == "speech.started"]) == 2


async def test_nobody_there_is_told_at_once(bus: Bus) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(NobodyThere):
            await bus.request("worker.claim.nobody", b"", within=5)


async def test_a_request_is_answered(bus: Bus) -> None:
    async def shout(payload: bytes) -> bytes:
        return payload.upper()

    subscription = await bus.serve(f"shout.{uuid4().hex}", shout)
    assert await bus.request(subscription._inner.subject, b"hello", within=2) == b"HELLO"


async def test_a_finished_server_answers_what_is_on_its_way(bus: Bus, nats_url: str) -> None:
    async def agree(payload: bytes) -> bytes:
        return b"yes"

    subject = f"ask.{uuid4().hex}"
    serving = await bus.serve(subject, agree, queue="askers")
    async with await Bus.connect(nats_url) as client:
        questions = [asyncio.create_task(client.request(subject, b"?", within=2)) for _ in range(200)]
        await client.round_trip()
        await serving.finish()
        answers = await asyncio.gather(*questions, return_exceptions=True)
    assert {answer if isinstance(answer, bytes) else type(answer) for answer in answers} <= {b"yes", NobodyThere}


async def test_no_server_is_a_clear_error() -> None:
    with pytest.raises(Unreachable, match="NATS_URL"):
        await Bus.connect(f"nats://127.0.0.1:{free_port()}")


async def test_an_error_tells_no_password() -> None:
    with pytest.raises(Unreachable) as refused:
        await Bus.connect(f"nats://user:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(refused.value)


async def test_a_purged_session_is_gone(bus: Bus, session: str) -> None:
    writer = await bus.take_fence(session, Stage.STT, owner="a")
    await writer.append(SpeechStarted(utterance=1, sample=0))
    await bus.purge_session(session)
    assert await bus.history(session) == []
    assert await bus.last_fence(session, Stage.STT) is None


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


async def test_a_late_taker_is_refused(bus: Bus, session: str) -> None:
    known = await bus.last_fence(session, Stage.LLM)
    await bus.take_fence(session, Stage.LLM, owner="quick", expected=0)
    with pytest.raises(Fenced):
        await bus.take_fence(session, Stage.LLM, owner="late", expected=known.sequence if known else 0)


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


async def test_an_answer_does_not_undo_a_cancellation(bus: Bus) -> None:
    """Both in the same moment: who was cancelled must not go on with the answer."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        asked.set()
        await go.wait()
        return b"too late"

    subject = f"test.{uuid4()}"
    await bus.serve(subject, answer)
    asking = asyncio.create_task(bus.request(subject, b"", within=2))
    await asked.wait()
    for waiting in bus._client._resp_map.values():
        waiting.add_done_callback(lambda _: asking.cancel())
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_feed_that_cannot_open_leaves_nothing(tmp_path: Path, session: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url) as bus:
            with pytest.raises(Unreachable):  # no stream is there
                await bus.feed(session, Ear())
            with pytest.raises(NobodyThere):
                await bus.request(subjects.live(subjects.canonical(Stage.STT, session)), b"", within=1)
