"""Google: Gemini by streamGenerateContent, over plain HTTP: no SDK is needed."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Self

import aiohttp
import msgspec
from pydantic import Field, model_validator

from connectors_app.base.connector import AnyOptions, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool, ToolCall, spoken
from connectors_app.calls import made_up_id
from connectors_app.failures import cut, decoded, from_status, garbage
from connectors_app.http_api import HttpConnector
from connectors_app.model_names import ModelNames
from connectors_app.sse import events
from connectors_app.thoughts import Thoughts

STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
CALL_BEGINS = {"role": "user", "parts": [{"text": "(The conversation begins.)"}]}
"""The API wants the first turn from the user; an agent that greets speaks first."""
UNSIGNED = "skip_thought_signature_validator"
"""Documented for calls of which the model's signed thoughts are not there: made by another model or worker."""
MODELS = ModelNames(
    served=(
        "gemini-3.8-flash",
        "gemini-3.5-flash-lite",
        "gemini-2.5-flash",
        "gemini-flash-latest",
        "gemini-pro-latest",
    ),
    retired=(
        *("gemini-2.0-flash", "gemini-1.5-pro", "gemini-1.5-flash", "gemini-1.0-pro"),
        *("gemini-pro", "gemini-pro-vision"),
    ),
)
HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_UNSIGNED_MODELS = re.compile(r"gemini-(1|2|pro)")
"""Older models, which want no signatures."""
_THINKS_MUCH = re.compile(r"gemini-[3-9](?!.*(lite|image|live|audio|tts))")
"""Unless told otherwise, these think for seconds before their first word."""
_CAMEL = re.compile(r"_([a-z])")


class GoogleOptions(Options):
    model: str = Field(
        "gemini-3.8-flash",
        pattern=r"^([a-z][A-Za-z]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the model",
        **MODELS.as_field(),
    )
    max_output_tokens: int = Field(
        1000, ge=1, le=65_536, description="Longest answer; counts what the model thinks, too"
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Higher is more varied")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of likely words that are considered")
    top_k: int | None = Field(None, ge=1, le=1000, description="Number of likely words that are considered")
    stop_sequences: tuple[str, ...] | None = Field(None, max_length=5, description="Texts at which the answer ends")
    frequency_penalty: float | None = Field(None, ge=-2, lt=2, description="Against repeating the same words")
    presence_penalty: float | None = Field(None, ge=-2, lt=2, description="Towards new subjects")
    seed: int | None = Field(None, ge=0, lt=2**31, description="The same seed gives mostly the same answer")
    thinking_level: Literal["minimal", "low", "medium", "high"] | None = Field(
        None,
        description="How much Gemini 3 and later think: “low” if nothing is chosen, “minimal” where the model has it",
    )
    thinking_budget: int | None = Field(
        None,
        ge=-1,
        le=32_768,
        description="Tokens that Gemini 2.5 may think: 0 turns it off, -1 leaves it to the model",
    )
    safety_threshold: (
        Literal["BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"] | None
    ) = Field(None, description="What is filtered, for all kinds of harm")

    @model_validator(mode="after")
    def _one_way_of_thinking(self) -> Self:
        if self.thinking_level is not None and self.thinking_budget is not None:
            raise ValueError("give `thinking_level` or `thinking_budget`, not both")
        return self

    @property
    def path(self) -> str:
        return self.model if "/" in self.model else f"models/{self.model}"

    def request(self) -> dict[str, Any]:
        apart = {"model", "thinking_level", "thinking_budget", "safety_threshold"}
        config = {_camel(name): value for name, value in self.model_dump(exclude_none=True, exclude=apart).items()}
        if thinking := self._thinking():
            config["thinkingConfig"] = thinking
        request: dict[str, Any] = {"generationConfig": config}
        if self.safety_threshold:
            request["safetySettings"] = [
                {"category": f"HARM_CATEGORY_{harm}", "threshold": self.safety_threshold} for harm in HARMS
            ]
        return request

    def _thinking(self) -> dict[str, Any]:
        """“low” is what all of Gemini 3 and later take. Lite models think less than that by themselves."""
        if self.thinking_budget is not None:
            return {"thinkingBudget": self.thinking_budget}
        level = self.thinking_level or ("low" if _THINKS_MUCH.search(self.model) else None)
        return {"thinkingLevel": level.upper()} if level else {}


def _camel(name: str) -> str:
    return _CAMEL.sub(lambda found: found[1].upper(), name)


# -- what is answered ------------------------------------------------------------------------------------


class _Call(msgspec.Struct):
    name: str = ""
    id: str = ""
    args: dict[str, Any] | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    thought_signature: str = ""
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content = msgspec.field(default_factory=_Content)
    finish_reason: str = ""


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str = ""


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    usage_metadata: _Usage | None = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


class _Models(msgspec.Struct):
    models: list[msgspec.Raw]


