"""Ollama: models on the operator's own machine, by its own API, whose answers are lines of JSON."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

import aiohttp
import msgspec
from pydantic import Field

from connectors_app.base.connector import AnyOptions, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool, ToolCall, as_asked
from connectors_app.calls import made_up_id
from connectors_app.failures import cut, decoded, from_code, garbage
from connectors_app.http_api import HttpConnector
from connectors_app.openai_chat import functions
from connectors_app.sse import lines

CHECKING = aiohttp.ClientTimeout(total=10, sock_connect=5)
ANSWERING = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
LOADING = aiohttp.ClientTimeout(total=600, sock_connect=5)
"""A large model is read from a disk."""
MODELS = ["qwen3", "llama3.2", "mistral", "codellama", "llama2", "llama2:13b", "vicuna", "orca-mini"]
"""Suggestions only: what can be used was pulled before."""


class OllamaOptions(Options):
    model: str = Field(
        "llama3.2",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$",
        description="Name of a model that was pulled",
        examples=MODELS,
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Higher is more varied")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of likely words that are considered")
    top_k: int | None = Field(None, ge=1, le=1000, description="Number of likely words that are considered")
    min_p: float | None = Field(None, ge=0, le=1, description="How likely a word must be, as a share of the likeliest")
    num_predict: int = Field(1000, ge=1, le=128_000, description="Longest answer, in tokens")
    num_ctx: int | None = Field(
        None, ge=512, le=1_048_576, description="Tokens that the model reads; what is older is left out. Needs memory"
    )
    stop: tuple[str, ...] | None = Field(None, max_length=16, description="Texts at which the answer ends")
    seed: int | None = Field(None, description="The same seed gives the same answer")
    repeat_penalty: float | None = Field(None, ge=0, le=2, description="Against repetitions; 1 is none")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="Against repeating the same words")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="Towards new subjects")
    think: Literal["off", "low", "medium", "high", "max"] | None = Field(
        "off", description="How much a model thinks that can; “off” answers soonest"
    )
    keep_alive: str = Field(
        "30m",
        pattern=r"^(-1|0|(\d+(ms|s|m|h))+)$",
        description="How long the model stays in memory: 10m, 24h, -1 for ever",
    )

    @property
    def keeps(self) -> bool:
        """Whether the model stays in memory at all. To load one that does not would unload it."""
        return any(digit in self.keep_alive for digit in "123456789")

    def request(self) -> dict[str, Any]:
        apart = {"model", "think", "keep_alive"}
        request: dict[str, Any] = {
            "model": self.model,
            "options": self.model_dump(exclude_none=True, exclude=apart),
            "keep_alive": int(self.keep_alive) if self.keep_alive in ("-1", "0") else self.keep_alive,
        }
        return request | {"think": False if self.think == "off" else self.think} if self.think else request


# -- what is asked ---------------------------------------------------------------------------------------


def _rendered(message: Message) -> dict[str, Any]:
    if call := message.call:
        return {"role": "tool", "tool_name": call.name, "tool_call_id": call.id, "content": message.content}
    rendered: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        rendered["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.calls
        ]
    return rendered


def _sent(request: Mapping[str, Any], timeout: aiohttp.ClientTimeout) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    return {"data": msgspec.json.encode(request), "headers": headers, "timeout": timeout}


# -- what is answered ------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] | None = None


class _Call(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct):
    content: str = ""
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int = 0
    eval_count: int = 0
    error: Any = None


class _Pulled(msgspec.Struct):
    models: list[msgspec.Raw] | None


class _Shown(msgspec.Struct):
    details: msgspec.Raw


_line = msgspec.json.Decoder(_Line)
_pulled = msgspec.json.Decoder(_Pulled)
_shown = msgspec.json.Decoder(_Shown)


_REFUSALS = {
    b"page not found": "this is not where Ollama answers: its address ends with the port, without /v1 or /api",
    b"not found": "Ollama does not have the model “{model}”; on its machine, run: ollama pull {model}",
    b"does not support tools": "the model “{model}” cannot be given tools; choose another",
    b"does not support thinking": "the model “{model}” does not think: set `think` to “off”",
}
"""By the server's words: it has no codes."""


async def _lines(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Those that say something."""
    async with aclosing(lines(pieces)) as found:
        async for line in found:
            if line.strip():
                yield line


class Ollama(HttpConnector, LanguageModel):
    """A key is wanted by gateways and by ollama.com only."""

    slug = "ollama"
    label = "Ollama"
    key_setting = "OLLAMA_API_KEY"
    base_url_setting = "OLLAMA_BASE_URL"
    example_base_url = "http://localhost:11434"
    Options = OllamaOptions
    options: OllamaOptions

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        super().__init__(options, credentials)
        self._loading: asyncio.Task[None] | None = None

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return () if environ.get(cls.base_url_setting) else (cls.base_url_setting,)

    async def warm(self) -> None:
        """The model is loaded meanwhile: for a large one, that takes longer than anybody waits."""
        await self.check()
        self._load_meanwhile()

    async def check(self) -> None:
        """Of a model that nobody chose, it does not matter whether it was pulled."""
        if "model" in self.options.model_fields_set:
            await self.asked("POST", "/api/show", _shown, **_sent({"model": self.options.model}, CHECKING))
        else:
            await self.found("/api/tags", _pulled, timeout=CHECKING)

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await super().close()

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        request = {**self.options.request(), "messages": [_rendered(message) for message in as_asked(messages)]}
        if tools:
            request["tools"] = functions(tools)
        has_begun = False
        try:
            async with aclosing(self._answer(request)) as items:
                async for item in items:
                    has_begun = True
                    yield item
        except asyncio.CancelledError:
            if not has_begun:
                self._load_meanwhile()
            raise

    async def _answer(self, request: Mapping[str, Any]) -> AsyncGenerator[Said, None]:
        has_calls = False
        async with self.streaming(_lines, "POST", "/api/chat", **_sent(request, ANSWERING)) as stream:
            async for data in stream:
                line = self._parse(data)
                for asked in line.message.tool_calls or ():
                    has_calls = True
                    yield self._call(asked)
                if line.message.content:
                    yield line.message.content
                if line.done:
                    break
            else:
                raise cut(self)
            reason = line.done_reason or "stop"
            yield Finished(
                "tools" if has_calls and reason == "stop" else reason, line.prompt_eval_count, line.eval_count
            )

    def headers(self) -> Mapping[str, str]:
        key = self.credentials.api_key
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def expect_ok(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (400, 404):
            said = await response.read()
            for words, why in _REFUSALS.items():
                if words in said:
                    text = why.format(model=self.options.model)
                    raise ProviderError(ErrorKind.REQUEST, text, status=response.status)
        await super().expect_ok(response)

    def _load_meanwhile(self) -> None:
        """Ollama stops loading when the one who asked goes away, so somebody must stay for the next turn."""
        if self.options.keeps and (self._loading is None or self._loading.done()):
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        """With the options that are asked for later, or it would be loaded twice. A turn tells what is wrong."""
        request = {**self.options.request(), "stream": False}
        with suppress(ProviderError):
            async with self.asking("POST", "/api/generate", **_sent(request, LOADING)) as response:
                await response.read()

    def _call(self, asked: _Call) -> ToolCall:
        """They come whole."""
        if not asked.function.name:
            raise garbage(self)
        return ToolCall(asked.id or made_up_id(), asked.function.name, asked.function.arguments or {})

    def _parse(self, data: bytes) -> _Line:
        line = decoded(self, _line, data)
        if line.error is not None:
            raise from_code(self, str(line.error))
        return line
