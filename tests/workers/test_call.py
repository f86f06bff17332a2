"""One call, with a caller's wire and the workers' events made by hand."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import msgspec
import pytest

from mesh import audio, subjects
from mesh.bus.client import Bus
from mesh.config.document import Limits
from mesh.events import Event, Played, ReplyDone, ReplySentence, Stored, TurnEnded, TurnTimed
from mesh.roster import Beat
from mesh.subjects import Stage
from tests.workers.lines import DEADLINE, HandWire, Process, transport_process
from workers.media.wire import Audio, HungUp, Reason, Typed
from workers.stage import Taken

TEXT_ONLY = {
    "pipeline": {
        "name": "chat",
        "flow": [
            {"from": "transport", "to": "llm", "stream": "text"},
            {"from": "llm", "to": "transport", "stream": "text"},
        ],
    }
}


@pytest.fixture
async def one(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


@dataclass
class HandWorker:
    """A worker that says yes to every claim."""

    bus: Bus
    id: str
    role: Stage
    claimed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def of(cls, bus: Bus, name: str, role: Stage = Stage.LLM) -> AsyncIterator["HandWorker"]:
        worker = cls(bus, f"{name}-{uuid4().hex}", role)
        serving = await bus.serve(subjects.worker_claim(worker.id), worker._claim)
        yield worker
        await serving.close()
        await bus.publish(subjects.WORKER_GONE, msgspec.json.encode({"id": worker.id}))

    async def _claim(self, payload: bytes) -> bytes:
        self.claimed.set()
        return msgspec.json.encode(Taken(ok=True))

    async def beat(self, *, draining: bool = False) -> None:
        beat = Beat(id=self.id, role=self.role, providers=("openai",), draining=draining)
        await self.bus.publish(subjects.worker_beat(self.role), msgspec.json.encode(beat))


async def until(bus: Bus, session: str, kind: type[Event]) -> Stored:
    """The session's first event of that kind, as soon as it is there."""
    found: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

    def look(stored: Stored) -> None:
        if isinstance(stored.event, kind) and not found.done():
            found.set_result(stored)

    feed = await bus.feed(session, look)
    async with asyncio.timeout(DEADLINE):
        stored = await found
    await feed.close()
    return stored


async def reply(bus: Bus, session: str, *sentences: str) -> None:
    """What a model's worker says to the first turn."""
    writer = await bus.take_fence(session, Stage.LLM, owner="model")
    for number, text in enumerate(sentences):
        await writer.append(ReplySentence(turn=1, generation=1, sentence=number, text=text))
    await writer.append(ReplyDone(turn=1, generation=1, sentences=len(sentences)))
    await bus.round_trip()


async def test_a_reply_that_nobody_is_there_to_read_waits(one: Process) -> None:
    bus = one.transport.bus
    session = await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Hello?"))
    await until(bus, session, TurnEnded)
    wire.facts.put_nowait(HungUp(Reason.LOST))
    await reply(bus, session, "I am here.")
    returned_at = time.time()
    again = HandWire()
    one.answer(session, again)
    await again.until("reply")
    assert (await until(bus, session, Played)).at >= returned_at
    assert again.done[0] == "welcome"
    assert "reply" not in wire.done


async def test_a_typed_turn_is_timed(one: Process) -> None:
    bus = one.transport.bus
    session = await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Hello?"))
    await until(bus, session, TurnEnded)
    await reply(bus, session, "I am here.")
    timed = (await until(bus, session, TurnTimed)).event
    assert isinstance(timed, TurnTimed) and timed.turn == 1
    assert list(timed.marks) == ["turn_end", "first_sentence", "first_text"]
    assert all(0 <= ms < DEADLINE * 1000 for ms in timed.marks.values())


async def test_a_shorter_limit_holds_at_once(one: Process) -> None:
    session = await one.create()
    wire, call = await one.call(session)
    call.live_since -= 10
    shorter = call.config.model_copy(update={"limits": Limits(max_duration_s=10)})
    await one.transport.configs.store_config(session, shorter)
    wire.facts.put_nowait(Typed("Hello?"))
    await wire.until("ended")
    assert wire.told[-1] == {"type": "ended", "reason": "time_limit"}


