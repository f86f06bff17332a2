"""The documented pairs of providers, over the wire: who is asked when the first fails, and what is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind
from connectors_app.pool import AllFailed, Pool
from connectors_app.recognizing import Heard, Recognizing
from connectors_app.speaking import Speaking
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.fakes import Told, never_out
from tests.connectors_app.turns import HELLO, SENTENCE
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.backstage import Outcome
from tests.providers.brain import reply_for
from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_SPEAK
from tests.providers.openai import OPENAI_CHAT, OPENAI_MODELS, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.tones import decode, is_exact

HASTY = Deadlines(first_token=1, first_audio=1, transcript=1, stall=1)
REFUSALS = [Behaviour(fault=Fault.REFUSE, status=status) for status in (401, 403, 404, 429, 500, 503)]
FAILURES = [*REFUSALS, Behaviour(fault=Fault.NEVER), Behaviour(fault=Fault.EMPTY)]


def name_of(behaviour: Behaviour) -> str:
    return str(behaviour.status) if behaviour.fault is Fault.REFUSE else str(behaviour.fault)


@pytest.fixture
async def pool(environ: dict[str, str]) -> AsyncIterator[Pool]:
    """Warm, as a worker's is: an import takes longer than a deadline."""
    pool = Pool(environ, breakers=never_out())
    assert not await pool.warm(Role.LLM)
    yield pool
    await pool.close()


async def reply(pool: Pool, order: list[str], told: Told) -> str:
    async with aclosing(answer(pool.models(order, {}), HELLO, HASTY, told)) as items:
        return " ".join([item.text async for item in items if isinstance(item, Sentence)])


async def speech(pool: Pool, order: list[str], told: Told) -> bytes:
    async with Speaking(pool.voices(order, {}), 8000, HASTY) as voice, aclosing(voice.speak(SENTENCE, told)) as pieces:
        return b"".join([pcm async for pcm in pieces])


async def heard(pool: Pool, order: list[str], told: Told, pcm: bytes) -> Heard:
    async with Recognizing(pool.recognizers(order, {}), 8000, HASTY, told, lambda text: None) as recognition:
        await recognition.begin()
        for start in range(0, len(pcm), 960):
            await recognition.send(pcm[start : start + 960])
        return await recognition.finish()


@pytest.mark.accepts("M48")
@pytest.mark.parametrize("failure", FAILURES, ids=name_of)
async def test_anthropic_answers_for_openai(failure: Behaviour, pool: Pool, stand_ins: StandIns) -> None:
    told = Told()
    stand_ins.steer(OPENAI_CHAT, failure)
    assert await reply(pool, ["openai", "anthropic"], told) == reply_for(QUESTION)
    assert told.switches == [("openai", "anthropic")] and len(stand_ins.requests_to(OPENAI_CHAT)) == 1


@pytest.mark.accepts("M48")
@pytest.mark.parametrize(
    ("route", "failure"),
    [(ELEVENLABS_CONNECT, failure) for failure in FAILURES[:-1]]
    + [(ELEVENLABS_SPEAK, failure) for failure in FAILURES],
    ids=lambda value: name_of(value) if isinstance(value, Behaviour) else value,
)
async def test_azure_speaks_for_elevenlabs(route: Route, failure: Behaviour, pool: Pool, stand_ins: StandIns) -> None:
    told = Told()
    stand_ins.steer(route, failure)
    assert is_exact(SENTENCE, decode(await speech(pool, ["elevenlabs", "azure"], told), 8000))
    assert told.switches == [("elevenlabs", "azure")]
    assert told.usage["azure", "characters"] == len(SENTENCE)


@pytest.mark.accepts("M48")
@pytest.mark.parametrize("failure", FAILURES[:-1], ids=name_of)
async def test_deepgram_hears_for_openai(failure: Behaviour, pool: Pool, stand_ins: StandIns, question: bytes) -> None:
    told = Told()
    stand_ins.steer(OPENAI_TRANSCRIPTIONS, failure)
    assert (await heard(pool, ["openai", "deepgram"], told, question)).transcript.text == QUESTION
    assert told.switches == [("openai", "deepgram")]
    assert stand_ins.requests_to(DEEPGRAM_CONNECT)[0].audio_bytes == len(question)


