"""The voice's stage: what is spoken after a takeover, and what a sentence costs that nobody hears to its end."""

import pytest

from mesh.bus.client import Bus
from mesh.events import Interrupted, ReplySentence, SentenceFailed, SessionUpdated, TurnEnded, Usage
from mesh.store import Valkey
from mesh.subjects import Stage
from tests.connectors_app.fakes import NEVER, ScriptedVoice
from tests.unsupervised import document
from tests.workers.stages import played
from workers.tts import Voicing

pytestmark = pytest.mark.nats
TURN = TurnEnded(turn=1, generation=1, text="What time is it?", cause="speech")
SENTENCE = ReplySentence(turn=1, generation=1, sentence=0, text="It is late.")
PCM = bytes(3200)


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
