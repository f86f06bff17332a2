"""OpenAI's chat completions, for OpenAI itself and for every endpoint that speaks the same."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from connectors_app.base.connector import Options
from connectors_app.base.errors import ProviderError
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool, as_asked
from connectors_app.calls import Drafts, written
from connectors_app.failures import cut, decoded, in_stream, told_by_sdk
from connectors_app.openai_api import CLIENTS, OpenAIConnector
from connectors_app.sdk_streams import sdk_events
from connectors_app.sse import AFTERMATH_SECONDS

_REASONS = re.compile(r"(^|/|^ft:)(o\d|gpt-([5-9]|\d\d)(?!.*chat))")
"""Models that reason take max_completion_tokens alone, and no temperature but their own."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]


def reasons(model: str) -> bool:
    return bool(_REASONS.search(model))


class ChatOptions(Options):
    model: str = Field("gpt-4o", min_length=1, description="Name of the model")
    temperature: float | None = Field(
        0.7, ge=0, le=2, description="Higher is more varied. Models that reason have their own"
    )
    max_tokens: int | None = Field(1000, ge=1, le=128_000, description="Longest answer")
    max_completion_tokens: int | None = Field(
        None, ge=1, le=128_000, description="Replaces the limit above; counts what a model thinks, too"
    )
    top_p: float | None = Field(None, ge=0, le=1, description="Share of likely words that are considered")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="Against repeating the same words")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="Towards new subjects")
    seed: int | None = Field(None, description="The same seed gives the same answer where the provider can")
    stop: tuple[str, ...] | None = Field(None, max_length=4, description="Texts at which the answer ends")
    reasoning_effort: Effort | None = Field(None, description="How long a model thinks; only for those that reason")
    verbosity: Literal["low", "medium", "high"] | None = Field(None, description="How long answers are; newest models")
    service_tier: Tier | None = Field(None, description="“priority” is faster and costs more")

    def request(self) -> dict[str, Any]:
        """What nobody chose is left out where the model does not take it; what somebody chose is sent as it is."""
        values = self.model_dump(exclude_none=True)
        if reasons(self.model):
            if "max_tokens" in values:
                values.setdefault("max_completion_tokens", values["max_tokens"])
            if "temperature" not in self.model_fields_set:
                values.pop("temperature", None)
        if "max_completion_tokens" in values:
            values.pop("max_tokens", None)
        return values


# -- what is asked ---------------------------------------------------------------------------------------


def _rendered(message: Message) -> dict[str, Any]:
    if message.call:
        return {"role": "tool", "tool_call_id": message.call.id, "content": message.content}
    if not message.calls:
        return {"role": message.role, "content": message.content}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written(call)}}
        for call in message.calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}


def functions(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


# -- what is answered ------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)
DONE = b"[DONE]"
_NAMED = {"tool_calls": "tools", "function_call": "tools", "content_filter": "filtered"}


class _Answer:
    """What is known of an answer beside its text."""

    def __init__(self, model: "ChatModel") -> None:
        self.calls = Drafts(model)
        self.usage: _Usage | None = None
        self.is_refusal = False
        self.reason = ""
        """Empty until the answer is complete."""

    def end(self, reason: str) -> None:
        self.reason = "filtered" if self.is_refusal and reason == "stop" else _NAMED.get(reason, reason)

    def read(self, choice: _Choice) -> str | None:
        """The text in it; an empty one for a part of a call."""
        delta = choice.delta or _Delta()
        for call in delta.tool_calls or ():
            function = call.function or _Function()
            self.calls.add(call.index, call.id or "", function.name or "", function.arguments or "")
        self.is_refusal = self.is_refusal or bool(delta.refusal)
        if choice.finish_reason:
            self.end(choice.finish_reason)
        return delta.content or delta.refusal or ("" if delta.tool_calls else None)

    def finished(self, has_calls: bool) -> Finished:
        """Some servers say that an answer with calls has just stopped."""
        usage = self.usage or _Usage()
        reason = "tools" if has_calls and self.reason == "stop" else self.reason
        return Finished(reason, usage.prompt_tokens or 0, usage.completion_tokens or 0)


class ChatModel(OpenAIConnector, LanguageModel):
    """Chat completions, streamed. The stream is read raw: the SDK's own parsing takes five times as long a token."""

    Options: ClassVar[type[ChatOptions]] = ChatOptions
    options: ChatOptions

    def request(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        request = {
            **self.options.request(),
            "messages": [_rendered(message) for message in as_asked(messages)],
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_headers": self.headers(),
        }
        return request | {"tools": functions(tools)} if tools else request

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        client = await CLIENTS.take(self)
        import openai

        request: Any = self.request(messages, tools)
        asking = client.chat.completions.with_streaming_response.create(**request)
        async with sdk_events(self, openai, asking) as stream:
            answer = _Answer(self)
            async with aclosing(self._texts(stream, answer)) as texts:
                async for text in texts:
                    yield text
            if not answer.reason:
                raise cut(self)
            calls = [] if answer.reason == "filtered" else answer.calls.take_all()
            for call in calls:
                yield call
            with suppress(ProviderError), told_by_sdk(self, openai):
                await self._count(stream, answer)
            yield answer.finished(bool(calls))

    async def _texts(self, stream: AsyncGenerator[bytes, None], answer: _Answer) -> AsyncGenerator[str, None]:
        while not answer.reason and (data := await anext(stream, None)):
            if data == DONE:
                answer.end("stop")
                return
            chunk = self._parse(data)
            answer.usage = chunk.usage or answer.usage
            for choice in (chunk.choices or ())[:1]:
                if (text := answer.read(choice)) is not None:
                    yield text

    async def _count(self, stream: AsyncGenerator[bytes, None], answer: _Answer) -> None:
        """The token counts come after the answer, which is complete without them, whatever happens now."""
        try:
            async with asyncio.timeout(AFTERMATH_SECONDS):
                while not answer.usage and (data := await anext(stream, DONE)) != DONE:
                    answer.usage = self._parse(data).usage
        except TimeoutError:
            return

    def _parse(self, data: bytes) -> _Chunk:
        chunk = decoded(self, _chunk, data)
        if chunk.error is not None:
            raise in_stream(self, chunk.error)
        return chunk
