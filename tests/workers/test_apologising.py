"""A call in which nobody answers: the caller gets the apology, once, and the session goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from mesh import audio, subjects
from mesh.bus.client import Bus
from mesh.bus.writer import Writer
from mesh.events import (
    Apologised,
    Event,
    Played,
    ReplyFailed,
    ReplySentence,
    SentenceFailed,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    TurnDiscarded,
    TurnEnded,
    TurnTimed,
)
from mesh.subjects import Stage
from tests.unsupervised import document
from tests.workers.lines import DEADLINE, HandWire, Process, transport_process
from workers.call import Call
from workers.media.wire import Typed

pytestmark = pytest.mark.nats
E = TypeVar("E", bound=Event)
SORRY = "I am sorry. Please try again."
TEXT_ONLY = document(flow=("transport llm text", "llm transport text"), apology=SORRY)
SPOKEN = document(apology=SORRY)
SPOKEN_TYPED = document(
    flow=("transport llm text", "llm tts text", "tts transport audio", "transport stt audio", "stt llm text"),
    apology=SORRY,
)
CAPTIONS = document(flow=("transport stt audio", "stt transport text"), apology=SORRY)


@pytest.fixture
async def one(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


class Talk:
    """A call with its wire, and the workers' pens in the test's hand."""

    def __init__(self, bus: Bus, session: str, wire: HandWire, call: Call) -> None:
        self.bus, self.session, self.wire, self.call = bus, session, wire, call
        self._writers: dict[Stage, Writer] = {}

    @classmethod
    async def of(cls, one: Process, config: dict[str, object]) -> "Talk":
        session = await one.create(**config)
        wire, call = await one.call(session)
        return cls(one.transport.bus, session, wire, call)

    async def ask(self, text: str) -> None:
        self.wire.facts.put_nowait(Typed(text))

    async def tell(self, stage: Stage, *told: Event) -> None:
        if stage not in self._writers:
            self._writers[stage] = await self.bus.take_fence(self.session, stage, owner="test")
        for event in told:
            await self._writers[stage].append(event)

    async def happened(self, kind: type[E], count: int = 1) -> list[E]:
        """Its events of that kind, as soon as there are so many."""
        found: asyncio.Queue[E] = asyncio.Queue()
        feed = await self.bus.feed(
            self.session, lambda stored: found.put_nowait(stored.event) if isinstance(stored.event, kind) else None
        )
        async with asyncio.timeout(DEADLINE):
            events = [await found.get() for _ in range(count)]
        await feed.close()
        return events

    async def speak(self, generation: int, sentence: int, samples: int) -> None:
        """What a voice's worker sends."""
        for sequence, pcm, end in ((2 * sentence + 1, bytes(2 * samples), False), (2 * sentence + 2, b"", True)):
            chunk = audio.Chunk(
                rate=self.wire.rate,
                epoch=generation,
                sequence=sequence,
                position=0 if pcm else samples,
                samples=pcm,
                generation=generation,
                sentence=sentence,
                end=end,
            )
            await self.bus.publish(subjects.tts_output(self.session), chunk.encode())

    @property
    def replies(self) -> list[str]:
        return [told["text"] for told in self.wire.told if told["type"] == "reply"]


def sentence(number: int, *, generation: int = 1) -> ReplySentence:
    return ReplySentence(turn=1, generation=generation, sentence=number, text=f"Sentence {number}.")


async def test_a_failed_reply_ends_in_the_apology(one: Process) -> None:
    talk = await Talk.of(one, TEXT_ONLY)
    await talk.ask("Hello?")
    await talk.happened(TurnEnded)
    await talk.tell(Stage.LLM, sentence(0), ReplyFailed(turn=1, generation=1, sentences=1, detail="nobody"))
    assert [one.text for one in await talk.happened(Played, 3)] == ["Sentence 0.", "I am sorry.", "Please try again."]
    assert await talk.happened(Apologised) == [Apologised(turn=1, generation=2, role="llm")]
    assert one.transport.metrics.registry.get_sample_value("meshag_apologies_total", {"role": "llm"}) == 1


async def test_the_next_turn_is_asked_as_usual(one: Process) -> None:
    talk = await Talk.of(one, TEXT_ONLY)
    await talk.ask("Hello?")
    await talk.happened(TurnEnded)
    await talk.tell(Stage.LLM, ReplyFailed(turn=1, generation=1, sentences=0, detail="nobody"))
    await talk.happened(Played, 2)
    await talk.ask("Are you there?")
    asked = (await talk.happened(TurnEnded, 2))[1]
    assert (asked.turn, asked.generation, asked.text) == (2, 3, "Are you there?")


