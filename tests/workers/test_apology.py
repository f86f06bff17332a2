"""The apology's audio: prepared once, there when no voice answers, and nobody asked for it then."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest

from connectors_app.base.connector import Connector, Sealed
from connectors_app.base.errors import ErrorKind
from connectors_app.base.voice import Voice
from connectors_app.pool import NONE, AllFailed, Chain, Pool
from mesh import audio, subjects
from mesh.bus.client import Bus
from mesh.events import ProviderFailed, ReplySentence, SentenceFailed, SessionUpdated, TurnEnded, Usage
from mesh.store import Valkey
from mesh.subjects import Stage
from tests.connectors_app.fakes import HASTY, NEVER, ScriptedVoice, Told, failing
from tests.unsupervised import document
from tests.workers.stages import SECONDS, Given, Played, begin_session, played
from workers.apology import KEPT, LAST_RESORT, Apology, Prepared, Voices
from workers.tts import Voicing

SORRY = "I am sorry. Please try again."
FIRST, SECOND = "I am sorry.", "Please try again."
PCM = np.full(4000, 1000, np.int16).tobytes()
DEAD = failing(ErrorKind.SERVER)


class WithLastResort(Given):
    """Beside the session's providers there is one on this machine."""

    def __init__(self, *connectors: Connector, last: Voice) -> None:
        super().__init__(*connectors)
        self._last = last

    def voices(self, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed = NONE) -> Chain[Voice]:
        if tuple(order) != (LAST_RESORT,):
            return super().voices(order, config, sealed)
        self._users[self._last] = self._users.get(self._last, 0) + 1
        return Chain(self, [self._last], ())


def voices(pool: Pool, rate: int = 8000) -> Voices:
    return Voices(pool, HASTY, rate, ("voice",), {}, Sealed(), {})


# -- what a process keeps --------------------------------------------------------------------------------


async def test_one_session_prepares_for_all() -> None:
    voice, prepared, told = ScriptedVoice("voice", PCM), Prepared(), Told()
    wanted = voices(Given(voice))
    for apology in (Apology(prepared, wanted, SORRY), Apology(prepared, wanted, SORRY)):
        await apology.prepare(told)
        assert [await apology.audio(sentence, told) for sentence in apology.sentences] == [PCM, PCM]
    assert voice.asked == [FIRST, SECOND]
    assert told.usage == {("voice", "characters"): len(SECOND)}


async def test_who_asks_meanwhile_waits_for_the_same() -> None:
    voice, prepared = ScriptedVoice("voice", PCM), Prepared()
    wanted = voices(Given(voice))
    assert await asyncio.gather(*(prepared.audio(wanted, FIRST, Told()) for _ in range(20))) == [PCM] * 20
    assert voice.asked == [FIRST]


