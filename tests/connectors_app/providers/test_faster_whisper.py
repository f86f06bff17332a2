"""Whisper on this machine: what its process is asked and answers, and what is said when something is not there."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.pool import Pool
from connectors_app.providers.offline import local_model
from connectors_app.providers.offline.local_model import MODELS
from tests.connectors_app.local_packages import FASTER_WHISPER, a_model, install
from tests.connectors_app.turns import made_with, transcript_of
from workers.operations import ProviderHealth

SETTING = "MESHAG_FASTER_WHISPER_MODEL"
LOUD = b"\x00\x20" * 8000
"""A second at 8 kHz."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is installed, and the installation has a model."""
    install(tmp_path, "faster_whisper", FASTER_WHISPER)
    monkeypatch.syspath_prepend(tmp_path)
    return a_model(tmp_path / "models" / "small")


@asynccontextmanager
async def whisper(folder: Path | str, **options: Any) -> AsyncIterator[Any]:
    async with made_with(Role.STT, "faster_whisper", options, {SETTING: str(folder)}) as recognizer:
        yield recognizer


async def refusal(folder: Path | str, **options: Any) -> str:
    async with whisper(folder, **options) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await recognizer.check()
    assert caught.value.kind is ErrorKind.UNCONFIGURED
    return caught.value.message


async def test_an_utterance_is_written_down(model: Path) -> None:
    async with whisper(model) as recognizer:
        heard = await transcript_of(recognizer, LOUD)
        assert (await transcript_of(recognizer, bytes(16_000))).text == ""
    assert (heard.text, heard.language, recognizer.model) == ("Hello there.", "en", "small")
    assert heard.confidence == pytest.approx(0.905, abs=0.001)


async def test_all_options_reach_the_model(model: Path) -> None:
    loaded = {"device": "cpu", "compute_type": "int8", "cpu_threads": 2}
    asked = {"language": "de", "beam_size": 3, "temperature": 0.2, "initial_prompt": "Guten Tag.", "hotwords": "MeshAG"}
    asked |= {"vad_filter": True, "no_speech_threshold": 0.4}
    async with whisper(model, **loaded, **asked) as recognizer:
        assert (await transcript_of(recognizer, LOUD)).language == "de"
    found = json.loads((model / "asked").read_text())
    assert found.pop("samples") == pytest.approx(16_000, abs=100)
    assert found == {**loaded, **asked, "type": "float32", "without_timestamps": True}


async def test_a_long_utterance_is_cut_where_words_end(model: Path) -> None:
    """Whisper hears half a minute at once. Without times, it would go on there, in the middle of a word."""
    async with whisper(model) as recognizer:
        await transcript_of(recognizer, LOUD * 31)
    assert not json.loads((model / "asked").read_text())["without_timestamps"]


async def test_a_moment_of_sound_is_no_utterance(model: Path) -> None:
    async with whisper(model) as recognizer:
        assert (await transcript_of(recognizer, LOUD[:800])).text == ""
    assert not (model / "asked").exists()


async def test_one_process_serves_all_options_of_a_model(model: Path) -> None:
    async with whisper(model, language="en") as first, whisper(model, language="de") as second:
        assert await MODELS.take(first) is await MODELS.take(second)


async def test_another_model_lies_beside_the_first(model: Path) -> None:
    a_model(model.parent / "large")
    async with whisper(model, model_path="large") as recognizer:
        assert (await transcript_of(recognizer, LOUD)).text == "Hello there."
        assert recognizer.model == "large"


async def test_a_process_that_died_is_replaced(model: Path) -> None:
    async with whisper(model) as recognizer:
        await recognizer.warm()
        child = await MODELS.take(recognizer)
        async with recognizer.open(8000, lambda text: None) as recognition:
            await recognition.begin()
            await recognition.send(LOUD)
            os.kill(child.pid, signal.SIGKILL)
            with pytest.raises(ProviderError) as caught:
                await recognition.finish()
        assert caught.value.kind is ErrorKind.BROKEN
        assert (await transcript_of(recognizer, LOUD)).text == "Hello there."


async def test_what_the_model_cannot_do_ends_no_process(model: Path) -> None:
    async with whisper(model, initial_prompt="Fail.") as failing, whisper(model) as recognizer:
        await recognizer.warm()
        pid = (await MODELS.take(recognizer)).pid
        with pytest.raises(ProviderError, match="ValueError: that is not possible"):
            await transcript_of(failing, LOUD)
        assert (await transcript_of(recognizer, LOUD)).text == "Hello there."
        assert (await MODELS.take(recognizer)).pid == pid


async def test_a_process_that_works_is_not_stuck(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they take longer than a process may say nothing."""
    monkeypatch.setattr(local_model, "MODEL_SECONDS", 1.0)
    async with whisper(model, initial_prompt="Slowly.") as recognizer:
        heard = await asyncio.gather(*(transcript_of(recognizer, LOUD) for _ in range(12)))
    assert {one.text for one in heard} == {"Hello there."}


async def test_a_language_that_the_model_does_not_know_is_told(model: Path) -> None:
    assert "does not know the language “fr”" in await refusal(model, language="fr")


async def test_a_model_without_its_tokenizer_is_not_looked_for_elsewhere(model: Path) -> None:
    (model / "model.bin").touch()
    assert "tokenizer.json is missing" in await refusal(model)


async def test_a_missing_package_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    said = await refusal(model)
    assert "pip install faster-whisper" in said and SETTING in said


async def test_a_link_beside_a_link_is_followed(model: Path, tmp_path: Path) -> None:
    a_model(tmp_path / "elsewhere")
    for name in ("current", "other"):
        (model.parent / name).symlink_to(tmp_path / "elsewhere")
    async with whisper(model.parent / "current", model_path="other") as recognizer:
        await recognizer.check()


@pytest.mark.parametrize("options", [{"model_path": "none"}, {"model_path": "/"}, {"model_path": "../.."}])
async def test_a_folder_elsewhere_is_no_model(options: dict[str, Any], model: Path) -> None:
    assert "model_path" in await refusal(model, **options)


async def test_a_setting_without_a_folder_is_named(model: Path) -> None:
    assert SETTING in await refusal(model.parent / "gone")


async def test_a_folder_without_a_model_is_told(model: Path) -> None:
    (model / "model").unlink()
    assert "cannot be loaded" in await refusal(model)


def test_without_a_model_it_is_listed_as_lacking_it() -> None:
    assert registry.missing(Role.STT, {})["faster_whisper"] == (SETTING,)
    assert "faster_whisper" not in registry.usable(Role.STT, {})


@pytest.mark.parametrize("slug", ["faster_whisper", "vosk"])
def test_readiness_does_not_mind_what_is_not_set_up(slug: str) -> None:
    checks = {check.name: check for check in ProviderHealth(Role.STT, Pool({})).checks()}
    assert checks[f"provider_{slug}"].status == "unconfigured"
    assert checks["provider_pocketsphinx"].status == "healthy"
