"""OpenAI's voices: which can be asked for, and what comes is samples."""

import pytest
from pydantic import ValidationError

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.openai import OpenAISpeechOptions
from tests.connectors_app.turns import made_with, speech_of
from tests.providers.openai import OPENAI_SPEECH
from tests.providers.standins import StandIns


async def test_an_own_voice_is_asked_by_its_id(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "openai", {"voice": "voice_1234"}, environ) as voice:
        assert (await speech_of(voice))[0]
    assert stand_ins.requests_to(OPENAI_SPEECH)[0].body["voice"] == {"id": "voice_1234"}


async def test_a_wrong_voice_is_told_with_near_ones(environ: dict[str, str]) -> None:
    async with made_with(Role.TTS, "openai", {"voice": "aloy"}, environ) as voice:
        with pytest.raises(ProviderError, match="no voice named “aloy”; near to it: alloy") as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.REQUEST


async def test_another_refusal_stays_what_it_is(environ: dict[str, str]) -> None:
    async with made_with(Role.TTS, "openai", {"voice": "aloy"}, {**environ, "OPENAI_API_KEY": "revoked"}) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.AUTH


@pytest.mark.parametrize("model", ["tts-1", "tts-1-hd"])
def test_older_models_take_no_instructions(model: str) -> None:
    with pytest.raises(ValidationError, match="takes no instructions"):
        OpenAISpeechOptions(model=model, instructions="Cheerful")
    assert OpenAISpeechOptions(model=model, speed=1.2).request()["speed"] == 1.2