async def test_a_reply_without_a_voice_ends_where_it_failed(one: Process) -> None:
    """What was spoken is heard, then the apology; the sentences after the failed one are not waited for."""
    talk = await Talk.of(one, SPOKEN_TYPED)
    await talk.ask("Hello?")
    await talk.happened(TurnEnded)
    await talk.tell(Stage.LLM, *map(sentence, range(3)))
    await talk.wire.until("reply")
    await talk.speak(1, 0, 800)
    await talk.wire.until("play")
    await talk.tell(Stage.TTS, SentenceFailed(turn=1, generation=1, sentence=1, detail="nobody"))
    told = await talk.happened(ReplySentence, 5)
    assert [(one.generation, one.text) for one in told[3:]] == [(2, "I am sorry."), (2, "Please try again.")]
    assert (await talk.happened(Played))[0].text == "Sentence 0."
    await talk.tell(Stage.LLM, sentence(3))
    await talk.speak(2, 0, 800)
    assert await talk.happened(Apologised) == [Apologised(turn=1, generation=2, role="tts")]
    assert "Sentence 3." not in talk.replies


async def test_the_apology_is_no_part_of_the_times(one: Process) -> None:
    """A turn that failed shows how far it came."""
    talk = await Talk.of(one, SPOKEN_TYPED)
    await talk.ask("Hello?")
    await talk.happened(TurnEnded)
    await talk.tell(Stage.LLM, ReplyFailed(turn=1, generation=1, sentences=0, detail="nobody"))
    await talk.happened(ReplySentence, 2)
    await talk.speak(2, 0, 800)
    await talk.happened(Apologised)
    await talk.ask("Are you there?")
    await talk.happened(TurnEnded, 2)
    await talk.tell(Stage.LLM, ReplyFailed(turn=2, generation=3, sentences=0, detail="nobody"))
    timed = await talk.happened(TurnTimed, 2)
    assert [(one.turn, list(one.marks)) for one in timed] == [(1, ["turn_end"]), (2, ["turn_end"])]


async def test_an_apology_that_cannot_be_spoken_is_the_end(one: Process) -> None:
    talk = await Talk.of(one, SPOKEN_TYPED)
    await talk.ask("Hello?")
    await talk.happened(TurnEnded)
    await talk.tell(Stage.LLM, ReplyFailed(turn=1, generation=1, sentences=0, detail="nobody"))
    await talk.happened(ReplySentence, 2)
    await talk.tell(Stage.TTS, SentenceFailed(turn=1, generation=2, sentence=0, detail="nobody"))
    async with asyncio.timeout(DEADLINE):
        await talk.call._conversation.resting.wait()
    await talk.ask("Are you there?")
    assert (await talk.happened(TurnEnded, 2))[1].generation == 3


async def not_recognised(talk: Talk, *, end: int) -> None:
    await talk.tell(
        Stage.STT,
        SpeechStarted(utterance=1, sample=0),
        SpeechEnded(utterance=1, sample=end),
        TranscriptFinal(utterance=1, start=0, end=end, text="", failed=True),
    )
    await talk.wire.until("transcript")


async def test_a_caller_whom_nobody_understood_hears_the_apology(one: Process) -> None:
    talk = await Talk.of(one, SPOKEN)
    await not_recognised(talk, end=8000)
    assert [one.text for one in await talk.happened(ReplySentence, 2)] == ["I am sorry.", "Please try again."]
    assert [(one.turn, one.failed, one.utterances) for one in await talk.happened(TurnDiscarded)] == [(1, "stt", (1,))]


@pytest.mark.parametrize(("config", "end"), [(SPOKEN, 0), (CAPTIONS, 8000), (SPOKEN | {"apology": ""}, 8000)])
async def test_some_losses_need_no_apology(config: dict[str, object], end: int, one: Process) -> None:
    """What comes again from the transport; captions, which never answer; an agent that is told not to."""
    talk = await Talk.of(one, config)
    await not_recognised(talk, end=end)
    async with asyncio.timeout(DEADLINE):
        await talk.call._conversation.resting.wait()
    assert talk.replies == [] and talk.call._conversation.generation == 0
