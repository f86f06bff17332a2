"""Google's Gemini API: streamGenerateContent, generateContent and the list of models."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import REVOKED, Answer, Recorded, enter, json_answer, received, send, sse
from tests.providers.brain import Call, Function, Thought, last_user_text, tokens
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
BAD_KEY = "API key not valid. Please pass a valid API key."


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    """`param` is the reason of an ErrorInfo, where there is one."""
    error: dict[str, Any] = {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}
    if param:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": param, "domain": "googleapis.com"}]
    return {"error": error}, {}


GOOGLE = Provider("google", complaint)
GOOGLE_STREAM = GOOGLE.route("stream", Kind.EVENTS)
GOOGLE_MODELS = GOOGLE.route("models")
MEDIUM = {"thinking_level": "medium"}
TURNS = (Turn(Role.LLM, "google", GOOGLE_STREAM, whole_calls=True, values={"thinking_level": MEDIUM}),)

MODELS = (
    "gemini-3.8-flash",
    "gemini-3.5-flash-lite",
    "gemini-2.5-flash",
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
SIGNATURE = "c2lnbmF0dXJl"
Named = tuple[str | None, str | None]
"""A call and its answer have the same name and the same id."""
UNSIGNED = "skip_thought_signature_validator"


def add_routes(app: web.Application) -> None:
    app.router.add_post(r"/v1beta/models/{model:[^/:]+}:{verb}", generate)
    app.router.add_get("/v1beta/models", list_models)


def environment(url: str) -> dict[str, str]:
    return {"GOOGLE_API_KEY": "stand-in-google", "GOOGLE_BASE_URL": url}


def deny(message: str, reason: str | None = None) -> web.HTTPException:
    return refusal(GOOGLE, 400, message=message, param=reason)


def check_key(recorded: Recorded) -> None:
    """A wrong key is a bad request, none at all is not allowed."""
    key = recorded.headers.get("x-goog-api-key") or recorded.query.get("key")
    if not key:
        raise refusal(GOOGLE, 403, message="Method doesn't allow unregistered callers.")
    if REVOKED in key:
        raise deny(BAD_KEY, "API_KEY_INVALID")


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, GOOGLE_MODELS, "looked at below") as (backstage, recorded):
        check_key(recorded)
        behaviour = await enter(backstage, recorded, "")
        count = int(recorded.query.get("pageSize", 50))
        found = [{"name": f"models/{name}", "displayName": name} for name in MODELS[:count]]
        return await send(request, recorded, behaviour, json_answer({"models": found}))


async def generate(request: web.Request) -> web.StreamResponse:
    async with received(request, GOOGLE_STREAM, "looked at below") as (backstage, recorded):
        check_key(recorded)
        verb, model = request.match_info["verb"], request.match_info["model"]
        if verb not in ("streamGenerateContent", "generateContent") or model not in MODELS:
            text = f"models/{model} is not found for API version v1beta, or is not supported for {verb}."
            raise refusal(GOOGLE, 404, message=text)
        body = recorded.body = await request.json()
        _check_config(body.get("generationConfig") or {}, model)
        functions = list(_functions(body))
        messages = _conversation(body, model)
        behaviour = await enter(backstage, recorded, last_user_text(messages))
        thought = backstage.think(messages, functions, behaviour)
        if verb == "generateContent":
            return await send(request, recorded, behaviour, json_answer(_whole(body, model, thought)))
        if recorded.query.get("alt") != "sse":
            raise deny("The stand-in streams with alt=sse only.")
        return await send(request, recorded, behaviour, _streamed(body, model, thought))


# -- what is asked ---------------------------------------------------------------------------------------


def _check_config(config: Mapping[str, Any], model: str) -> None:
    known = {
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "stopSequences",
        "frequencyPenalty",
        "presencePenalty",
        "seed",
        "thinkingConfig",
        "candidateCount",
        "responseMimeType",
        "responseSchema",
    }
    for name in config.keys() - known:
        raise deny(f"Invalid JSON payload received. Unknown name \"{name}\" at 'generation_config': Cannot find field.")
    if len(config.get("stopSequences") or ()) > 5:
        raise deny("Only up to 5 stop sequences are allowed.")
    thinking = config.get("thinkingConfig") or {}
    if "thinkingLevel" in thinking and model.startswith("gemini-2"):
        raise deny("Thinking level is not supported for this model.")
    if thinking.get("thinkingLevel", "LOW") not in ("MINIMAL", "LOW", "MEDIUM", "HIGH"):
        raise deny("Invalid value at 'generation_config.thinking_config.thinking_level'")
    if thinking.get("thinkingLevel") == "MINIMAL" and not model.endswith("-lite"):
        raise deny(f"Thinking level MINIMAL is not supported for {model}.")
    if {"thinkingLevel", "thinkingBudget"} <= thinking.keys():
        raise deny("You can only set only one of thinking budget and thinking level.")


def _functions(body: Mapping[str, Any]) -> Iterator[Function]:
    for tool in body.get("tools") or ():
        for declared in tool.get("functionDeclarations") or ():
            if not NAME.fullmatch(declared.get("name") or ""):
                raise deny("Invalid function name. Must start with a letter or an underscore.")
            schema = declared.get("parametersJsonSchema") or declared.get("parameters")
            if schema is not None and not schema.get("properties"):
                raise deny("function_declarations[0].parameters.properties: should be non-empty for OBJECT type")
            yield Function(declared["name"], schema or {"type": "object", "properties": {}})


def _conversation(body: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    """In the form that the brain reads."""
    contents = body.get("contents")
    if not contents:
        raise deny("* GenerateContentRequest.contents: contents is not specified")
    found: list[dict[str, Any]] = []
    if system := body.get("systemInstruction"):
        found.append({"role": "system", "content": _text(system["parts"])})
    waiting: list[Named] = []
    for place, content in enumerate(contents):
        if content.get("role") not in ("user", "model"):
            raise deny("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise deny(f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.")
        waiting = _check_turn(content, waiting, place, model)
        found += _said(content)
    if waiting:
        raise deny("Please ensure that function response turn comes immediately after a function call turn.")
    return found


def _check_turn(content: Mapping[str, Any], waiting: list[Named], place: int, model: str) -> list[Named]:
    """The functions that this turn calls."""
    answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
    if [_named(answer) for answer in answers] != waiting:
        text = "the number of function response parts is equal to the number of function call parts"
        raise deny(f"Please ensure that {text} of the function call turn.")
    if any(not isinstance(answer.get("response"), Mapping) for answer in answers):
        raise deny(f"Invalid value at 'contents[{place}].parts[0].function_response.response'.")
    calls = [part for part in content["parts"] if "functionCall" in part]
    if calls and not place:
        raise deny("Please ensure that function call turn comes immediately after a user turn.")
    if calls and model.startswith("gemini-3") and calls[0].get("thoughtSignature") not in (SIGNATURE, UNSIGNED):
        raise deny("Function call is missing a thought_signature in functionCall parts.")
    if any(not isinstance(part["functionCall"].get("args", {}), Mapping) for part in calls):
        raise deny(f"Invalid value at 'contents[{place}].parts[0].function_call.args'.")
    return [_named(part["functionCall"]) for part in calls]


def _named(call: Mapping[str, Any]) -> Named:
    return call.get("name"), call.get("id")


def _said(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    role = "assistant" if content["role"] == "model" else "user"
    if text := _text(content["parts"]):
        yield {"role": role, "content": text}
    for part in content["parts"]:
        if "functionResponse" in part:
            yield {"role": "tool", "content": str(part["functionResponse"]["response"].get("output", ""))}


def _text(parts: list[Mapping[str, Any]]) -> str:
    if any("text" in part and not part["text"] for part in parts):
        raise deny("Unable to submit request because it must have a text parameter.")
    return "".join(part.get("text", "") for part in parts)


# -- what is answered ------------------------------------------------------------------------------------


def _words(body: Mapping[str, Any], thought: Thought) -> tuple[list[str], str]:
    """The tokens of the answer's text and why it ends. A call is no reason of its own."""
    words = tokens(thought.text)
    limit = (body.get("generationConfig") or {}).get("maxOutputTokens") or len(words)
    return words[:limit], "MAX_TOKENS" if limit < len(words) else "STOP"


