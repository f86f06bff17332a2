"""Anthropic: the Messages API, streamed."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pydantic import Field

from connectors_app.base.connector import AnyOptions, Credentials, Options
from connectors_app.base.language_model import (
    Finished,
    LanguageModel,
    Message,
    Said,
    Tool,
    ToolCall,
    spoken,
    system_prompt,
)
from connectors_app.calls import Drafts
from connectors_app.clients import Shared, sdk_http
from connectors_app.failures import cut, decoded, finding, from_code, told_by_sdk
from connectors_app.model_names import ModelNames
from connectors_app.sdk_streams import sdk_events
from connectors_app.thoughts import Thoughts

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

CALL_BEGINS = {"role": "user", "content": "(The conversation begins.)"}
"""The API wants the first message from the user; an agent that greets speaks first."""

MODELS = ModelNames(
    served=(
        *("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-5", "claude-opus-5"),
        *("claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5", "claude-sonnet-4-5"),
    ),
    retired=(
        *("claude-sonnet-4-0", "claude-opus-4-0", "claude-3-7-sonnet", "claude-3-5-sonnet", "claude-3-5-haiku"),
        *("claude-3-opus", "claude-3-sonnet", "claude-3-haiku"),
    ),
)


def _make(credentials: Credentials) -> "AsyncAnthropic":
    import anthropic

    client = anthropic.AsyncAnthropic(
        api_key=credentials.api_key,
        base_url=credentials.base_url,
        max_retries=0,
        http_client=anthropic.DefaultAioHttpClient(**sdk_http(credentials)),
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
    model: str = Field("claude-haiku-4-5", min_length=1, description="Name of the model", **MODELS.as_field())
    max_tokens: int = Field(1000, ge=1, le=128_000, description="Longest answer; counts what the model thinks, too")
    stop_sequences: tuple[str, ...] | None = Field(None, max_length=8, description="Texts at which the answer ends")
    temperature: float | None = Field(None, ge=0, le=1, description="Higher is more varied; not for the newest models")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of likely words; not for the newest models")
    top_k: int | None = Field(None, ge=1, le=500, description="Number of likely words; not for the newest models")
    thinking: Literal["disabled", "between_tools", "adaptive"] | None = Field(
        None,
        description="Whether it may think before it answers, as far as the model lets you choose",
    )
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = Field(
        None, description="How thorough it is; “low” answers soonest. Not for every model"
    )
    cache: Literal["5m", "1h"] | None = Field(
        None, description="Keep what was asked at the provider so long: long prompts are read faster, and cheaper"
    )
    service_tier: Literal["auto", "standard_only"] | None = Field(None, description="Whether to use a paid priority")

    def request(self) -> dict[str, Any]:
        """The SDK has no names any more for what only older models take."""
        plain = {"model", "max_tokens", "stop_sequences", "service_tier"}
        request = self.model_dump(exclude_none=True, include=plain)
        request["extra_body"] = self.model_dump(exclude_none=True, include={"temperature", "top_p", "top_k"})
        if self.thinking:
            request["thinking"] = {"type": self.thinking}
        if self.effort:
            request["output_config"] = {"effort": self.effort}
        if self.cache:
            request["cache_control"] = {"type": "ephemeral", "ttl": self.cache}
        return request


# -- what is answered ------------------------------------------------------------------------------------


class _Counts(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def read(self) -> int:
        """Those from the cache are counted apart."""
        return (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)


class _Start(msgspec.Struct):
    usage: _Counts = msgspec.field(default_factory=_Counts)


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    data: str = ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Start = msgspec.field(default_factory=_Start)
    content_block: _Block = msgspec.field(default_factory=_Block)
    delta: _Delta = msgspec.field(default_factory=_Delta)
    usage: _Counts = msgspec.field(default_factory=_Counts)
    error: _Error = msgspec.field(default_factory=_Error)


class _Models(msgspec.Struct):
    data: list[msgspec.Raw]


_event = msgspec.json.Decoder(_Event)
_models = msgspec.json.Decoder(_Models)
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "filtered",
}


class _Answer:
    """What is known of an answer beside its text."""

    def __init__(self, model: "Claude") -> None:
        self.thoughts: dict[int, dict[str, str]] = {}
        self._model = model
        self._drafts = Drafts(model)
        self._read = self._written = 0
        self._reason = ""

    def read(self, event: _Event) -> list[ToolCall]:
        """The calls that are complete with it."""
        self._read = event.message.usage.read or self._read
        self._written = event.usage.output_tokens or self._written
        self._reason = event.delta.stop_reason or self._reason
        match event.type:
            case "content_block_start":
                self._begin(event.index, event.content_block)
            case "content_block_delta" if event.delta.type == "input_json_delta":
                self._drafts.add(event.index, "", "", event.delta.partial_json)
            case "content_block_delta" if event.index in self.thoughts:
                self._think(self.thoughts[event.index], event.delta)
            case "content_block_stop":
                return self._drafts.take(event.index)
        return []

    def finished(self) -> Finished:
        """Raises ProviderError when a call is not complete."""
        self._drafts.expect_none()
        return Finished(_REASONS.get(self._reason, self._reason), self._read, self._written)

    def _begin(self, index: int, block: _Block) -> None:
        match block.type:
            case "tool_use":
                self._drafts.add(index, block.id, block.name, "")
            case "thinking":
                self.thoughts[index] = {"type": "thinking", "thinking": "", "signature": ""}
            case "redacted_thinking":
                self.thoughts[index] = {"type": "redacted_thinking", "data": block.data}

    def _think(self, thought: dict[str, str], delta: _Delta) -> None:
        thought["thinking"] += delta.thinking
        thought["signature"] += delta.signature


class Claude(LanguageModel):
    slug = "anthropic"
    label = "Anthropic"
    key_setting = "ANTHROPIC_API_KEY"
    base_url_setting = "ANTHROPIC_BASE_URL"
    default_base_url = "https://api.anthropic.com"
    Options = AnthropicOptions
    known_models = MODELS
    options: AnthropicOptions

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        super().__init__(options, credentials)
        self._thoughts = Thoughts()

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await CLIENTS.take(self)
        import anthropic

        with finding(self), told_by_sdk(self, anthropic):
            response = await client.models.with_raw_response.list(limit=1)
            body = await response.read()
        decoded(self, _models, body)

    async def close(self) -> None:
        await CLIENTS.leave(self)

    def request(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        frame: dict[str, Any] = {}
        if system := system_prompt(messages):
            frame["system"] = system
        if tools:
            frame["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in tools
            ]
        said = self._conversation(messages, frame)
        return {**self.options.request(), **frame, "messages": said, "stream": True}

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        client = await CLIENTS.take(self)
        import anthropic

        request: Any = self.request(messages, tools)
        asking = client.messages.with_streaming_response.create(**request)
        async with sdk_events(self, anthropic, asking) as stream:
            answer = _Answer(self)
            async for data in stream:
                event = self._parse(data)
                for call in answer.read(event):
                    self._keep(call, answer, request)
                    yield call
                if event.delta.text or event.delta.type == "input_json_delta":
                    yield event.delta.text
                if event.type == "message_stop":
                    break
            else:
                raise cut(self)
            yield answer.finished()

    def _keep(self, call: ToolCall, answer: _Answer, request: Mapping[str, Any]) -> None:
        """With the first call that follows them."""
        if answer.thoughts:
            self._thoughts.keep(call.id, (_mark(request, request["messages"]), list(answer.thoughts.values())))
            answer.thoughts = {}

    def _parse(self, data: bytes) -> _Event:
        event = decoded(self, _event, data)
        if event.type == "error":
            raise from_code(self, event.error.type)
        return event

    # -- what is asked -----------------------------------------------------------------------------------

    def _conversation(self, messages: Sequence[Message], frame: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The results of calls must be the first that follows them, all in one message. Empty ones are refused."""
        asked = spoken(messages)
        turn = max((place for place, message in enumerate(asked) if message.role == "user"), default=0)
        said: list[dict[str, Any]] = [] if asked and asked[0].role != "assistant" else [CALL_BEGINS]
        for place, message in enumerate(asked):
            if message.calls:
                thoughts = self._thoughts_of(message, frame, said) if place > turn else []
                said.append({"role": "assistant", "content": [*thoughts, *_uses(message)]})
            elif message.call is None:
                said.append({"role": message.role, "content": message.content})
            elif said and _is_results(said[-1]):
                said[-1]["content"].append(_result(message.call, message.content))
            else:
                said.append({"role": "user", "content": [_result(message.call, message.content)]})
        return said

    def _thoughts_of(self, message: Message, frame: Mapping[str, Any], said: list[dict[str, Any]]) -> list[Any]:
        """The newest models refuse thoughts when anything before them has changed: then they are left out."""
        kept = self._thoughts.of(message.calls)
        now = _mark(frame, said) if kept else b""
        return [block for mark, blocks in kept if mark == now for block in blocks]


def _mark(frame: Mapping[str, Any], said: list[dict[str, Any]]) -> bytes:
    """Of all that was asked, apart from thoughts."""
    plain = [message | {"content": _without_thoughts(message["content"])} for message in said]
    return blake2b(msgspec.json.encode([frame.get("system"), frame.get("tools"), plain])).digest()


def _without_thoughts(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [one for one in content if not one["type"].endswith("thinking")]


def _uses(message: Message) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": message.content}] if message.content.strip() else []
    uses = [
        {"type": "tool_use", "id": _id(call), "name": call.name, "input": dict(call.arguments)}
        for call in message.calls
    ]
    return [*text, *uses]


def _result(call: ToolCall, content: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": _id(call), "content": content}


def _is_results(message: Mapping[str, Any]) -> bool:
    return message["role"] == "user" and isinstance(message["content"], list)


def _id(call: ToolCall) -> str:
    """Another provider's may have characters that are refused here."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", call.id)