async def test_a_leaving_worker_keeps_the_turn(one: Process) -> None:
    """Its stage goes to another one when the reply is over."""
    bus = one.transport.bus
    async with HandWorker.of(bus, "first") as first, HandWorker.of(bus, "second") as second:
        await first.beat()
        session = await one.create(**TEXT_ONLY)
        wire, _ = await one.call(session)
        await first.claimed.wait()
        wire.facts.put_nowait(Typed("Hello?"))
        await until(bus, session, TurnEnded)
        await second.beat()
        await first.beat(draining=True)
        await bus.round_trip()
        assert not second.claimed.is_set()
        await reply(bus, session, "I am here.")
        async with asyncio.timeout(DEADLINE):
            await second.claimed.wait()


async def test_a_stopped_process_lets_the_agent_finish(one: Process) -> None:
    bus = one.transport.bus
    session = await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Hello?"))
    await until(bus, session, TurnEnded)
    draining = asyncio.create_task(one.transport.drain())
    await bus.round_trip()
    assert not draining.done()
    await reply(bus, session, "I am here.")
    await draining
    told = [message["type"] for message in wire.told]
    assert told.index("reply") < told.index("ended")


async def test_a_former_owners_tokens_are_dropped(one: Process) -> None:
    bus = one.transport.bus
    async with HandWorker.of(bus, "model") as model:
        session = await one.create(**TEXT_ONLY)
        await bus.take_fence(session, Stage.LLM, owner="former")
        await model.beat()
        wire, _ = await one.call(session)
        await model.claimed.wait()
        wire.facts.put_nowait(Typed("Hello?"))
        await until(bus, session, TurnEnded)
        for epochs in ((1, 2), (3,), (2, 3)):  # the third owner is heard before the casting tells of it
            wire.done.clear()
            for epoch in epochs:
                told = {"turn": 1, "generation": 1, "epoch": epoch, "text": f"{epoch}"}
                await bus.publish(subjects.llm_delta(session), msgspec.json.encode(told))
            await wire.until("delta")
        assert [told["text"] for told in wire.told if told["type"] == "delta"] == ["2", "3", "3"]


async def test_words_begun_anew_are_told_so(one: Process) -> None:
    session = await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Hello?"))
    await until(one.transport.bus, session, TurnEnded)
    anew = {"turn": 1, "generation": 1, "epoch": 1, "text": "Second", "anew": True, "sentence": 1}
    await one.transport.bus.publish(subjects.llm_delta(session), msgspec.json.encode(anew))
    await wire.until("delta")
    assert wire.told[-1] == {"type": "delta", "text": "Second", "turn": 1, "anew": True, "sentence": 1}


async def test_a_greeting_is_said_sentence_by_sentence(one: Process) -> None:
    bus = one.transport.bus
    session = await one.create(greeting="Hello there. How can I help?")
    wire, _ = await one.call(session)
    wire.facts.put_nowait(HungUp(Reason.HANGUP))
    await wire.until("close")
    said = [stored.event for stored in await bus.history(session) if isinstance(stored.event, ReplySentence)]
    assert [(one.sentence, one.text) for one in said] == [(0, "Hello there."), (1, "How can I help?")]


async def test_a_recogniser_that_comes_later_hears_everything(one: Process) -> None:
    bus = one.transport.bus
    session = await one.create()
    chunks: asyncio.Queue[audio.Chunk] = asyncio.Queue()
    hearing = await bus.subscribe(subjects.audio_input(session), lambda s, p, h: chunks.put_nowait(audio.decode(p)))
    wire, _ = await one.call(session)
    spoken = b"".join(number.to_bytes(2, "little") for number in range(1920))
    wire.facts.put_nowait(Audio(spoken[:3000]))
    async with HandWorker.of(bus, "ear", Stage.STT) as ear, asyncio.timeout(DEADLINE):
        await ear.beat()
        await ear.claimed.wait()
        wire.facts.put_nowait(Audio(spoken[3000:]))
        heard = [await chunks.get() for _ in range(3)]
    assert b"".join(chunk.samples for chunk in heard) == spoken
    assert [(chunk.sequence, chunk.position) for chunk in heard] == [(1, 0), (2, 640), (3, 1280)]
    await hearing.close()


async def test_lost_audio_is_counted(one: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Hello?"))
    await until(one.transport.bus, session, TurnEnded)
    for sequence, position in ((1, 0), (4, 960)):
        chunk = audio.Chunk(
            rate=wire.rate, epoch=1, sequence=sequence, position=position, samples=bytes(640), generation=1
        )
        await one.transport.bus.publish(subjects.tts_output(session), chunk.encode())
    async with asyncio.timeout(DEADLINE):
        while one.transport.metrics.registry.get_sample_value("meshag_audio_gaps_total") != 2:
            await one.transport.bus.round_trip()