def _chunk(body: Mapping[str, Any], model: str, parts: list[Any], told: int, reason: str = "") -> dict[str, Any]:
    asked = sum(len(str(content).split()) for content in body["contents"])
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": reason} if reason else {})],
        "usageMetadata": {
            "promptTokenCount": asked,
            "candidatesTokenCount": told,
            "totalTokenCount": asked + told,
        },
        "modelVersion": model,
        "responseId": uuid4().hex,
    }


def _called(call: Call, model: str, is_first: bool) -> dict[str, Any]:
    """Whole, and signed by newer models, which give it an id, too."""
    asked: dict[str, Any] = {"name": call.name, "args": call.arguments}
    if not model.startswith("gemini-3"):
        return {"functionCall": asked}
    part: dict[str, Any] = {"functionCall": asked | {"id": uuid4().hex[:8]}}
    return part | {"thoughtSignature": SIGNATURE} if is_first else part


def _whole(body: Mapping[str, Any], model: str, thought: Thought) -> dict[str, Any]:
    words, reason = _words(body, thought)
    parts: list[Any] = [{"text": "".join(words)}] if words else []
    parts += [_called(call, model, not place) for place, call in enumerate(thought.calls)]
    return _chunk(body, model, parts, min(thought.length, len(words) or thought.length), reason)


def _streamed(body: Mapping[str, Any], model: str, thought: Thought) -> Answer:
    words, reason = _words(body, thought)
    parts: list[Any] = [{"text": word} for word in words]
    parts += [_called(call, model, not place) for place, call in enumerate(thought.calls)]
    told = min(thought.length, len(words) or thought.length)
    return Answer(
        content_type="text/event-stream",
        pieces=[_line(_chunk(body, model, [part], place)) for place, part in enumerate(parts, start=1)],
        tail=_line(_chunk(body, model, [{"text": ""}], told, reason)),
        garbage=b'data: {"candidates": [{"content"\r\n\r\n',
    )


def _line(chunk: dict[str, Any]) -> bytes:
    """Lines end as in the headers."""
    return sse(chunk).replace(b"\n", b"\r\n")
