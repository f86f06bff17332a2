"""Anthropic: the Messages API, streamed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import Field

from connectors_app.base import Credentials, Finished, LanguageModel, Message, Options, ProviderError, Said, Tool
from connectors_app.clients import IDLE_SECONDS, Shared
from connectors_app.failures import cut, from_code, garbage, told_by_sdk
from connectors_app.sse import drain, events

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

AFTERMATH_SECONDS = 0.5
"""How long the response's end may take after the answer is complete."""
CALL_BEGINS = {"role": "user", "content": "(The conversation begins.)"}
"""The API wants the first message from the user; an agent that greets speaks first."""


def _make(credentials: Credentials) -> "AsyncAnthropic":
    import anthropic
    import httpx2

    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=200, keepalive_expiry=IDLE_SECONDS)
    client = anthropic.AsyncAnthropic(
        api_key=credentials.api_key,
        base_url=credentials.base_url,
        max_retries=0,
        http_client=anthropic.DefaultAioHttpClient(limits=limits, timeout=httpx2.Timeout(60, connect=5)),
    )
    # The SDK imports these when they are first used, which must not be in a turn.
    assert client.messages and client.models
    return client


async def _open(credentials: Credentials) -> "AsyncAnthropic":
    return await asyncio.to_thread(_make, credentials)


async def _close(client: "AsyncAnthropic") -> None:
    await client.close()


CLIENTS: Shared["AsyncAnthropic"] = Shared(_open, _close)


class AnthropicOptions(Options):
    model: str = Field("claude-haiku-4-5", min_length=1, description="Name of the model")
    max_tokens: int = Field(1000, ge=1, le=64_000, description="Longest answer")
    stop_sequences: tuple[str, ...] | None = Field(None, max_length=8, description="Texts at which the answer ends")
    temperature: float | None = Field(None, ge=0, le=1, description="Higher is more varied; not for the newest models")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of likely words; not for the newest models")
    top_k: int | None = Field(None, ge=1, le=500, description="Number of likely words; not for the newest models")

    def request(self) -> dict[str, Any]:
        """The SDK has no names any more for what only older models take."""
        sampling = {"temperature", "top_p", "top_k"}
        usual = self.model_dump(exclude_none=True, exclude=sampling)
        return {**usual, "extra_body": self.model_dump(exclude_none=True, include=sampling)}


class _Counts(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Start(msgspec.Struct):
    usage: _Counts = msgspec.field(default_factory=_Counts)


class _Delta(msgspec.Struct):
    text: str = ""
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    message: _Start = msgspec.field(default_factory=_Start)
    delta: _Delta = msgspec.field(default_factory=_Delta)
    usage: _Counts = msgspec.field(default_factory=_Counts)
    error: _Error = msgspec.field(default_factory=_Error)


_event = msgspec.json.Decoder(_Event)


class Claude(LanguageModel):
    slug = "anthropic"
    label = "Anthropic"
    key_setting = "ANTHROPIC_API_KEY"
    base_url_setting = "ANTHROPIC_BASE_URL"
    default_base_url = "https://api.anthropic.com"
    Options = AnthropicOptions
    options: AnthropicOptions

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await CLIENTS.take(self)
        import anthropic

        with told_by_sdk(self, anthropic):
            await client.models.with_raw_response.list(limit=1)

    async def close(self) -> None:
        await CLIENTS.leave(self)

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        client = await CLIENTS.take(self)
        import anthropic

        request: Any = {**self.options.request(), **_conversation(messages), "stream": True}
        with told_by_sdk(self, anthropic):
            async with (
                client.messages.with_streaming_response.create(**request) as response,
                aclosing(events(response.iter_bytes())) as stream,
            ):
                read = tokens = 0
                reason = ""
                async for data in stream:
                    event = self._parse(data)
                    if event.delta.text:
                        yield event.delta.text
                    read = event.message.usage.input_tokens or read
                    tokens = event.usage.output_tokens or tokens
                    reason = event.delta.stop_reason or reason
                    if event.type == "message_stop":
                        break
                else:
                    raise cut(self)
                yield Finished(reason, read, tokens)
                with suppress(ProviderError), told_by_sdk(self, anthropic):
                    await drain(stream, AFTERMATH_SECONDS)

    def _parse(self, data: bytes) -> _Event:
        try:
            event = _event.decode(data)
        except msgspec.MsgspecError:
            raise garbage(self) from None
        if event.type == "error":
            raise from_code(self, event.error.type)
        return event


def _conversation(messages: Sequence[Message]) -> dict[str, Any]:
    """The system prompt has its own place; empty messages are refused."""
    system = "\n\n".join(message.content for message in messages if message.role == "system" and message.content)
    said = [
        {"role": message.role, "content": message.content}
        for message in messages
        if message.role != "system" and message.content.strip()
    ]
    if not said or said[0]["role"] != "user":
        said.insert(0, CALL_BEGINS)
    return {"messages": said, "system": system} if system else {"messages": said}
