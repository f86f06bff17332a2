"""OpenAI: Whisper transcriptions, chat completions and speech."""

from typing import Any, Self

from pydantic import Field, model_validator

from connectors_app.model_names import ModelNames
from connectors_app.openai_api import SpeechModel, SpeechOptions, TranscriptionModel, TranscriptionOptions
from connectors_app.openai_chat import ChatModel, ChatOptions

BASE_URL = "https://api.openai.com/v1"
CHAT_MODELS = ModelNames(
    served=(
        *("gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini"),
        *("gpt-4.1", "gpt-4o", "gpt-4o-mini"),
    ),
    retired=("gpt-4-turbo", "gpt-4", "gpt-3.5-turbo-16k", "gpt-3.5-turbo"),
)
VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
OWN_VOICE = "voice_"
WITHOUT_INSTRUCTIONS = ("tts-1", "tts-1-hd")
WITHOUT_SEGMENTS = "gpt-"
"""How the names of models begin that refuse `verbose_json`."""
WITHOUT_PROMPT = "gpt-4o-transcribe-diarize"


class OpenAITranscriptionOptions(TranscriptionOptions):
    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.response_format == "verbose_json" and self.model.startswith(WITHOUT_SEGMENTS):
            raise ValueError(f"{self.model} has no response_format verbose_json: choose json, or the model whisper-1")
        if self.prompt and self.model == WITHOUT_PROMPT:
            raise ValueError(f"{self.model} takes no prompt")
        return self

    def request(self) -> dict[str, Any]:
        """The API takes languages without a region: en for en-US."""
        request = super().request()
        told = {"language": request["language"].partition("-")[0].lower()} if "language" in request else {}
        return request | told


class OpenAITranscription(TranscriptionModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL
    Options = OpenAITranscriptionOptions
    options: OpenAITranscriptionOptions


class OpenAIChatOptions(ChatOptions):
    model: str = Field("gpt-4o", min_length=1, description="Name of the model", **CHAT_MODELS.as_field())


class OpenAIChat(ChatModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL
    Options = OpenAIChatOptions
    options: OpenAIChatOptions
    known_models = CHAT_MODELS


class OpenAISpeechOptions(SpeechOptions):
    voice: str = Field("alloy", min_length=1, description=f"{', '.join(VOICES)}; or the id of an own one, voice_…")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.instructions and self.model in WITHOUT_INSTRUCTIONS:
            raise ValueError(f"{self.model} takes no instructions: leave them out, or choose gpt-4o-mini-tts")
        return self

    def request(self) -> dict[str, Any]:
        voice = {"id": self.voice} if self.voice.startswith(OWN_VOICE) else self.voice
        return {**super().request(), "voice": voice}


class OpenAISpeech(SpeechModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL
    Options = OpenAISpeechOptions
    options: OpenAISpeechOptions
    known_voices = VOICES
