"""Every documented option reaches the wire, and what is left out stays out."""

import json
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Message
from connectors_app.providers.openai import OpenAITranscriptionOptions
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import made_with, reply_of, speech_of, transcript_of
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.deepgram import DEEPGRAM_CONNECT
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_VOICES, RACHEL
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.providers.standins import StandIns


def sent(stand_ins: StandIns, route: Route) -> Any:
    return stand_ins.requests_to(route)[-1]


# -- openai ----------------------------------------------------------------------------------------------


@pytest.mark.accepts("M11", "M63")
async def test_whisper_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    options = {"model": "whisper-1", "language": "auto", "response_format": "json", "temperature": 0}
    async with made_with(Role.STT, "openai", options, environ) as recognizer:
        assert (await transcript_of(recognizer, question)).text == QUESTION
    form = sent(stand_ins, OPENAI_TRANSCRIPTIONS).body
    assert (form["model"], form["response_format"], float(form["temperature"])) == ("whisper-1", "json", 0)
    assert "language" not in form and form["file"]["content_type"] == "audio/wav"


@pytest.mark.accepts("M11")
@pytest.mark.parametrize("response_format", ["json", "verbose_json", "text"])
async def test_every_transcript_format_is_read(
    response_format: str, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    options = {"language": "en", "response_format": response_format, "prompt": "Opening hours"}
    async with made_with(Role.STT, "openai", options, environ) as recognizer:
        assert (await transcript_of(recognizer, question)).text == QUESTION
    form = sent(stand_ins, OPENAI_TRANSCRIPTIONS).body
    assert (form["language"], form["prompt"]) == ("en", "Opening hours")


@pytest.mark.parametrize(
    ("model", "shape", "include"),
    [
        ("whisper-1", "verbose_json", None),
        ("gpt-4o-transcribe", "json", "logprobs"),
        ("gpt-4o-mini-transcribe-2025-12-15", "json", "logprobs"),
        ("gpt-4o-transcribe-diarize", "json", None),
        ("gpt-transcribe", "json", None),
    ],
)
async def test_each_model_is_asked_how_sure_it_is(
    model: str, shape: str, include: str | None, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with made_with(Role.STT, "openai", {"model": model}, environ) as recognizer:
        heard = await transcript_of(recognizer, question)
    form = sent(stand_ins, OPENAI_TRANSCRIPTIONS).body
    assert (heard.text, form["response_format"], form.get("include[]")) == (QUESTION, shape, include)
    tells = include or shape == "verbose_json"
    assert heard.confidence == pytest.approx(0.9, abs=0.1) if tells else heard.confidence is None


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-transcribe"])
def test_newer_models_have_no_verbose_transcripts(model: str) -> None:
    with pytest.raises(ValidationError, match="choose json"):
        OpenAITranscriptionOptions(model=model, response_format="verbose_json")
    assert OpenAITranscriptionOptions(model=model, response_format="text").request()["model"] == model


def test_a_model_that_tells_speakers_apart_takes_no_prompt() -> None:
    with pytest.raises(ValidationError, match="takes no prompt"):
        OpenAITranscriptionOptions(model="gpt-4o-transcribe-diarize", prompt="Opening hours")


async def test_a_language_goes_without_its_region(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with made_with(Role.STT, "openai", {"language": "en-US"}, environ) as recognizer:
        await transcript_of(recognizer, question)
    assert sent(stand_ins, OPENAI_TRANSCRIPTIONS).body["language"] == "en"


@pytest.mark.accepts("M12", "M64")
async def test_chat_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "gpt-4o", "temperature": 0.7, "max_tokens": 1000, "top_p": 0.9, "presence_penalty": -1}
    async with made_with(Role.LLM, "openai", options, environ) as model:
        await reply_of(model)
    body = sent(stand_ins, OPENAI_CHAT).body
    assert {name: body[name] for name in options} == options
    assert "frequency_penalty" not in body and body["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


async def test_reasoning_models_get_their_own_limit(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "gpt-4o", "temperature": None, "max_completion_tokens": 50}
    async with made_with(Role.LLM, "openai", options, environ) as model:
        await reply_of(model)
    body = sent(stand_ins, OPENAI_CHAT).body
    assert body["max_completion_tokens"] == 50 and not {"max_tokens", "temperature"} & set(body)


async def test_an_answer_cut_by_its_limit_says_so(environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "openai", {"max_tokens": 3}, environ) as model:
        *texts, end = await reply_of(model)
    assert len(texts) == 3 and isinstance(end, Finished) and end.reason == "length"


async def test_speech_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "gpt-4o-mini-tts", "voice": "nova", "speed": 1.5, "instructions": "Cheerful"}
    async with made_with(Role.TTS, "openai", options, environ) as voice:
        await speech_of(voice)
    body = sent(stand_ins, OPENAI_SPEECH).body
    assert body == {**options, "input": "Good morning to you.", "response_format": "pcm"}


# -- custom ----------------------------------------------------------------------------------------------


async def test_a_custom_endpoint_wants_a_model() -> None:
    (problem,) = registry.check_connectors({"llm": {"primary": "custom", "config": {"custom": {}}}})
    assert problem.path == "connectors.llm.config.custom.model"


async def test_a_custom_voices_rate_is_the_operators(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "kokoro", "voice": "alloy", "sample_rate": 24_000}
    async with made_with(Role.TTS, "custom", options, environ) as voice:
        _, rate = await speech_of(voice)
    assert rate == 24_000 and "sample_rate" not in sent(stand_ins, OPENAI_SPEECH).body


# -- deepgram --------------------------------------------------------------------------------------------


@pytest.mark.accepts("M63")
async def test_deepgram_options_reach_the_socket(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    options = {"model": "nova-3", "language": "multi", "smart_format": False, "keyterm": ["MeshAG", "NATS"]}
    async with made_with(Role.STT, "deepgram", options, environ) as recognizer:
        await transcript_of(recognizer, question)
    query = sent(stand_ins, DEEPGRAM_CONNECT).query
    assert (query["model"], query["language"], query["smart_format"]) == ("nova-3", "multi", "false")
    assert query["keyterm"] == "MeshAG,NATS" and query["interim_results"] == "true"
    assert (query["encoding"], query["sample_rate"], query["channels"]) == ("linear16", "8000", "1")


# -- elevenlabs ------------------------------------------------------------------------------------------


@pytest.mark.accepts("M13", "M65")
async def test_elevenlabs_options_reach_the_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {
        "model": "eleven_multilingual_v2",
        "voice": "Rachel",
        "stability": 0.5,
        "similarity_boost": 0.8,
        "speed": 1.1,
    }
    async with made_with(Role.TTS, "elevenlabs", options, environ) as voice:
        await speech_of(voice, 16_000)
    socket = sent(stand_ins, ELEVENLABS_CONNECT)
    assert RACHEL in socket.path
    assert (socket.query["model_id"], socket.query["output_format"]) == ("eleven_multilingual_v2", "pcm_16000")
    assert socket.messages[0]["voice_settings"] == {"stability": 0.5, "similarity_boost": 0.8, "speed": 1.1}


@pytest.mark.accepts("M13")
async def test_a_voices_id_needs_no_lookup(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "elevenlabs", {"voice": RACHEL}, environ) as voice:
        await speech_of(voice)
    assert not stand_ins.requests_to(ELEVENLABS_VOICES)
    assert "voice_settings" not in sent(stand_ins, ELEVENLABS_CONNECT).messages[0]


@pytest.mark.accepts("M13")
async def test_a_voices_name_is_looked_up_once(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "elevenlabs", {"voice": "rachel"}, environ) as voice:
        await voice.warm()
        await speech_of(voice)
        await speech_of(voice)
    assert len(stand_ins.requests_to(ELEVENLABS_VOICES)) == 1


async def test_an_unknown_voice_is_named(environ: dict[str, str]) -> None:
    async with made_with(Role.TTS, "elevenlabs", {"voice": "Nobody"}, environ) as voice:
        with pytest.raises(ProviderError, match="no voice named “Nobody”") as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.REQUEST


# -- anthropic, azure ------------------------------------------------------------------------------------


@pytest.mark.accepts("M64")
async def test_anthropic_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "claude-haiku-4-5", "max_tokens": 300, "temperature": 0.2, "top_k": 5}
    async with made_with(Role.LLM, "anthropic", options, environ) as model:
        await reply_of(model)
    body = sent(stand_ins, ANTHROPIC_MESSAGES).body
    assert {name: body[name] for name in options} == options
    assert body["system"] == "Be kind." and body["messages"] == [{"role": "user", "content": QUESTION}]


async def test_a_greeting_does_not_open_a_conversation(environ: dict[str, str], stand_ins: StandIns) -> None:
    said = (Message("assistant", "Good day!"), Message("user", QUESTION), Message("assistant", " "))
    async with made_with(Role.LLM, "anthropic", {}, environ) as model, aclosing(model.reply(said)) as items:
        assert [item async for item in items]
    roles = [message["role"] for message in sent(stand_ins, ANTHROPIC_MESSAGES).body["messages"]]
    assert roles == ["user", "assistant", "user"]


@pytest.mark.accepts("M65", "M92", "M93")
async def test_azure_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"voice": "en-GB-SoniaNeural", "rate": 1.25, "pitch": -5, "style": "cheerful"}
    async with made_with(Role.TTS, "azure", options, environ) as voice:
        await speech_of(voice, 16_000)
    request = sent(stand_ins, AZURE_SPEECH)
    assert request.headers["x-microsoft-outputformat"] == "raw-16khz-16bit-mono-pcm"
    assert request.headers["ocp-apim-subscription-key"] == environ["AZURE_SPEECH_KEY"]
    for part in ('name="en-GB-SoniaNeural"', 'rate="1.25"', 'pitch="-5%"', 'style="cheerful"', 'xml:lang="en-GB"'):
        assert part in request.body


async def test_speech_marks_are_not_markup(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "azure", {}, environ) as voice, voice.open(8000) as speech:
        assert [pcm async for pcm in speech.speak("Is 3 < 4 & 5 > 4?")]
    assert sent(stand_ins, AZURE_SPEECH).text == "Is 3 < 4 & 5 > 4?"


def test_keys_stay_out_of_representations(environ: dict[str, str]) -> None:
    for role in Role:
        for slug in registry.usable(role, environ):
            credentials = registry.get(role, slug).credentials_from(environ)
            assert not credentials.api_key or credentials.api_key not in json.dumps(repr(credentials))
