"""OpenAI: the Responses API, streamed. Nothing is stored there: each request has the whole conversation."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

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
    as_asked,
    system_prompt,
)
from connectors_app.calls import unfinished, whole, written
from connectors_app.failures import cut, decoded, in_stream
from connectors_app.model_names import ModelNames
from connectors_app.openai_api import CLIENTS, OpenAIConnector
from connectors_app.openai_chat import Effort, Tier, reasons
from connectors_app.sdk_streams import sdk_events
from connectors_app.stop_texts import StopTexts
from connectors_app.thoughts import Thoughts

MODELS = ModelNames(
    served=("gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-4.1", "gpt-4o"),
    retired=("gpt-4-turbo", "gpt-4", "gpt-3.5-turbo"),
)


class ResponsesOptions(Options):
    model: str = Field("gpt-5.4-mini", min_length=1, description="Name of the model", **MODELS.as_field())
    max_output_tokens: int = Field(
        1000, ge=16, le=128_000, description="Longest answer; counts what the model thinks, too"
    )
    reasoning_effort: Effort | None = Field(
        None, description="How long a model thinks; only for those that reason. Less answers sooner"
    )
    verbosity: Literal["low", "medium", "high"] | None = Field(None, description="How long answers are; newest models")
    temperature: float | None = Field(
        None, ge=0, le=2, description="Higher is more varied; not for a model that is reasoning"
    )
    top_p: float | None = Field(
        None, ge=0, le=1, description="Share of likely words that are considered; not for a model that is reasoning"
    )
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, max_length=4, description="Texts at which the answer ends"
    )
    service_tier: Tier | None = Field(None, description="“priority” is faster and costs more")
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="“auto” drops the oldest of a conversation that has become too long"
    )

    def request(self) -> dict[str, Any]:
        request = self.model_dump(exclude_none=True, exclude={"reasoning_effort", "verbosity", "stop"})
        if self.reasoning_effort:
            request["reasoning"] = {"effort": self.reasoning_effort}
        if self.verbosity:
            request["text"] = {"verbosity": self.verbosity}
        if reasons(self.model):
            request["include"] = ["reasoning.encrypted_content"]
        return request


# -- what is answered ------------------------------------------------------------------------------------


class _Item(msgspec.Struct):
    type: str = ""
    id: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    summary: list[Any] = []
    encrypted_content: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = ""
    output_index: int = 0
    item: _Item = msgspec.field(default_factory=_Item)
    response: _Response = msgspec.field(default_factory=_Response)
    code: str | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)
_TEXT = {"response.output_text.delta", "response.refusal.delta"}
_PART_OF_CALL = "response.function_call_arguments.delta"
_ENDS = {"response.completed", "response.incomplete"}
_REASONS = {"max_output_tokens": "length", "content_filter": "filtered"}


class _Answer:
    """What is known of an answer beside its text."""

    def __init__(self, model: "Responses") -> None:
        self.thoughts: list[dict[str, Any]] = []
        self.calls: list[ToolCall] = []
        self._model = model
        self._begun: dict[int, str] = {}
        self._is_refusal = False

    def read(self, event: _Event) -> None:
        match event.type, event.item.type:
            case "response.output_item.added", "function_call":
                self._begun[event.output_index] = event.item.name
            case "response.output_item.done", "function_call":
                self._begun.pop(event.output_index, None)
                self._complete(event.item)
            case "response.output_item.done", "reasoning" if event.item.encrypted_content:
                self.thoughts.append(_thought(event.item))
            case "response.refusal.delta", _:
                self._is_refusal = True

    def finished(self, response: _Response) -> Finished:
        """Raises ProviderError when a call is not complete."""
        why = (response.incomplete_details and response.incomplete_details.reason) or ""
        reason = _REASONS.get(why, why) or ("filtered" if self._is_refusal else "tools" if self.calls else "stop")
        if reason != "filtered":
            for name in self._begun.values():
                raise unfinished(self._model, name)
        usage = response.usage or _Usage()
        return Finished(reason, usage.input_tokens, usage.output_tokens)

    def _complete(self, item: _Item) -> None:
        self.calls.append(whole(self._model, item.call_id, item.name, item.arguments))


def _thought(item: _Item) -> dict[str, Any]:
    """One that is not sealed would be looked for among what is stored, where nothing is."""
    return {
        "type": "reasoning",
        "id": item.id,
        "summary": item.summary,
        "encrypted_content": item.encrypted_content,
    }


class Responses(OpenAIConnector, LanguageModel):
    slug = "openai_responses"
    credential_slug = "openai"
    label = "OpenAI Responses"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = "https://api.openai.com/v1"
    Options = ResponsesOptions
    known_models = MODELS
    options: ResponsesOptions

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        super().__init__(options, credentials)
        self._thoughts = Thoughts()

    async def warm(self) -> None:
        client = await CLIENTS.take(self)
        assert client.responses  # imported when it is first used, which must not be in a turn
        await self.check()

    def request(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        spoken = [message for message in as_asked(messages) if message.role != "system"]
        request: dict[str, Any] = {
            **self.options.request(),
            "input": [item for message in spoken for item in self._items(message)],
            "store": False,
            "stream": True,
            "stream_options": {"include_obfuscation": False},
        }
        if system := system_prompt(messages):
            request["instructions"] = system
        if tools:
            request["tools"] = [_function(tool) for tool in tools]
        return request

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        client = await CLIENTS.take(self)
        import openai

        request: Any = self.request(messages, tools)
        asking = client.responses.with_streaming_response.create(**request)
        async with sdk_events(self, openai, asking) as stream:
            answer, stop = _Answer(self), StopTexts(self.options.stop or ())
            async for data in stream:
                event = self._parse(data)
                answer.read(event)
                if event.type in _TEXT and event.delta:
                    yield stop.feed(event.delta)
                if stop.is_reached:
                    await stream.aclose()  # what the model still says is not wanted
                    yield Finished()
                    return
                if event.type == _PART_OF_CALL:
                    yield ""
                if event.type in _ENDS:
                    break
            else:
                raise cut(self)
            if rest := stop.rest():
                yield rest
            end = answer.finished(event.response)
            for call in self._kept(answer) if end.reason != "filtered" else ():
                yield call
            yield end

    def _kept(self, answer: _Answer) -> list[ToolCall]:
        if answer.calls and answer.thoughts:
            self._thoughts.keep(answer.calls[0].id, answer.thoughts)
        return answer.calls

    def _parse(self, data: bytes) -> _Event:
        event = decoded(self, _event, data)
        if event.type == "error" or event.error is not None:
            raise in_stream(self, event.error or {"code": event.code})
        if event.type == "response.failed":
            raise in_stream(self, event.response.error)
        return event

    def _items(self, message: Message) -> list[dict[str, Any]]:
        if message.call:
            return [{"type": "function_call_output", "call_id": message.call.id, "output": message.content}]
        thoughts = [item for items in self._thoughts.of(message.calls) for item in items]
        calls = [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": written(call)}
            for call in message.calls
        ]
        text = [{"role": message.role, "content": message.content}] if message.content or not calls else []
        return [*text, *thoughts, *calls]


def _function(tool: Tool) -> dict[str, Any]:
    """Not strict: that takes few schemas."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": False,
    }
