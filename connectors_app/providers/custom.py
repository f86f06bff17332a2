"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, LiteLLM, Speaches and many more."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from connectors_app.base.connector import Connector, Options
from connectors_app.openai_api import SpeechModel, SpeechOptions, TranscriptionModel, TranscriptionOptions
from connectors_app.openai_chat import ChatModel, ChatOptions

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
_OURS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept",
    "accept-encoding",
}
"""What the connection and the body are described with."""
_OF_THE_CLIENT = {"authorization": "Authorization", "user-agent": "User-Agent"}
"""Set by the client in this spelling: one in another spelling would be sent beside it."""


class HeaderOptions(Options):
    """For gateways that want more than a key."""

    headers: dict[str, str] = Field(
        {}, max_length=32, repr=False, description="Headers of every request, by name, sent as they are"
    )

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        """A value may be a secret, so no message repeats one."""
        for name, value in headers.items():
            if not _NAME.fullmatch(name):
                raise ValueError("a header's name has letters, digits and hyphens only")
            if name.lower() in _OURS:
                raise ValueError(f"the header {name} is set by the connection itself; leave it out")
            if not _VALUE.fullmatch(value) or value != value.strip():
                raise ValueError(f"the value of the header {name} must be one line of plain ASCII characters")
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("a header is named twice; capital letters make no difference")
        return headers


class CustomEndpoint(Connector):
    """The operator's own address; many such servers want no key."""

    slug = "custom"
    label = "Custom endpoint"
    key_setting = "CUSTOM_API_KEY"
    base_url_setting = "CUSTOM_BASE_URL"
    example_base_url = "https://models.example.com/v1"
    options: HeaderOptions

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return () if environ.get(cls.base_url_setting) else (cls.base_url_setting,)

    def headers(self) -> dict[str, str]:
        return {_OF_THE_CLIENT.get(name.lower(), name): value for name, value in self.options.headers.items()}


class CustomTranscriptionOptions(HeaderOptions, TranscriptionOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")

    def request(self) -> dict[str, Any]:
        return _without(super().request(), "headers")


class CustomChatOptions(HeaderOptions, ChatOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")

    def request(self) -> dict[str, Any]:
        return _without(super().request(), "headers")


class CustomSpeechOptions(HeaderOptions, SpeechOptions):
    model: str = Field(min_length=1, description="Name of the model at this endpoint")
    voice: str = Field(min_length=1, description="Name of the voice at this endpoint")
    sample_rate: int = Field(24_000, ge=8_000, le=48_000, description="Rate of the raw samples that it sends")

    def request(self) -> dict[str, Any]:
        return _without(super().request(), "headers", "sample_rate")


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


class CustomTranscription(CustomEndpoint, TranscriptionModel):
    Options = CustomTranscriptionOptions
    options: CustomTranscriptionOptions


class CustomChat(CustomEndpoint, ChatModel):
    Options = CustomChatOptions
    options: CustomChatOptions


class CustomSpeech(CustomEndpoint, SpeechModel):
    Options = CustomSpeechOptions
    options: CustomSpeechOptions

    def own_rate(self) -> int:
        return self.options.sample_rate
