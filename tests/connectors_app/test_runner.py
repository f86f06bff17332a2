"""Deadlines, ordered fallback, replay and cancellation, with providers that are told what to do."""

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from connectors_app.base import ErrorKind, Finished, Message, ProviderError, Transcript
from connectors_app.pool import AllFailed, Attempt, Chain, Pool, Resting
from connectors_app.runner import Deadlines, Heard, Recognizing, Speaking
from connectors_app.runner import answer as ask
from tests.connectors_app.fakes import (
    HASTY,
    NEVER,
    ScriptedModel,
    ScriptedRecognizer,
    ScriptedVoice,
    Told,
    chain_of,
    failing,
)

HELLO = (Message("user", "Hello?"),)
DONE = Finished("stop", 3, 2)
PCM = b"\x01\x00" * 160


@pytest.fixture
def told() -> Told:
    return Told()


async def answer(chain: Chain[Any], told: Told) -> list[str | Finished]:
    async with aclosing(ask(chain, HELLO, HASTY, told)) as items:
        return [item async for item in items]


async def speak(chain: Chain[Any], told: Told, rate: int = 8000) -> bytes:
    async with Speaking(chain, rate, HASTY) as voice, aclosing(voice.speak("Good morning.", told)) as pieces:
        return b"".join([pcm async for pcm in pieces])


# -- language model --------------------------------------------------------------------------------------


async def test_the_primary_answers_alone(told: Told) -> None:
    second = ScriptedModel("second", "no", DONE)
    assert await answer(chain_of(ScriptedModel("first", "Hi ", "you", DONE), second), told) == ["Hi ", "you", DONE]
    assert not second.asked and not told.failures and not told.switches
    assert told.usage == {("first", "input_tokens"): 3, ("first", "output_tokens"): 2}


async def test_a_broken_answer_is_paid_by_estimate(told: Told) -> None:
    with pytest.raises(ProviderError):
        await answer(chain_of(ScriptedModel("first", "Good morning", failing(ErrorKind.BROKEN))), told)
    assert told.usage == {("first", "input_tokens"): 2, ("first", "output_tokens"): 3}
    assert told.estimates == set(told.usage)


async def test_a_cancelled_answer_is_paid_by_estimate(told: Told) -> None:
    async with aclosing(ask(chain_of(ScriptedModel("first", "Good morning", DONE)), HELLO, HASTY, told)) as items:
        await anext(items)
    assert told.usage == {("first", "input_tokens"): 2, ("first", "output_tokens"): 3}


async def test_every_attempt_that_was_heard_is_paid(told: Told) -> None:
    first, second = ScriptedModel("first", NEVER), ScriptedModel("second", failing(ErrorKind.AUTH))
    await answer(chain_of(first, second, ScriptedModel("third", "Hi", DONE)), told)
    assert {provider for provider, unit in told.usage if told.usage[provider, unit]} == {"first", "third"}


@pytest.mark.accepts("M48")
@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_a_failed_provider_is_followed_by_the_next(kind: ErrorKind, told: Told) -> None:
    chain = chain_of(ScriptedModel("first", failing(kind)), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", kind)] and told.switches == [("first", "second")]


@pytest.mark.accepts("M48")
async def test_fallbacks_are_asked_in_order(told: Told) -> None:
    error = failing(ErrorKind.SERVER)
    chain = chain_of(*(ScriptedModel(slug, error) for slug in "abc"), ScriptedModel("d", "Hi", DONE))
    await answer(chain, told)
    assert [provider for provider, _ in told.failures] == ["a", "b", "c"] and told.switches == [("a", "d")]


@pytest.mark.accepts("M48")
async def test_silence_until_the_deadline_is_a_failure(told: Told) -> None:
    first = ScriptedModel("first", NEVER)
    assert await answer(chain_of(first, ScriptedModel("second", "Hi", DONE)), told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and first.closed.is_set()


async def test_an_answer_without_text_is_a_failure(told: Told) -> None:
    chain = chain_of(ScriptedModel("first", DONE), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.EMPTY)]


async def test_a_fault_in_a_provider_is_a_failure(told: Told) -> None:
    chain = chain_of(ScriptedModel("first", KeyError("choices")), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.BROKEN)]


@pytest.mark.parametrize(("fault", "kind"), [(failing(ErrorKind.BROKEN), ErrorKind.BROKEN), (NEVER, ErrorKind.TIMEOUT)])
async def test_a_break_in_the_middle_is_told(fault: object, kind: ErrorKind, told: Told) -> None:
    second = ScriptedModel("second", "no", DONE)
    with pytest.raises(Exception, match="it is broken|stopped in the middle"):
        await answer(chain_of(ScriptedModel("first", "Hi ", fault), second), told)
    assert told.failures == [("first", kind)] and not second.asked


