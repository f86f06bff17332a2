"""What a Whisper says of itself beside the text, where it is asked for that."""

import json
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Credentials, Role
from connectors_app.base.recognizer import Recognizer, Transcript
from tests.connectors_app.raw import answering

PCM = bytes(16_000)
SURE = {"no_speech_prob": 0.1, "avg_logprob": -0.1}
NOISE = {"no_speech_prob": 0.8, "avg_logprob": -0.3}
GUESS = {"no_speech_prob": 0.1, "avg_logprob": -1.5}


async def transcript(answer: dict[str, Any]) -> Transcript:
    cls = registry.get(Role.STT, "custom")
    async with answering(json.dumps(answer).encode()) as url:
        options = registry.make_options(cls, {"model": "whisper-1", "response_format": "verbose_json"})
        recognizer = cls(options, Credentials(base_url=f"{url}/v1"))
        assert isinstance(recognizer, Recognizer)
        async with recognizer.open(8000, lambda text: None) as recognition:
            await recognition.begin()
            await recognition.send(PCM)
            heard = await recognition.finish()
        await recognizer.close()
    return heard


@pytest.mark.parametrize(("segments", "is_sure"), [([SURE], True), ([NOISE], False), ([GUESS], False)])
async def test_a_whisper_tells_how_sure_it_is(segments: list[dict[str, float]], is_sure: bool) -> None:
    heard = await transcript({"text": "Thank you.", "segments": segments})
    assert heard.confidence is not None and (heard.confidence > 0.5) is is_sure


@pytest.mark.parametrize("segments", [None, []])
async def test_without_segments_nothing_is_told(segments: object) -> None:
    assert await transcript({"text": "Hello.", "segments": segments}) == Transcript("Hello.")


async def test_servers_that_know_no_probabilities_are_read() -> None:
    silent = {"no_speech_prob": None, "avg_logprob": None}
    assert (await transcript({"text": "Hello.", "segments": [silent, {}]})).text == "Hello."
