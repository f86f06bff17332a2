"""The voice of Piper's process, against a module that stands in for Piper."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Spoken
from connectors_app.providers.piper import CHILD, FOLDER, Piper, PiperOptions
from tests.providers.tones import decode, is_exact

TEXT = "Your appointment on Monday is booked. Is there anything else?"
VOICE = "en_US-lessac-medium"


@pytest.fixture(autouse=True)
def piper_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "stand_ins")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for name, speakers in ((VOICE, 1), ("en_GB-vctk-medium", 109), ("en_US-slowly", 1)):
        (tmp_path / f"{name}.onnx").write_bytes(b"a model")
        about = {"num_speakers": speakers, "audio": {"sample_rate": 22_050}}
        (tmp_path / f"{name}.onnx.json").write_text(json.dumps(about))


@asynccontextmanager
async def piper(**options: Any) -> AsyncIterator[Piper]:
    voice = Piper(PiperOptions(**options), Piper.credentials_from(os.environ))
    try:
        yield voice
    finally:
        await voice.close()


async def spoken(voice: Piper, text: str = TEXT, rate: int = 8000) -> bytes:
    async with voice.open(rate) as speech:
        return b"".join([piece async for piece in speech.speak(text) if not isinstance(piece, Spoken)])


def loaded(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.loaded")]


async def refusal_of(**options: Any) -> ProviderError:
    async with piper(**options) as voice:
        with pytest.raises(ProviderError) as caught:
            await voice.warm()
    return caught.value


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
async def test_speech_is_whole_at_its_rate(rate: int) -> None:
    async with piper() as voice:
        assert is_exact(TEXT, decode(await spoken(voice, rate=rate), rate))


async def test_options_reach_the_voice() -> None:
    async with piper(length_scale=2) as slow, piper(voice="en_GB-vctk-medium", speaker_id=7) as other:
        assert len(await spoken(slow)) > 1.5 * len(await spoken(other))


async def test_a_long_text_is_spoken_in_parts() -> None:
    async with piper() as voice:
        assert len(await spoken(voice, "These are words. " * 60)) / 16_000 > 10


async def test_a_cancelled_text_is_abandoned() -> None:
    async with piper() as voice, voice.open(8000) as speech:
        async with aclosing(speech.speak("Slowly, one by one. " * 15)) as pieces:  # type: ignore[type-var]
            assert await anext(pieces)
        assert is_exact(TEXT, decode(await spoken(voice), 8000))


async def test_a_killed_process_is_replaced() -> None:
    async with piper() as voice:
        before = await spoken(voice)
        os.kill((await CHILD.take(voice)).pid, signal.SIGKILL)
        assert await spoken(voice) == before


async def test_a_voice_that_loads_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer for that than any other process may say nothing."""
    monkeypatch.setattr("connectors_app.providers.offline.child.ANSWER_SECONDS", 0.05)
    async with piper(voice="en_US-slowly") as voice:
        assert is_exact(TEXT, decode(await spoken(voice), 8000))


async def test_all_voices_are_loaded_before_the_first_caller(tmp_path: Path) -> None:
    """A sentence that its voice has to be loaded for comes too late. One voice's fault is none of another's."""
    (tmp_path / "broken.onnx").touch()
    async with piper() as voice:
        await voice.warm()
    assert len(loaded(tmp_path)) == 3


async def test_many_voices_wait_until_they_are_asked_for(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"more-{number}.onnx").touch()
    async with piper() as voice:
        await voice.warm()
    assert loaded(tmp_path) == [f"{VOICE}.onnx.loaded"]


async def test_piper_is_not_in_our_process() -> None:
    async with piper() as voice:
        assert await spoken(voice)
    assert "piper" not in sys.modules


async def test_a_wrong_name_is_told_with_near_ones() -> None:
    error = await refusal_of(voice="en_US-lesac-medium")
    assert error.kind is ErrorKind.REQUEST
    assert str(error) == f"Piper (offline) has no voice named “en_US-lesac-medium”; near to it: {VOICE}"


async def test_half_a_voice_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{VOICE}.onnx.json").unlink()
    assert f"{VOICE}.onnx.json is missing" in str(await refusal_of())


async def test_a_model_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{VOICE}.onnx").write_bytes(b"")
    assert f"cannot speak with the voice “{VOICE}” (RuntimeError)" in str(await refusal_of())


async def test_a_speaker_too_many_is_told() -> None:
    assert "has 1 speakers" in str(await refusal_of(speaker_id=1))


async def test_without_piper_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors_app.providers.piper.find_spec", lambda name: None)
    error = await refusal_of()
    assert error.kind is ErrorKind.UNCONFIGURED and "pip install piper-tts" in str(error)


@pytest.mark.parametrize("folder", ["", "/nowhere/at/all"])
async def test_without_its_folder_it_says_what_to_set(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, folder)
    error = await refusal_of()
    assert error.kind is ErrorKind.UNCONFIGURED and FOLDER in str(error)
    assert Piper.missing_settings(os.environ) == (() if folder else (FOLDER,))


@pytest.mark.parametrize(
    "options",
    [{"voice": "../secret"}, {"voice": "/etc/passwd"}, {"speaker_id": -1}, {"length_scale": 0}, {"volume": 3}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        PiperOptions(**options)