async def test_all_failures_are_told_together(told: Told) -> None:
    skipped = [Attempt("unset", failing(ErrorKind.UNCONFIGURED))]
    chain = chain_of(ScriptedModel("first", failing(ErrorKind.AUTH)), ScriptedModel("second", NEVER), skipped=skipped)
    with pytest.raises(AllFailed) as caught:
        await answer(chain, told)
    assert [a.error.kind for a in caught.value.attempts] == ["unconfigured", "auth", "timeout"]
    assert "second: no first token within 0.05 s" in str(caught.value)


async def test_closing_an_answer_cancels_only_it(told: Told) -> None:
    model = ScriptedModel("first", "Hi ", NEVER)
    async with aclosing(ask(chain_of(model), HELLO, Deadlines(), told)) as items:
        assert await anext(items) == "Hi "
    assert model.closed.is_set() and not told.failures


async def test_cancelling_a_waiting_answer_closes_it(told: Told) -> None:
    model = ScriptedModel("first", NEVER)
    task = asyncio.create_task(anext(ask(chain_of(model), HELLO, Deadlines(), told)))
    async with asyncio.timeout(1):
        await model.began.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() and model.closed.is_set() and not told.failures


# -- resting ---------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_refused_key_is_asked_last_for_a_while(told: Told) -> None:
    clock = Clock()
    first = ScriptedModel("first", failing(ErrorKind.AUTH))
    chain = chain_of(first, ScriptedModel("second", "Hi", DONE), resting=Resting(5, clock))
    await answer(chain, told)
    await answer(chain, told)
    assert len(first.asked) == 1 and told.switches == [("first", "second")]
    clock.now += 6
    await answer(chain, told)
    assert len(first.asked) == 2


async def test_a_mended_provider_is_first_again(told: Told) -> None:
    clock = Clock()
    first = ScriptedModel("first", failing(ErrorKind.REFUSED))
    chain = chain_of(first, ScriptedModel("second", "Hi", DONE), resting=Resting(5, clock))
    await answer(chain, told)
    first.script, clock.now = ("Hi", DONE), clock.now + 6
    await answer(chain, told)
    assert told.switches == [("first", "second"), ("second", "first")] and chain.order()[0] is first


# -- pool ------------------------------------------------------------------------------------------------


async def test_sessions_share_connectors_with_equal_options() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chains = [pool.models(["openai"], {"openai": {"temperature": t}}) for t in (0.1, 0.1, 0.2)]
    first, same, other = (chain.connectors[0] for chain in chains)
    assert first is same and first is not other
    await pool.close()


async def test_an_idle_connector_is_kept_for_the_next() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chain = pool.models(["openai"], {})
    before = chain.connectors[0]
    await chain.close()
    assert pool.models(["openai"], {}).connectors[0] is before


async def test_too_many_idle_connectors_are_closed() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    pool.KEPT_IDLE = 2
    for n in range(5):
        await pool.models(["openai"], {"openai": {"seed": n}}).close()
    assert len(pool._connectors) == 2


async def test_providers_without_keys_are_skipped() -> None:
    chain = Pool({"ANTHROPIC_API_KEY": "k"}).models(["openai", "anthropic", "nobody"], {})
    assert [connector.slug for connector in chain.connectors] == ["anthropic"]
    assert [(a.provider, a.error.kind) for a in chain.skipped] == [
        ("openai", ErrorKind.UNCONFIGURED),
        ("nobody", ErrorKind.UNCONFIGURED),
    ]
    assert "OPENAI_API_KEY" in chain.skipped[0].error.message


async def test_options_it_cannot_take_skip_a_provider() -> None:
    chain = Pool({"OPENAI_API_KEY": "k"}).models(["openai"], {"openai": {"temperature": 9}})
    assert chain.skipped[0].error.kind is ErrorKind.REQUEST and "temperature" in chain.skipped[0].error.message


# -- voice -----------------------------------------------------------------------------------------------


async def test_speech_comes_as_it_is_sent(told: Told) -> None:
    assert await speak(chain_of(ScriptedVoice("first", PCM, PCM)), told) == PCM * 2
    assert told.usage == {("first", "characters"): len("Good morning.")}


async def test_no_audio_is_a_failure(told: Told) -> None:
    chain = chain_of(ScriptedVoice("first"), ScriptedVoice("second", PCM))
    assert await speak(chain, told) == PCM
    assert told.failures == [("first", ErrorKind.EMPTY)]


async def test_a_sentence_broken_off_is_paid_whole(told: Told) -> None:
    chain = chain_of(ScriptedVoice("first", PCM, NEVER))
    async with Speaking(chain, 8000, HASTY) as voice, aclosing(voice.speak("Good morning.", told)) as pieces:
        await anext(pieces)
    assert told.usage == {("first", "characters"): 13}


async def test_a_text_without_words_is_not_asked(told: Told) -> None:
    voice = ScriptedVoice("first", PCM)
    async with Speaking(chain_of(voice), 8000, HASTY) as speaking:
        assert [pcm async for pcm in speaking.speak(" – … ", told)] == []
    assert not voice.asked and not told.failures


async def test_late_audio_is_a_failure(told: Told) -> None:
    assert await speak(chain_of(ScriptedVoice("first", NEVER), ScriptedVoice("second", PCM)), told) == PCM
    assert told.failures == [("first", ErrorKind.TIMEOUT)]


