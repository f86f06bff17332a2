"""Voices in order: deadlines, fallback also in the middle of a sentence, and cancellation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from connectors_app.base.errors import ErrorKind
from connectors_app.base.voice import Spoken
from connectors_app.pool import AllFailed, Chain
from connectors_app.speaking import Speaking
from tests.connectors_app.fakes import HASTY, NEVER, ScriptedVoice, Told, chain_of, failing

PCM = b"\x00\x10" * 4000
"""Half a second."""


@pytest.fixture
def told() -> Told:
    return Told()


async def speak(chain: Chain[Any], told: Told, rate: int = 8000, text: str = "Good morning.") -> bytes:
    async with Speaking(chain, rate, HASTY) as voice, aclosing(voice.speak(text, told)) as pieces:
        return b"".join([pcm async for pcm in pieces])


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


# -- in the middle of a sentence -------------------------------------------------------------------------

SENTENCE = "Your flight leaves at nine from gate B4."
SECOND = b"\x00\x10" * 8000


@pytest.mark.parametrize("fault", [failing(ErrorKind.BROKEN), NEVER, KeyError("audio")])
async def test_the_next_says_the_rest_by_alignment(fault: object, told: Told) -> None:
    first = ScriptedVoice("first", Spoken(4, 2000), Spoken(11, 5000), Spoken(18, 9000), SECOND, fault)
    second = ScriptedVoice("second", SECOND, SECOND)
    await speak(chain_of(first, second), told, text=SENTENCE)
    assert second.asked == ["leaves at nine from gate B4."]


async def test_the_next_says_the_rest_by_the_clock(told: Told) -> None:
    """Of a voice that is not known, a second may be as little as eight letters."""
    second = ScriptedVoice("second", SECOND, SECOND)
    await speak(chain_of(ScriptedVoice("first", SECOND, failing(ErrorKind.BROKEN)), second), told, text=SENTENCE)
    assert second.asked == ["flight leaves at nine from gate B4."]


async def test_a_missing_end_mark_alone_says_nothing_again(told: Told) -> None:
    second = ScriptedVoice("second", SECOND, SECOND)
    first = ScriptedVoice("first", Spoken(len(SENTENCE), 8000), SECOND, failing(ErrorKind.BROKEN))
    assert await speak(chain_of(first, second), told, text=SENTENCE) == SECOND
    assert not second.asked and told.failures == [("first", ErrorKind.BROKEN)]


async def test_a_clean_end_of_half_a_sentence_is_a_break(told: Told) -> None:
    first, second = ScriptedVoice("first", SECOND, SECOND, SECOND), ScriptedVoice("second", SECOND, SECOND)
    await speak(chain_of(first, second), told, text=SENTENCE)
    first.script = (PCM,)
    await speak(chain_of(first, second), told, text=SENTENCE)
    assert told.failures == [("first", ErrorKind.BROKEN)] and second.asked == [SENTENCE]


async def test_silence_is_no_speech(told: Told) -> None:
    first = ScriptedVoice("first", bytes(16_000))
    assert await speak(chain_of(first, ScriptedVoice("second", PCM)), told) == PCM
    assert told.failures == [("first", ErrorKind.EMPTY)]


async def test_a_pause_before_the_first_word_is_kept(told: Told) -> None:
    assert await speak(chain_of(ScriptedVoice("first", bytes(800), PCM)), told) == bytes(800) + PCM


async def test_speech_without_end_is_cut(told: Told) -> None:
    first, second = ScriptedVoice("first", *[SECOND] * 90), ScriptedVoice("second", PCM)
    assert len(await speak(chain_of(first, second), told)) < 40 * len(SECOND)
    assert told.failures == [("first", ErrorKind.BROKEN)] and not second.asked


class Trickling(ScriptedVoice):
    async def play(self, asked: Any) -> AsyncIterator[Any]:
        async for item in super().play(asked):
            await asyncio.sleep(0.01)
            yield item


async def test_a_voice_slower_than_the_ear_is_left(told: Told) -> None:
    """10 ms for each millisecond of audio."""
    second = ScriptedVoice("second", SECOND, SECOND)
    await speak(chain_of(Trickling("first", *[b"\x00\x10" * 8] * 1000), second), told, text=SENTENCE)
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and second.asked == [SENTENCE]


async def test_a_file_is_no_audio(told: Told) -> None:
    first = ScriptedVoice("first", b"RIFF" + PCM)
    assert await speak(chain_of(first, ScriptedVoice("second", PCM)), told) == PCM


async def test_nobody_left_tells_every_attempt(told: Told) -> None:
    with pytest.raises(AllFailed, match="first: it is auth; second: no audio within 0.05 s"):
        await speak(chain_of(ScriptedVoice("first", failing(ErrorKind.AUTH)), ScriptedVoice("second", NEVER)), told)
