"""Vosk on this machine: it hears as the caller speaks, several at a time, and says when it lost the beginning."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.offline import local_model
from connectors_app.providers.offline.local_model import MODELS
from connectors_app.providers.vosk import Vosk
from tests.connectors_app.local_packages import VOSK, a_model, install
from tests.connectors_app.turns import made_with, transcript_of

SETTING = "MESHAG_VOSK_MODEL"
TENTH = b"\x00\x20" * 1600
"""Of a second, at 16 kHz."""
LOUD = b"\x00\x20" * 8000
"""A second at 8 kHz."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is installed, and the installation has a model."""
    install(tmp_path, "vosk", VOSK)
    monkeypatch.syspath_prepend(tmp_path)
    return a_model(tmp_path / "models" / "small")


@asynccontextmanager
async def vosk(folder: Path | str, **options: Any) -> AsyncIterator[Any]:
    async with made_with(Role.STT, "vosk", options, {SETTING: str(folder)}) as recognizer:
        yield recognizer


async def heard(recognition: Any, *pieces: bytes) -> Any:
    await recognition.begin()
    for piece in pieces:
        await recognition.send(piece)
    return await recognition.finish()


async def test_it_tells_as_it_hears(model: Path) -> None:
    told: list[str] = []
    async with vosk(model) as recognizer, recognizer.open(16_000, told.append) as recognition:
        transcript = await heard(recognition, TENTH, TENTH, bytes(3200), TENTH)
    assert Vosk.tells_as_it_hears and told == ["word", "word word", "word word", "word word word"]
    assert transcript.text == "word word word" and transcript.confidence == pytest.approx(0.8)


async def test_a_telephones_rate_is_heard(model: Path) -> None:
    async with vosk(model) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        assert "word" in (await heard(recognition, b"\x00\x20" * 8000)).text
        assert (await heard(recognition)).text == ""


async def test_callers_are_heard_side_by_side(model: Path) -> None:
    async with vosk(model) as recognizer:
        opened = [recognizer.open(16_000, lambda text: None) for _ in range(4)]
        said = await asyncio.gather(*(heard(one, *[TENTH] * count) for count, one in enumerate(opened, 1)))
    assert [len(one.text.split()) for one in said] == [1, 2, 3, 4]


async def test_an_abandoned_utterance_is_forgotten(model: Path) -> None:
    async with vosk(model) as recognizer, recognizer.open(16_000, lambda text: None) as recognition:
        await recognition.begin()
        await recognition.send(TENTH)
        assert (await heard(recognition, TENTH, TENTH)).text == "word word"


async def test_phrases_become_a_grammar(model: Path) -> None:
    """As the model writes them; Vosk does not understand JSON's escapes for letters."""
    (model / "HCLr.fst").touch()
    async with vosk(model, phrases=["Öffne die Tür"]) as recognizer, recognizer.open(16_000, str) as recognition:
        await heard(recognition, TENTH)
    assert (model / "asked").read_text() == '["öffne die tür"]'


async def test_a_word_that_the_model_does_not_know_is_named(model: Path) -> None:
    (model / "HCLr.fst").touch()
    async with vosk(model, phrases=["die Tor"]) as recognizer:
        with pytest.raises(ProviderError, match="does not know the word “Tor”") as caught:
            await recognizer.check()
    assert caught.value.kind is ErrorKind.UNCONFIGURED


async def test_phrases_for_a_model_that_takes_none_are_refused(model: Path) -> None:
    async with vosk(model, phrases=["die"]) as recognizer:
        with pytest.raises(ProviderError, match="takes no phrases"):
            await transcript_of(recognizer, LOUD)


async def test_a_refusal_leaves_other_callers_alone(model: Path) -> None:
    async with (
        vosk(model) as recognizer,
        recognizer.open(16_000, str) as recognition,
        vosk(model, phrases=["x"]) as other,
    ):
        await recognition.begin()
        await recognition.send(TENTH)
        with pytest.raises(ProviderError):
            await other.check()
        await recognition.send(TENTH)
        assert (await recognition.finish()).text == "word word"


async def test_noise_is_no_word(model: Path) -> None:
    async with vosk(model) as recognizer, recognizer.open(16_000, str) as recognition:
        assert (await heard(recognition, TENTH, b"\x00\x7f" * 1600, TENTH)).text == "word word"


async def test_a_lost_beginning_is_told(model: Path) -> None:
    """The process dies between two pieces of an utterance, and another one takes its place."""
    async with vosk(model) as recognizer, recognizer.open(16_000, lambda text: None) as recognition:
        await recognition.begin()
        await recognition.send(TENTH)
        child = await MODELS.take(recognizer)
        gone = child._reading
        assert gone
        os.kill(child.pid, signal.SIGKILL)
        await gone
        with pytest.raises(ProviderError) as caught:
            await recognition.send(TENTH)
        assert caught.value.kind is ErrorKind.BROKEN
        assert (await heard(recognition, TENTH)).text == "word"


async def test_a_missing_package_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    async with vosk(model) as recognizer:
        with pytest.raises(ProviderError, match="pip install vosk") as caught:
            await recognizer.check()
    assert caught.value.kind is ErrorKind.UNCONFIGURED


@pytest.mark.parametrize("lost", ["model", "graph"])
async def test_a_model_that_cannot_be_loaded_is_told(lost: str, model: Path) -> None:
    (model / lost).unlink()
    async with vosk(model) as recognizer:
        with pytest.raises(ProviderError, match="cannot be loaded") as caught:
            await recognizer.probe()
    assert caught.value.kind is ErrorKind.UNCONFIGURED
