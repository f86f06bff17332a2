"""The recognition stage: what becomes of utterances when calls end, workers change, and recognisers are slow."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from connectors_app.base.errors import ErrorKind
from connectors_app.base.recognizer import Recognition, Transcript
from mesh import subjects
from mesh.audio import Chunk
from mesh.bus.client import Bus
from mesh.events import (
    ProviderFailed,
    ProviderSwitched,
    SessionEnded,
    SessionUpdated,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    Usage,
)
from mesh.store import Valkey
from mesh.subjects import Stage
from tests import speech
from tests.connectors_app.fakes import ScriptedRecognition, ScriptedRecognizer, failing
from tests.unsupervised import document
from tests.workers.stages import SECONDS, Played, begin_session, played
from workers.stt import PREROLL, Listening
from workers.voice_activity import Detector

pytestmark = pytest.mark.nats
RATE = 8000
WORDS = speech.UTTERANCES[0]


def listening(seat: object) -> Listening:
    return Listening(seat, Detector())  # type: ignore[arg-type]


async def tell(stage: Played, pcm: bytes, *, start: int = 0, rate: int = RATE) -> int:
    """Audio of the caller, in one breath; returns the position after it."""
    for at in range(0, len(pcm) - 1, 640):
        position = start + at // 2
        chunk = Chunk(rate=rate, epoch=1, sequence=position // 320 + 1, position=position, samples=pcm[at : at + 640])
        await stage.bus.publish(subjects.audio_input(stage.session), chunk.encode())
    return start + len(pcm) // 2


async def test_the_last_words_before_a_hang_up_are_kept(bus: Bus, valkey: Valkey) -> None:
    recognizer = ScriptedRecognizer("ears")
    spoken = speech.speak(WORDS, RATE)[:RATE]  # in the middle of a word
    async with played(bus, valkey, Stage.STT, listening, recognizer) as stage:
        await tell(stage, spoken)
        started = await stage.hear(SpeechStarted)
        await stage.say(SessionEnded(reason="hangup"))
        final = await stage.hear(TranscriptFinal)
        assert (final.utterance, final.start) == (started.utterance, started.sample)
        assert final.end > final.start and [heard[-320:] for heard in recognizer.asked] == [spoken[-320:]]


async def test_what_recognition_met_names_its_utterance(bus: Bus, valkey: Valkey) -> None:
    """And is told before the transcript, by which the transport makes a turn of it."""
    first, second = (
        ScriptedRecognizer("ears", failing(ErrorKind.SERVER)),
        ScriptedRecognizer("more", None, None, "Yes."),
    )
    async with played(bus, valkey, Stage.STT, listening, first, second) as stage:
        await tell(stage, speech.speak(WORDS, RATE) + bytes(2 * RATE))
        assert (await stage.hear(ProviderFailed)).utterance == 1
        used = await stage.hear(Usage)
        assert (used.provider, used.utterance) == ("more", 1)
        assert (await stage.hear(ProviderSwitched)).utterance == 1
        assert (await stage.hear(TranscriptFinal)).utterance == 1


async def test_a_session_that_drops_recognition_can_be_taken(bus: Bus, valkey: Valkey) -> None:
    session = await begin_session(bus)
    without = document(flow=("transport llm text", "llm tts text", "tts transport audio"))
    del without["connectors"]["stt"]
    writer = await bus.take_fence(session, Stage.SESSION, owner="transport")
    await writer.append(SessionUpdated(config=without, revision="2"))
    async with played(bus, valkey, Stage.STT, listening, session=session) as stage:
        assert stage.host.sessions == 1


async def test_a_short_sound_without_words_is_nothing(bus: Bus, valkey: Valkey) -> None:
    """What was sent of it is longer than a second, the voice in it is not."""
    first, second = ScriptedRecognizer("ears"), ScriptedRecognizer("more", None, None, "Thank you.")
    session = await begin_session(bus, turn={"stop_ms": 1000})
    async with played(bus, valkey, Stage.STT, listening, first, second, session=session) as stage:
        await tell(stage, speech.speak("Yes.", RATE) + bytes(4 * RATE))
        final = await stage.hear(TranscriptFinal)
        assert (final.text, final.provider) == ("", "ears") and len(first.asked[0]) > 2 * RATE and not second.asked


@pytest.mark.parametrize("rate", [8000, 24_000])
async def test_what_comes_in_one_breath_is_heard_in_parts(bus: Bus, valkey: Valkey, rate: int) -> None:
    """A line that stood still, or a worker that takes over: seconds of audio are there before any is judged."""
    recognizer = ScriptedRecognizer("ears")
    words = speech.speak(WORDS, rate)
    whole = bytes(6 * rate) + words + bytes(6 * rate) + words + bytes(6 * rate)
    async with played(bus, valkey, Stage.STT, listening, recognizer, rate=rate) as stage:
        await tell(stage, whole, rate=rate)
        finals = [await stage.hear(TranscriptFinal) for _ in range(2)]
        for final, heard in zip(finals, recognizer.asked, strict=True):
            begin = 2 * (final.start - int(PREROLL * rate))
            assert whole[begin : begin + len(heard)] == heard
            assert begin + len(heard) >= 2 * final.end > 2 * final.start + len(words) / 2


async def test_silence_is_not_kept(bus: Bus, valkey: Valkey) -> None:
    stages: list[Listening] = []

    def made(seat: object) -> Listening:
        stages.append(listening(seat))
        return stages[-1]

    async with played(bus, valkey, Stage.STT, made, ScriptedRecognizer("ears")) as stage:
        await tell(stage, bytes(12 * RATE) + speech.speak(WORDS, RATE) + bytes(12 * RATE))
        await stage.hear(TranscriptFinal)
        stages[0]._detector.finish(stages[0]._ear)
        assert len(b"".join(stages[0]._earshot.take())) < 2 * RATE


async def test_an_interim_names_what_it_is_of(bus: Bus, valkey: Valkey) -> None:
    """The recogniser is still at the first utterance while the caller is in the second."""
    recognizer = Ponderer("ears")
    interims: asyncio.Queue[bytes] = asyncio.Queue()
    async with played(bus, valkey, Stage.STT, listening, recognizer) as stage:
        await bus.subscribe(subjects.stt_interim(stage.session), lambda _, told, __: interims.put_nowait(told))
        await tell(stage, speech.speak(WORDS, RATE) + bytes(2 * RATE) + speech.speak(WORDS, RATE))
        assert [(await stage.hear(SpeechStarted)).utterance for _ in range(2)] == [1, 2]
        recognizer.on_interim("what time")
        told = msgspec.json.decode(await asyncio.wait_for(interims.get(), SECONDS))
        assert told == {"utterance": 1, "epoch": 1, "text": "what time"}


class Ponderer(ScriptedRecognizer):
    """Never comes to an end with an utterance."""

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        self.on_interim = on_interim
        return Pondering(self)


class Pondering(ScriptedRecognition):
    async def finish(self) -> Transcript:
        never: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        return await never


async def test_an_utterance_left_open_ends_at_its_start(bus: Bus, valkey: Valkey) -> None:
    """Its audio comes again; what was heard of it by a former owner is nothing."""
    session = await begin_session(bus)
    former = await bus.take_fence(session, Stage.STT, owner="former")
    await former.append(SpeechStarted(utterance=3, sample=4000))
    async with played(bus, valkey, Stage.STT, listening, ScriptedRecognizer("ears"), session=session) as stage:
        assert await stage.hear(SpeechEnded) == SpeechEnded(utterance=3, sample=4000)
        assert (await stage.hear(TranscriptFinal)).failed


# -- a configuration that changes ------------------------------------------------------------------------


class Counted(ScriptedRecognizer):
    def __init__(self, slug: str, *script: object) -> None:
        super().__init__(slug, *script)
        self.opened: asyncio.Queue[Recognition] = asyncio.Queue()

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        self.opened.put_nowait(recognition := super().open(rate, on_interim))
        return recognition


def hearing(model: str, **changes: Any) -> SessionUpdated:
    config = document(**changes)
    config["connectors"]["stt"]["config"] = {"deepgram": {"model": model}} if model else {}
    return SessionUpdated(config=config, revision=f"{model} {changes}")


async def test_another_recogniser_is_opened_before_it_is_needed(bus: Bus, valkey: Valkey) -> None:
    recognizer = Counted("ears")
    async with played(bus, valkey, Stage.STT, listening, recognizer) as stage, asyncio.timeout(SECONDS):
        await recognizer.opened.get()
        await stage.say(hearing("nova-2"))
        await recognizer.opened.get()
        assert not recognizer.asked


async def test_another_prompt_leaves_the_recogniser_open(bus: Bus, valkey: Valkey) -> None:
    recognizer = Counted("ears")
    async with played(bus, valkey, Stage.STT, listening, recognizer) as stage, asyncio.timeout(SECONDS):
        await stage.say(hearing("", system_prompt="Be brief."))
        await tell(stage, speech.speak(WORDS, RATE) + bytes(2 * RATE))
        await stage.hear(TranscriptFinal)
        assert recognizer.opened.qsize() == 1


async def test_an_utterance_ends_with_the_recogniser_that_began_it(bus: Bus, valkey: Valkey) -> None:
    recognizer = Counted("ears")
    async with played(bus, valkey, Stage.STT, listening, recognizer) as stage, asyncio.timeout(SECONDS):
        spoken = await tell(stage, speech.speak(WORDS, RATE))
        await stage.hear(SpeechStarted)
        first = await recognizer.opened.get()
        await stage.say(hearing("nova-2"))
        await tell(stage, bytes(2 * RATE), start=spoken)
        await stage.hear(TranscriptFinal)
        await recognizer.opened.get()
        assert isinstance(first, ScriptedRecognition) and recognizer.asked == [first.heard]
