"""The real packages, where the environment names models: an English voice, an English Whisper, and any of Vosk's."""

import asyncio
import os
import signal
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest

from connectors_app.base.connector import Role
from connectors_app.base.errors import ProviderError
from connectors_app.base.recognizer import Recognizer, Transcript
from connectors_app.base.voice import Spoken
from connectors_app.providers.offline.local_model import MODELS
from tests.connectors_app.local_packages import local_voices
from tests.connectors_app.turns import made_with
from tests.settings import LOCAL_MODELS

TEXT = "Good morning. I would like to book a table for four people."
WORDS = {"good", "morning", "book", "table", "people"}
pytestmark = pytest.mark.skipif(not local_voices(), reason="MESHAG_PIPER_VOICES names no folder with voices")
WHISPER = pytest.mark.skipif(
    "MESHAG_FASTER_WHISPER_MODEL" not in LOCAL_MODELS, reason="MESHAG_FASTER_WHISPER_MODEL names no model"
)
VOSK = pytest.mark.skipif("MESHAG_VOSK_MODEL" not in LOCAL_MODELS, reason="MESHAG_VOSK_MODEL names no model")


def local(role: Role, slug: str, **options: Any) -> AbstractAsyncContextManager[Any]:
    return made_with(role, slug, options, LOCAL_MODELS)


async def speech(rate: int, text: str = TEXT) -> bytes:
    async with local(Role.TTS, "piper", voice=local_voices()[0]) as voice, voice.open(rate) as speech:
        return b"".join([piece async for piece in speech.speak(text) if not isinstance(piece, Spoken)])


async def heard(recognizer: Recognizer, pcm: bytes, rate: int, told: list[str] | None = None) -> Transcript:
    async with recognizer.open(rate, (told if told is not None else []).append) as recognition:
        await recognition.begin()
        for start in range(0, len(pcm), rate // 25):
            await recognition.send(pcm[start : start + rate // 25])
        return await recognition.finish()


def words(transcript: Transcript) -> set[str]:
    return {word.strip(".,!?").lower() for word in transcript.text.split()}


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
async def test_piper_speaks_at_every_rate(rate: int) -> None:
    samples = np.frombuffer(await speech(rate), "<i2")
    assert 2 < len(samples) / rate < 8 and np.abs(samples).max() > 4000


@WHISPER
@pytest.mark.parametrize("rate", [8000, 16_000])
async def test_what_piper_says_whisper_writes_down(rate: int) -> None:
    pcm = await speech(rate)
    async with local(Role.STT, "faster_whisper", language="en") as whisper:
        first, second = await asyncio.gather(*(heard(whisper, pcm, rate) for _ in range(2)))
    assert words(first) == words(second) >= WORDS and first.language == "en"
    assert first.confidence and first.confidence > 0.5


@WHISPER
async def test_whisper_hears_nothing_in_silence() -> None:
    async with local(Role.STT, "faster_whisper", language="en") as whisper:
        assert (await heard(whisper, bytes(64_000), 16_000)).text == ""


@WHISPER
async def test_whisper_loses_no_words_of_a_long_utterance() -> None:
    pcm = await speech(16_000, " ".join(f"The number {number} is here." for number in range(11, 41)))
    assert len(pcm) > 32_000 * 35
    async with local(Role.STT, "faster_whisper", language="en") as whisper:
        numbers = {word for word in words(await heard(whisper, pcm, 16_000)) if word.isdigit()}
    assert len(numbers) > 25


@VOSK
@pytest.mark.parametrize("rate", [8000, 16_000])
async def test_vosk_tells_words_as_it_hears(rate: int) -> None:
    told: list[str] = []
    async with local(Role.STT, "vosk") as vosk:
        transcript = await heard(vosk, await speech(rate), rate, told)
    assert any(told[: len(told) // 2]) and transcript.text
    assert transcript.confidence and 0 < transcript.confidence <= 1


@VOSK
async def test_vosk_names_a_word_that_it_does_not_know() -> None:
    async with local(Role.STT, "vosk", phrases=["qqqzzzx"]) as vosk:
        with pytest.raises(ProviderError, match="qqqzzzx|takes no phrases"):
            await vosk.check()


@pytest.mark.parametrize(
    "slug", [pytest.param("faster_whisper", marks=WHISPER), pytest.param("vosk", marks=VOSK)], ids=str
)
async def test_a_killed_model_is_loaded_again(slug: str) -> None:
    pcm = await speech(16_000)
    async with local(Role.STT, slug) as recognizer:
        await recognizer.warm()
        async with recognizer.open(16_000, lambda text: None) as recognition:
            await recognition.begin()
            await recognition.send(pcm)
            os.kill((await MODELS.take(recognizer)).pid, signal.SIGKILL)
            with pytest.raises(ProviderError):
                await recognition.finish()
        assert (await heard(recognizer, pcm, 16_000)).text
