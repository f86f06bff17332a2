"""Recognisers in order: deadlines, replay, doubt, and what is paid."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors_app.base.errors import ErrorKind
from connectors_app.base.recognizer import Recognition, Transcript
from connectors_app.pool import AllFailed, Chain
from connectors_app.recognizing import Heard, Recognizing
from tests.connectors_app.fakes import HASTY, NEVER, ScriptedRecognition, ScriptedRecognizer, Told, chain_of, failing

PCM = b"\x01\x00" * 160


@pytest.fixture
def told() -> Told:
    return Told()


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
        await second.began.wait()
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


async def test_audio_that_nobody_will_get_is_not_kept(told: Told) -> None:
    chain = chain_of(ScriptedRecognizer("first", None, None, failing(ErrorKind.BROKEN)))
    async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognition:
        await recognition.begin()
        for _ in range(60):
            await recognition.send(PCM)
        assert recognition._utterance.next(0) is None
        with pytest.raises(AllFailed):
            await recognition.finish()


# -- doubt -----------------------------------------------------------------------------------------------

LONG = b"\x01\x00" * 8000


async def hear_long(chain: Chain[Any], told: Told, voiced: float = 1.0) -> Heard:
    async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognition:
        await recognition.begin()
        await recognition.send(LONG)
        return await recognition.finish(voiced)


class Unsure(ScriptedRecognizer):
    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return Guessing(self)


class Guessing(ScriptedRecognition):
    async def finish(self) -> Transcript:
        return replace(await super().finish(), confidence=0.2)


async def test_nothing_in_a_long_utterance_is_doubted(told: Told) -> None:
    second = ScriptedRecognizer("second", None, None, "hello")
    assert await hear_long(chain_of(ScriptedRecognizer("first"), second), told) == Heard(Transcript("hello"), "second")
    assert told.failures == [("first", ErrorKind.EMPTY)] and second.asked == [LONG]


@pytest.mark.parametrize("fault", [None, failing(ErrorKind.SERVER)])
async def test_nothing_twice_is_nothing(fault: object, told: Told) -> None:
    second = ScriptedRecognizer("second", None, None, fault)
    assert await hear_long(chain_of(ScriptedRecognizer("first"), second), told) == Heard(Transcript(""), "first")
    assert ("first", ErrorKind.EMPTY) not in told.failures and not told.switches


async def test_a_short_noise_is_not_doubted(told: Told) -> None:
    """Such as a cough: what was sent is longer, by what was kept from before it and the pause that ended it."""
    second = ScriptedRecognizer("second", None, None, "Thank you.")
    heard = await hear_long(chain_of(ScriptedRecognizer("first"), second), told, voiced=0.25)
    assert heard == Heard(Transcript(""), "first") and not second.asked and not told.failures


async def test_words_that_their_provider_doubts_are_noise(told: Told) -> None:
    second = Unsure("second", None, None, "Thank you.")
    assert await hear_long(chain_of(ScriptedRecognizer("first"), second), told) == Heard(Transcript(""), "first")
    assert not told.failures


async def test_nobody_is_put_last_for_hearing_nothing(told: Told) -> None:
    """It may be right: some providers hear words in any noise."""
    first, second = ScriptedRecognizer("first"), ScriptedRecognizer("second", None, None, "Thank you.")
    chain = chain_of(first, second)
    for _ in range(4):
        await hear_long(chain, told)
    assert told.failures == [("first", ErrorKind.EMPTY)] * 4 and chain.order() == [first, second]


async def test_a_mute_recogniser_is_left_while_the_caller_speaks(told: Told) -> None:
    first, second = ScriptedRecognizer("first"), ScriptedRecognizer("second")
    first.tells_as_it_hears = True  # type: ignore[misc]
    patience = replace(HASTY, silence=0.001)
    async with Recognizing(chain_of(first, second), 8000, patience, told, lambda text: None) as recognition:
        await recognition.begin()
        while not told.failures:
            await recognition.send(PCM)
        assert told.failures == [("first", ErrorKind.TIMEOUT)]
        await recognition.finish()
    assert second.asked and len(second.asked[0]) % len(PCM) == 0 and len(second.asked[0]) > len(PCM)


async def test_a_recogniser_that_says_anything_is_not_mute(told: Told) -> None:
    first = ScriptedRecognizer("first")
    first.tells_as_it_hears = True  # type: ignore[misc]
    patience = replace(HASTY, silence=0.03)
    async with Recognizing(chain_of(first), 8000, patience, told, lambda text: None) as recognition:
        await recognition.begin()
        for _ in range(10):
            await recognition.send(PCM)
            first.on_interim("")
        await recognition.finish()
    assert not told.failures