async def test_a_session_that_ends_takes_nothing_from_others() -> None:
    voice, prepared = ScriptedVoice("voice", PCM), Prepared()
    wanted = voices(Given(voice))
    first, second = (asyncio.create_task(prepared.audio(wanted, FIRST, Told())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == PCM
    assert voice.asked == [FIRST]


async def test_another_voice_or_rate_is_another_audio() -> None:
    prepared, one, other = Prepared(), ScriptedVoice("voice", PCM), ScriptedVoice("voice", PCM[:800])
    mine, theirs = voices(Given(one)), voices(Given(other))
    assert await prepared.audio(mine, FIRST, Told()) == PCM
    assert await prepared.audio(theirs, FIRST, Told()) == PCM[:800]
    assert len(await prepared.audio(voices(mine.pool, 16_000), FIRST, Told())) == 2 * len(PCM)


async def test_no_more_is_kept_than_the_bound() -> None:
    voice, prepared = ScriptedVoice("voice", PCM), Prepared()
    wanted = voices(Given(voice))
    for number in [*range(KEPT + 1), 0, KEPT]:
        await prepared.audio(wanted, f"Sentence {number}.", Told())
    assert len(voice.asked) == KEPT + 2  # the oldest was made anew, the newest was there


async def test_the_last_resort_speaks_when_no_voice_does() -> None:
    voice, last, prepared, told = (
        ScriptedVoice("voice", PCM[:400], DEAD),
        ScriptedVoice("espeak", PCM),
        Prepared(),
        Told(),
    )
    wanted = voices(WithLastResort(voice, last=last))
    assert await prepared.audio(wanted, FIRST, told) == PCM
    assert {slug for slug, _ in told.failures} == {"voice"}
    voice.script = (PCM[:800],)
    assert await prepared.audio(wanted, FIRST, told) == PCM[:800]


async def test_with_no_voice_at_all_it_fails() -> None:
    voice, last = ScriptedVoice("voice", NEVER), ScriptedVoice("espeak", failing(ErrorKind.UNCONFIGURED))
    with pytest.raises(AllFailed, match="voice: no audio"):
        await Prepared().audio(voices(WithLastResort(voice, last=last)), FIRST, Told())


# -- what a session does with it -------------------------------------------------------------------------


def apology(sentence: int, *, generation: int = 2) -> ReplySentence:
    return ReplySentence(turn=1, generation=generation, sentence=sentence, text=(FIRST, SECOND)[sentence])


@asynccontextmanager
async def heard(bus: Bus, session: str) -> AsyncIterator["asyncio.Queue[audio.Chunk]"]:
    chunks: asyncio.Queue[audio.Chunk] = asyncio.Queue()
    output = await bus.subscribe(
        subjects.tts_output(session), lambda _, told, __: chunks.put_nowait(audio.decode(told))
    )
    yield chunks
    await output.close()


async def spoken(chunks: "asyncio.Queue[audio.Chunk]") -> tuple[int, bytes]:
    """The next sentence's number and audio."""
    pcm = b""
    async with asyncio.timeout(SECONDS):
        while not (chunk := await chunks.get()).end:
            pcm += chunk.samples
    return chunk.sentence, pcm + chunk.samples


async def are_prepared(stage: Played, count: int = 2) -> None:
    for _ in range(count):
        await stage.hear(Usage)


@pytest.mark.nats
async def test_a_prepared_apology_needs_no_voice(bus: Bus, valkey: Valkey) -> None:
    voice, session = ScriptedVoice("voice", PCM), await begin_session(bus, apology=SORRY)
    async with heard(bus, session) as chunks, played(bus, valkey, Stage.TTS, Voicing, voice, session=session) as stage:
        await are_prepared(stage)
        voice.script = (DEAD,)
        await stage.say(apology(0))
        await stage.say(apology(1))
        assert [await spoken(chunks) for _ in range(2)] == [(0, PCM), (1, PCM)]
    assert voice.asked == [FIRST, SECOND]


@pytest.mark.nats
async def test_the_greeting_goes_first(bus: Bus, valkey: Valkey) -> None:
    voice, session = ScriptedVoice("voice", PCM), await begin_session(bus, apology=SORRY, greeting="Welcome.")
    async with played(bus, valkey, Stage.TTS, Voicing, voice, session=session) as stage:
        await stage.say(ReplySentence(turn=0, generation=1, sentence=0, text="Welcome."))
        await are_prepared(stage, 3)
    assert voice.asked == ["Welcome.", FIRST, SECOND]


@pytest.mark.nats
async def test_another_apology_is_prepared_anew(bus: Bus, valkey: Valkey) -> None:
    voice, session = ScriptedVoice("voice", PCM), await begin_session(bus, apology=SORRY)
    async with played(bus, valkey, Stage.TTS, Voicing, voice, session=session) as stage:
        await are_prepared(stage)
        await stage.say(SessionUpdated(config=document(apology="Pardon me."), revision="2"))
        await are_prepared(stage, 1)
    assert voice.asked == [FIRST, SECOND, "Pardon me."]


@pytest.mark.nats
async def test_sessions_of_a_worker_share_it(bus: Bus, valkey: Valkey) -> None:
    """So does one that takes a session over."""
    voice, session, prepared = ScriptedVoice("voice", PCM), await begin_session(bus, apology=SORRY), Prepared()
    make = partial(Voicing, prepared=prepared)
    async with played(bus, valkey, Stage.TTS, make, voice, session=session) as stage:
        await are_prepared(stage)
        voice.script = (DEAD,)
        async with heard(bus, session) as chunks, played(bus, valkey, Stage.TTS, make, voice, session=session) as next_:
            await next_.say(apology(0))
            assert await spoken(chunks) == (0, PCM)
    assert voice.asked == [FIRST, SECOND]


@pytest.mark.nats
async def test_of_a_reply_that_no_voice_speaks_no_more_is_asked(bus: Bus, valkey: Valkey) -> None:
    voice, session = ScriptedVoice("voice", PCM), await begin_session(bus, apology=SORRY)
    async with heard(bus, session) as chunks, played(bus, valkey, Stage.TTS, Voicing, voice, session=session) as stage:
        await are_prepared(stage)
        voice.script = (DEAD,)
        await stage.say(TurnEnded(turn=1, generation=1, text="Hello?", cause="speech"))
        for number in range(4):
            await stage.say(ReplySentence(turn=1, generation=1, sentence=number, text=f"Sentence {number}."))
        assert (await stage.hear(ProviderFailed)).generation == 1
        assert (await stage.hear(SentenceFailed)).sentence == 0
        await stage.say(apology(0))
        assert [await spoken(chunks) for _ in range(2)] == [(0, b""), (0, PCM)]
    assert voice.asked == [FIRST, SECOND, "Sentence 0."]


@pytest.mark.nats
async def test_a_later_reply_is_asked_for_as_usual(bus: Bus, valkey: Valkey) -> None:
    voice, session = ScriptedVoice("voice", DEAD), await begin_session(bus, apology=SORRY)
    async with heard(bus, session) as chunks, played(bus, valkey, Stage.TTS, Voicing, voice, session=session) as stage:
        await stage.say(ReplySentence(turn=1, generation=1, sentence=0, text="Sentence."))
        await stage.hear(SentenceFailed)
        assert await spoken(chunks) == (0, b"")
        voice.script = (PCM,)
        await stage.say(ReplySentence(turn=2, generation=3, sentence=0, text="It works again."))
        assert await spoken(chunks) == (0, PCM)


@pytest.mark.nats
async def test_a_voice_that_fails_in_advance_is_told(bus: Bus, valkey: Valkey) -> None:
    session = await begin_session(bus, apology=SORRY)
    providers = (ScriptedVoice("voice", DEAD), ScriptedVoice("other", PCM))
    async with played(bus, valkey, Stage.TTS, Voicing, *providers, session=session) as stage:
        told = await stage.hear(ProviderFailed)
        assert (told.provider, told.turn) == ("voice", 0)
        await are_prepared(stage)