@pytest.mark.parametrize(("before", "after"), [(24_000, 8_000), (22_050, 8_000), (8_000, 16_000)])
async def test_another_rate_becomes_the_sessions(before: int, after: int, told: Told) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(before) / before) * 10_000
    pieces = [piece.astype("<i2").tobytes() for piece in np.array_split(tone, 25)]
    heard = np.frombuffer(await speak(chain_of(ScriptedVoice("first", *pieces, rate=before)), told, after), "<i2")
    loudest = np.argmax(np.abs(np.fft.rfft(heard))) * after / len(heard)
    assert abs(len(heard) - after) < after / 100 and abs(loudest - 440) < 5


async def test_two_sentences_stream_at_once(told: Told) -> None:
    voice = ScriptedVoice("first", PCM, PCM)
    async with Speaking(chain_of(voice), 8000, HASTY) as speaking:
        one, two = speaking.speak("One.", told), speaking.speak("Two.", told)
        assert [await anext(one), await anext(two)] == [PCM, PCM] and voice.asked == ["One.", "Two."]
        await one.aclose()
        assert await anext(two) == PCM
        await two.aclose()


# -- recognition -----------------------------------------------------------------------------------------


async def hear(chain: Chain[Any], told: Told, pieces: int = 3) -> Heard:
    async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognition:
        await recognition.begin()
        for _ in range(pieces):
            await recognition.send(PCM)
        return await recognition.finish()


async def test_a_transcript_names_its_provider(told: Told) -> None:
    chain = chain_of(ScriptedRecognizer("first", None, None, None, None, "hello"))
    assert await hear(chain, told) == Heard(Transcript("hello"), "first")
    assert told.usage == {("first", "audio_ms"): 60}


@pytest.mark.accepts("M48")
@pytest.mark.parametrize("step", [0, 1, 3, 4])
@pytest.mark.parametrize("fault", [failing(ErrorKind.BROKEN), NEVER])
async def test_the_next_recogniser_gets_all_the_audio(step: int, fault: object, told: Told) -> None:
    second = ScriptedRecognizer("second", None, None, None, None, "hello")
    first = ScriptedRecognizer("first", *[None] * step, fault)
    assert await hear(chain_of(first, second), told) == Heard(Transcript("hello"), "second")
    assert second.asked == [PCM * 3] and first.closed.is_set()
    assert told.switches == [("first", "second")]


async def test_an_empty_transcript_is_an_answer(told: Told) -> None:
    assert await hear(chain_of(ScriptedRecognizer("first")), told) == Heard(Transcript(""), "first")


async def test_failed_recognition_tells_every_attempt(told: Told) -> None:
    chain = chain_of(ScriptedRecognizer("a", failing(ErrorKind.AUTH)), ScriptedRecognizer("b", None, NEVER))
    with pytest.raises(AllFailed, match="a: it is auth; b: took no audio within 0.05 s"):
        await hear(chain, told)


async def test_failed_recognition_is_paid_too(told: Told) -> None:
    first = ScriptedRecognizer("first", None, None, None, None, failing(ErrorKind.BROKEN))
    await hear(chain_of(first, ScriptedRecognizer("second")), told)
    assert told.usage == {("first", "audio_ms"): 60, ("second", "audio_ms"): 60}


async def test_an_abandoned_utterance_is_paid(told: Told) -> None:
    chain = chain_of(ScriptedRecognizer("first"))
    async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognition:
        await recognition.begin()
        await recognition.send(PCM)
    assert told.usage == {("first", "audio_ms"): 20}


async def test_the_next_utterance_starts_afresh(told: Told) -> None:
    recognizer = ScriptedRecognizer("first")
    async with Recognizing(chain_of(recognizer), 8000, HASTY, told, lambda text: None) as recognition:
        for pcm in (PCM, PCM * 2):
            await recognition.begin()
            await recognition.send(pcm)
            await recognition.finish()
    assert recognizer.asked == [PCM, PCM * 2]


async def test_interims_of_a_failed_provider_are_dropped(told: Told) -> None:
    first, second = ScriptedRecognizer("first", None, failing(ErrorKind.BROKEN)), ScriptedRecognizer("second")
    interims: list[str] = []
    async with Recognizing(chain_of(first, second), 8000, HASTY, told, interims.append) as recognition:
        await recognition.begin()
        first.on_interim("he")
        await recognition.send(PCM)
        first.on_interim("hell")
        second.on_interim("hello")
        await recognition.finish()
    assert interims == ["he", "hello"]


async def test_endless_utterances_keep_a_bounded_replay(told: Told) -> None:
    recognizer = ScriptedRecognizer("first")
    async with Recognizing(chain_of(recognizer), 8000, HASTY, told, lambda text: None) as recognition:
        recognition.KEPT_SECONDS = 1
        await recognition.begin()
        for _ in range(60):
            await recognition.send(PCM)
        await recognition.finish()
    assert recognition.dropped == 10 * len(PCM) and recognizer.asked == [PCM * 60]