_chunk = msgspec.json.Decoder(_Chunk)
_models = msgspec.json.Decoder(_Models)
_FILTERS = {
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "MODEL_ARMOR",
}
_BROKEN = {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"}
_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", **dict.fromkeys(_FILTERS, "filtered")}


class _Answer:
    """What is known of an answer beside its text."""

    def __init__(self) -> None:
        self.reason = ""
        """Empty until the answer is complete."""
        self._usage = _Usage()
        self._has_calls = False

    def read(self, chunk: _Chunk) -> list[_Part]:
        """What is said and asked for in it, without the thoughts."""
        self._usage = chunk.usage_metadata or self._usage
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            self.reason = "SAFETY"
        parts: list[_Part] = []
        for candidate in chunk.candidates[:1]:
            self.reason = candidate.finish_reason or self.reason
            parts = [part for part in candidate.content.parts if not part.thought]
        self._has_calls = self._has_calls or any(part.function_call for part in parts)
        return parts

    def finished(self) -> Finished:
        reason = _REASONS.get(self.reason, self.reason.lower())
        used = self._usage
        return Finished(
            "tools" if self._has_calls and reason == "stop" else reason,
            used.prompt_token_count,
            used.candidates_token_count + used.thoughts_token_count,
        )


class Gemini(HttpConnector, LanguageModel):
    slug = "google"
    label = "Google Gemini"
    key_setting = "GOOGLE_API_KEY"
    base_url_setting = "GOOGLE_BASE_URL"
    default_base_url = "https://generativelanguage.googleapis.com"
    Options = GoogleOptions
    known_models = MODELS
    options: GoogleOptions

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        super().__init__(options, credentials)
        self._signatures = Thoughts()

    async def check(self) -> None:
        await self.found("/v1beta/models", _models, params={"pageSize": "1"})

    def request(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        request = {**self.options.request(), "contents": self._contents(messages)}
        system = [{"text": one.content} for one in messages if one.role == "system" and one.content.strip()]
        if system:
            request["systemInstruction"] = {"parts": system}
        if tools:
            request["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
        return request

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        asking = self.streaming(
            events,
            "POST",
            f"/v1beta/{self.options.path}:streamGenerateContent",
            params={"alt": "sse"},
            data=msgspec.json.encode(self.request(messages, tools)),
            headers={"Content-Type": "application/json"},
            timeout=STREAM_TIMEOUT,
        )
        async with asking as stream:
            answer = _Answer()
            while not answer.reason and (data := await anext(stream, None)):
                for part in answer.read(self._parse(data)):
                    if said := self._said(part):
                        yield said
            self._expect_end(answer.reason)
            yield answer.finished()

    def _said(self, part: _Part) -> str | ToolCall:
        if part.function_call is None:
            return part.text
        asked = part.function_call
        if not asked.name:
            raise garbage(self)
        call = ToolCall(asked.id or made_up_id(), asked.name, asked.args or {})
        if part.thought_signature:
            self._signatures.keep(call.id, part.thought_signature)
        return call

    def _expect_end(self, reason: str) -> None:
        if not reason:
            raise cut(self)
        if reason in _BROKEN:
            raise ProviderError(ErrorKind.BROKEN, f"{self.label} asked for a tool in a broken way ({reason})")

    def _parse(self, data: bytes) -> _Chunk:
        chunk = decoded(self, _chunk, data)
        if chunk.error is not None:
            status = chunk.error.get("code") if isinstance(chunk.error, Mapping) else None
            raise self._refusal(status if isinstance(status, int) else 500, {}, {"error": chunk.error})
        return chunk

    # -- errors ------------------------------------------------------------------------------------------

    async def expect_ok(self, response: aiohttp.ClientResponse) -> None:
        if response.status >= 300:
            try:
                body = msgspec.json.decode(await response.read())
            except msgspec.MsgspecError:
                body = None
            raise self._refusal(response.status, response.headers, body)

    def _refusal(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError:
        """A wrong key is a bad request here, and when to come again stands in the details."""
        details = _details(body)
        if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            return from_status(self, 401, headers, {"code": "API_KEY_INVALID"})
        if status == 429 and "PerDay" in str(details):
            return from_status(self, status, headers, {"code": "quota_exceeded"})
        error = from_status(self, status, headers, body)
        error.retry_after = _delay(details) if error.retry_after is None else error.retry_after
        return error

    def headers(self) -> Mapping[str, str]:
        return {"x-goog-api-key": self.credentials.api_key}

    # -- what is asked -----------------------------------------------------------------------------------

    def _contents(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The results of calls come together, right after them. Empty texts are refused."""
        contents: list[dict[str, Any]] = []
        for message in spoken(messages):
            if message.call and contents and "functionResponse" in contents[-1]["parts"][0]:
                contents[-1]["parts"] += self._parts(message)
            else:
                role = "model" if message.role == "assistant" else "user"
                contents.append({"role": role, "parts": self._parts(message)})
        return contents if contents and contents[0]["role"] == "user" else [CALL_BEGINS, *contents]

    def _parts(self, message: Message) -> list[dict[str, Any]]:
        if call := message.call:
            return [{"functionResponse": {"id": call.id, "name": call.name, "response": {"output": message.content}}}]
        text = [{"text": message.content}] if message.content.strip() else []
        return [*text, *(self._called(call, place) for place, call in enumerate(message.calls))]

    def _called(self, call: ToolCall, place: int) -> dict[str, Any]:
        """Of calls made together, the first is signed."""
        part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": dict(call.arguments)}}
        known = self._signatures.of([call])
        if known:
            return part | {"thoughtSignature": known[0]}
        is_wanted = place == 0 and not _UNSIGNED_MODELS.search(self.options.model)
        return part | {"thoughtSignature": UNSIGNED} if is_wanted else part


def _declaration(tool: Tool) -> dict[str, Any]:
    """A function without parameters has no schema: one without properties is refused."""
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    return declared | {"parametersJsonSchema": dict(tool.parameters)} if tool.parameters.get("properties") else declared


def _details(body: Any) -> list[Mapping[str, Any]]:
    error = body.get("error") if isinstance(body, Mapping) else None
    details = error.get("details") if isinstance(error, Mapping) else None
    return [one for one in details if isinstance(one, Mapping)] if isinstance(details, list) else []


def _delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Such as “34.07s”."""
    for detail in details:
        if found := re.fullmatch(r"(\d+(\.\d+)?)s", str(detail.get("retryDelay", ""))):
            return float(found[1])
    return None