@pytest.mark.accepts("M48")
@pytest.mark.parametrize(
    ("route", "failure"),
    [(DEEPGRAM_CONNECT, failure) for failure in FAILURES[:-1]]
    + [(DEEPGRAM_LISTEN, Behaviour(fault=fault)) for fault in (Fault.REFUSE, Fault.CUT, Fault.STALL)],
    ids=lambda value: name_of(value) if isinstance(value, Behaviour) else value,
)
async def test_openai_hears_for_deepgram(
    route: Route, failure: Behaviour, pool: Pool, stand_ins: StandIns, question: bytes
) -> None:
    told = Told()
    stand_ins.steer(route, failure)
    result = await heard(pool, ["deepgram", "openai"], told, question)
    assert (result.transcript.text, result.provider) == (QUESTION, "openai")
    assert told.switches == [("deepgram", "openai")]


@pytest.mark.accepts("M48")
async def test_a_provider_that_is_gone_is_passed_by(environ: dict[str, str]) -> None:
    told = Told()
    pool = Pool({**environ, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert await reply(pool, ["openai", "anthropic"], told) == reply_for(QUESTION)
    assert told.failures == [("openai", ErrorKind.REFUSED)]
    await pool.close()


async def test_all_reasons_are_told_without_keys(environ: dict[str, str], pool: Pool, stand_ins: StandIns) -> None:
    stand_ins.steer(OPENAI_CHAT, REFUSALS[0])
    stand_ins.steer(ANTHROPIC_MESSAGES, REFUSALS[3])
    with pytest.raises(AllFailed) as caught:
        await reply(pool, ["openai", "anthropic"], Told())
    assert "OPENAI_API_KEY" in str(caught.value) and "Anthropic asks for fewer requests" in str(caught.value)
    assert not any(value in str(caught.value) for name, value in environ.items() if name.endswith("_KEY"))


async def test_warming_names_those_that_failed(
    environ: dict[str, str], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.steer(OPENAI_MODELS, Behaviour(fault=Fault.NEVER))
    monkeypatch.setattr(Pool, "WARM_SECONDS", 1)
    pool = Pool({**environ, "ANTHROPIC_API_KEY": "revoked"})
    failed = await pool.warm(Role.LLM)
    await pool.close()
    assert (failed["openai"].kind, failed["anthropic"].kind) == (ErrorKind.TIMEOUT, ErrorKind.AUTH)


# -- cancellation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slug", "route"), [("openai", OPENAI_CHAT), ("anthropic", ANTHROPIC_MESSAGES)])
async def test_barge_in_closes_the_models_request(slug: str, route: Route, pool: Pool, stand_ins: StandIns) -> None:
    stand_ins.steer(route, Behaviour(each_ms=50))
    async with aclosing(answer(pool.models([slug], {}), HELLO, HASTY, Told())) as items:
        assert await anext(items)
    await stand_ins.ended(route, Outcome.CANCELLED)


@pytest.mark.parametrize(("slug", "route"), [("openai", OPENAI_SPEECH), ("azure", AZURE_SPEECH)])
async def test_barge_in_closes_the_voices_request(slug: str, route: Route, pool: Pool, stand_ins: StandIns) -> None:
    stand_ins.steer(route, Behaviour(each_ms=50))
    async with Speaking(pool.voices([slug], {}), 8000, HASTY) as voice:
        async with aclosing(voice.speak(SENTENCE * 10, Told())) as pieces:
            assert await anext(pieces)
        await stand_ins.ended(route, Outcome.CANCELLED)


async def test_barge_in_cancels_only_its_sentence(pool: Pool, stand_ins: StandIns) -> None:
    stand_ins.steer(ELEVENLABS_SPEAK, Behaviour(each_ms=20))
    async with Speaking(pool.voices(["elevenlabs"], {}), 8000, HASTY) as voice:
        cancelled, other = voice.speak("Never mind this one.", Told()), voice.speak(SENTENCE, Told())
        first = [await anext(cancelled), await anext(other)]
        await cancelled.aclose()
        assert is_exact(SENTENCE, decode(b"".join([first[1], *[pcm async for pcm in other]]), 8000))
    assert len(stand_ins.requests_to(ELEVENLABS_CONNECT)) == 1


async def test_a_waiting_request_is_cancelled(pool: Pool, stand_ins: StandIns) -> None:
    stand_ins.steer(OPENAI_CHAT, Behaviour(fault=Fault.NEVER))
    task = asyncio.create_task(reply(pool, ["openai"], Told()))
    async with asyncio.timeout(5):
        while not stand_ins.requests_to(OPENAI_CHAT):
            await stand_ins.backstage.news.next()
    task.cancel()
    await stand_ins.ended(OPENAI_CHAT, Outcome.CANCELLED)
