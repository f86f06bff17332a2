"""What a transcription tells of itself beside the text, and how it is asked for that."""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors_app import registry
from connectors_app.base.connector import Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognizer, Transcript
from tests.connectors_app.raw import answering, serving

PCM = bytes(16_000)
SURE = {"no_speech_prob": 0.1, "avg_logprob": -0.1}
NOISE = {"no_speech_prob": 0.8, "avg_logprob": -0.3}
GUESS = {"no_speech_prob": 0.1, "avg_logprob": -1.5}
EDGE = {"no_speech_prob": 0.1, "avg_logprob": -1.0}


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Recognizer]:
    cls = registry.get(Role.STT, "custom")
    recognizer = cls(
        registry.make_options(cls, {"model": "large-whisper", **options}), Credentials(base_url=f"{url}/v1")
    )
    assert isinstance(recognizer, Recognizer)
    try:
        yield recognizer
    finally:
        await recognizer.close()


async def ask(recognizer: Recognizer) -> Transcript:
    async with recognizer.open(8000, lambda text: None) as recognition:
        await recognition.begin()
        await recognition.send(PCM)
        return await recognition.finish()


async def transcript(answer: dict[str, Any]) -> Transcript:
    async with answering(json.dumps(answer).encode()) as url, asking(url) as recognizer:
        return await ask(recognizer)


# -- what is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("segments", "is_sure"), [([SURE], True), ([NOISE], False), ([GUESS], False)])
async def test_a_whisper_tells_how_sure_it_is(segments: list[dict[str, float]], is_sure: bool) -> None:
    heard = await transcript({"text": "Thank you.", "segments": segments})
    assert heard.confidence is not None and (heard.confidence > 0.5) is is_sure


async def test_what_whisper_calls_failed_is_half_sure() -> None:
    assert (await transcript({"text": "Thank you.", "segments": [EDGE]})).confidence == 0.5


async def test_the_likelihood_of_tokens_is_their_mean() -> None:
    answer = {"text": "Hello.", "logprobs": [{"token": "Hel", "logprob": -0.1}, {"token": "lo.", "logprob": -0.5}]}
    assert (await transcript(answer)).confidence == pytest.approx(math.exp(-0.3))


@pytest.mark.parametrize("segments", [None, []])
async def test_without_segments_nothing_is_told(segments: object) -> None:
    assert await transcript({"text": "Hello.", "segments": segments}) == Transcript("Hello.")


async def test_servers_that_know_no_probabilities_are_read() -> None:
    silent = {"no_speech_prob": None, "avg_logprob": None}
    assert (await transcript({"text": "Hello.", "segments": [silent, {}]})).text == "Hello."


@pytest.mark.parametrize(("told", "language"), [([{"code": "de"}, {"code": "en"}], "de"), ([], "")])
async def test_the_newest_models_tell_languages(told: list[dict[str, str]], language: str) -> None:
    assert await transcript({"text": "Hallo.", "languages": told}) == Transcript("Hallo.", language)


# -- what is asked for -----------------------------------------------------------------------------------


@asynccontextmanager
async def picky(shapes: list[str]) -> AsyncIterator[str]:
    """A server that knows no `verbose_json`; what it is asked for."""

    async def answer(request: web.Request) -> web.Response:
        shapes.append(str((await request.post())["response_format"]))
        if shapes[-1] == "verbose_json":
            return web.json_response({"error": {"message": "no", "type": "BadRequestError", "code": 400}}, status=400)
        return web.json_response({"text": "Hello."})

    async with serving(answer) as url:
        yield url


async def test_a_server_without_segments_is_asked_plainly() -> None:
    shapes: list[str] = []
    async with picky(shapes) as url, asking(url) as recognizer:
        assert [(await ask(recognizer)).text for _ in range(2)] == ["Hello."] * 2
    assert shapes == ["verbose_json", "json", "json"]


async def test_a_chosen_shape_is_not_changed() -> None:
    shapes: list[str] = []
    async with picky(shapes) as url, asking(url, response_format="verbose_json") as recognizer:
        with pytest.raises(ProviderError) as caught:
            await ask(recognizer)
    assert caught.value.kind is ErrorKind.REQUEST and shapes == ["verbose_json"]


async def test_a_model_of_unknown_kind_is_asked_plainly() -> None:
    shapes: list[str] = []
    async with picky(shapes) as url, asking(url, model="canary") as recognizer:
        assert (await ask(recognizer)).text == "Hello."
    assert shapes == ["json"]
