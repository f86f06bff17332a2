"""The voice's stage: what is spoken after a takeover, and what a sentence costs that nobody hears to its end."""

import asyncio
from typing import Any, Self

import pytest

from connectors_app.base.voice import Speech
from mesh.bus.client import Bus
from mesh.events import Interrupted, ReplySentence, SentenceFailed, SessionUpdated, TurnEnded, Usage
from mesh.store import Valkey
from mesh.subjects import Stage
from tests.connectors_app.fakes import NEVER, ScriptedSpeech, ScriptedVoice
from tests.unsupervised import document
from tests.workers.stages import SECONDS, played
from workers.tts import Voicing

pytestmark = pytest.mark.nats
TURN = TurnEnded(turn=1, generation=1, text="What time is it?", cause="speech")
SENTENCE = ReplySentence(turn=1, generation=1, sentence=0, text="It is late.")
PCM = bytes(3200)
LOUD = b"\x00\x10" * 1600


async def test_a_sentence_cut_short_is_paid(bus: Bus, valkey: Valkey) -> None:
    voice = ScriptedVoice("voice", PCM, NEVER)
    async with played(bus, valkey, Stage.TTS, Voicing, voice) as stage:
        await stage.say(SENTENCE)
        await voice.began.wait()
        await stage.say(Interrupted(turn=1, generation=1, sentence=0, samples=0, rate=8000, heard=""))
        usage = await stage.hear(Usage)
        assert (usage.unit, usage.quantity) == ("characters", len(SENTENCE.text))


async def test_a_session_that_drops_its_voice_goes_on(bus: Bus, valkey: Valkey) -> None:
    without = document(flow=("transport stt audio", "stt llm text", "llm transport text"))
    del without["connectors"]["tts"]
    async with played(bus, valkey, Stage.TTS, Voicing, ScriptedVoice("voice", PCM)) as stage:
        await stage.say(SessionUpdated(config=without, revision="2"))
        await stage.say(SENTENCE)  # an announcement that still comes
        assert "no provider is configured" in (await stage.hear(SentenceFailed)).detail


# -- a configuration that changes ------------------------------------------------------------------------


def voiced_by(name: str, **changes: Any) -> SessionUpdated:
    config = document(apology="", **changes)
    config["connectors"]["tts"]["config"] = {"elevenlabs": {"voice": name}}
    return SessionUpdated(config=config, revision=name)


class Counted(ScriptedVoice):
    """Opens when its gate does, and tells when somebody is before it."""

    def __init__(self, slug: str, *script: Any) -> None:
        super().__init__(slug, *script)
        self.opening: asyncio.Queue[Speech] = asyncio.Queue()
        self.gate = asyncio.Event()

    def open(self, rate: int) -> Speech:
        return Gated(self)


class Gated(ScriptedSpeech):
    async def __aenter__(self) -> Self:
        assert isinstance(self.voice, Counted)
        self.voice.opening.put_nowait(self)
        await self.voice.gate.wait()
        return self


async def test_another_voice_is_opened_before_it_is_needed(bus: Bus, valkey: Valkey) -> None:
    voice = Counted("voice", LOUD)
    voice.gate.set()
    async with played(bus, valkey, Stage.TTS, Voicing, voice) as stage, asyncio.timeout(SECONDS):
        await voice.opening.get()
        await stage.say(voiced_by("Adam"))
        await voice.opening.get()
        assert not voice.asked


async def test_another_prompt_leaves_the_voice_open(bus: Bus, valkey: Valkey) -> None:
    voice = Counted("voice", LOUD)
    voice.gate.set()
    async with played(bus, valkey, Stage.TTS, Voicing, voice) as stage, asyncio.timeout(SECONDS):
        await stage.say(voiced_by("Rachel", system_prompt="Be brief."))
        await stage.say(SENTENCE)
        await stage.hear(Usage)
        assert voice.opening.qsize() == 1


async def test_a_change_while_the_voice_is_opened_counts(bus: Bus, valkey: Valkey) -> None:
    voice = Counted("voice", LOUD)
    async with played(bus, valkey, Stage.TTS, Voicing, voice) as stage, asyncio.timeout(SECONDS):
        await voice.opening.get()
        await stage.say(SENTENCE)
        await stage.say(voiced_by("Adam"))
        voice.gate.set()
        await voice.opening.get()
