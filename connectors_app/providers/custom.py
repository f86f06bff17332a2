"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, LiteLLM, Speaches and many more."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from connectors_app.base import Connector
from connectors_app.openai_api import (
    ChatModel,
    ChatOptions,
    SpeechModel,
    SpeechOptions,
    TranscriptionModel,
    TranscriptionOptions,
)


class CustomEndpoint(Connector):
    """The operator's own address; many such servers want no key."""

    slug = "custom"
    label = "Custom endpoint"
    key_setting = "CUSTOM_API_KEY"
    base_url_setting = "CUSTOM_BASE_URL"

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return () if environ.get(cls.base_url_setting) else (cls.base_url_setting,)


class CustomTranscriptionOptions(TranscriptionOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")


class CustomChatOptions(ChatOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")


class CustomSpeechOptions(SpeechOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")
    voice: str = Field(min_length=1, description="Name of the voice at this endpoint")
    sample_rate: int = Field(24_000, ge=8_000, le=48_000, description="Rate of the raw samples that it sends")

    def request(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"sample_rate"})


class CustomTranscription(CustomEndpoint, TranscriptionModel):
    Options = CustomTranscriptionOptions


class CustomChat(CustomEndpoint, ChatModel):
    Options = CustomChatOptions


class CustomSpeech(CustomEndpoint, SpeechModel):
    Options = CustomSpeechOptions
    options: CustomSpeechOptions

    def own_rate(self) -> int:
        return self.options.sample_rate
