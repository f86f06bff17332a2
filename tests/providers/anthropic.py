"""Anthropic: messages and models."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import Answer, bearer, enter, json_answer, received, send, sse
from tests.providers.brain import Call, Function, Thought, content_text, last_user_text, tokens
from tests.providers.paths import add_shared, has_header
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    error = {"type": TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{uuid4().hex}"}, {}


ANTHROPIC = Provider("anthropic", complaint)
ANTHROPIC_MESSAGES = ANTHROPIC.route("messages", Kind.EVENTS)
ANTHROPIC_MODELS = ANTHROPIC.route("models")
TURNS = (Turn(Role.LLM, "anthropic", ANTHROPIC_MESSAGES),)

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
USE_ID = re.compile(r"[a-zA-Z0-9_-]+")
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5")
NEWEST = re.compile(r"claude-[a-z]+-5")
THINKING = {"claude-opus-5-5": ("adaptive",), "claude-sonnet-5-5": ("between_tools", "adaptive")}


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/messages", create_message)
    add_shared(app, "GET", "/v1/models", list_models, has_header("anthropic-version"))


def environment(url: str) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "stand-in-anthropic", "ANTHROPIC_BASE_URL": url}


def _key(request: web.Request) -> str | None:
    """The key's own header, or the bearer token that the SDK makes of it."""
    return request.headers.get("x-api-key") or bearer(request)


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, ANTHROPIC_MODELS, _key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        created = "2025-01-01T00:00:00Z"
        data = [{"type": "model", "id": name, "display_name": name, "created_at": created} for name in MODELS]
        page = {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        return await send(request, recorded, behaviour, json_answer({"data": data, **page}))


async def create_message(request: web.Request) -> web.StreamResponse:
    async with received(request, ANTHROPIC_MESSAGES, _key(request)) as (backstage, recorded):
        body = recorded.body = await request.json()
        if not request.headers.get("anthropic-version"):
            raise refusal(ANTHROPIC, 400, message="anthropic-version: header is required")
        for name in ("model", "max_tokens", "messages"):
            if not body.get(name):
                raise refusal(ANTHROPIC, 400, message=f"{name}: Field required")
        _check_choices(body)
        functions = [_function(place, tool) for place, tool in enumerate(body.get("tools") or ())]
        messages = _conversation(body)
        behaviour = await enter(backstage, recorded, last_user_text(messages))
        thought = backstage.think(messages, functions, behaviour)
        answer = _streamed(body, thought) if body.get("stream") else json_answer(_message(body, thought))
        return await send(request, recorded, behaviour, answer)


# -- what is asked ---------------------------------------------------------------------------------------


def _check_choices(body: Mapping[str, Any]) -> None:
    """What the newest models refuse, and the older ones together."""
    model, thinking = body["model"], (body.get("thinking") or {}).get("type")
    if model.startswith("claude-3"):
        raise refusal(ANTHROPIC, 404, message=f"model: {model}")
    sampling = [name for name in ("temperature", "top_p", "top_k") if name in body]
    if sampling and NEWEST.match(model):
        raise refusal(ANTHROPIC, 400, message=f"`{sampling[0]}` is deprecated for this model.")
    if {"temperature", "top_p"} <= set(sampling):
        raise refusal(ANTHROPIC, 400, message="`temperature` and `top_p` cannot both be specified for this model.")
    if thinking and thinking not in THINKING.get(model, ("disabled", "adaptive")):
        raise refusal(ANTHROPIC, 400, message=f'"thinking.type.{thinking}" is not supported for this model.')


def _function(place: int, tool: Mapping[str, Any]) -> Function:
    schema = tool.get("input_schema")
    if not NAME.fullmatch(tool.get("name") or ""):
        raise refusal(ANTHROPIC, 400, message=f"tools.{place}.custom.name: String should match pattern")
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise refusal(ANTHROPIC, 400, message=f"tools.{place}.custom.input_schema: Field required, of type object")
    return Function(tool["name"], schema)


def _conversation(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages in the form that the brain reads, once their order and blocks are as the API wants them."""
    system = content_text(body.get("system") or "")
    found: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    waiting: list[str] = []
    for place, message in enumerate(body["messages"]):
        role = message.get("role")
        if role not in ("user", "assistant"):
            raise refusal(ANTHROPIC, 400, message=f"messages.{place}.role: Input should be 'user' or 'assistant'")
        if not place and role != "user":
            raise refusal(ANTHROPIC, 400, message='messages: first message must use the "user" role')
        blocks = _blocks(message.get("content"), place)
        waiting = _check_results(blocks, waiting, place)
        found += _said(role, blocks)
    if waiting:
        raise _unanswered(waiting, len(body["messages"]) - 1)
    return found


def _blocks(content: object, place: int) -> list[Mapping[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not blocks:
        raise refusal(ANTHROPIC, 400, message=f"messages.{place}: all messages must have non-empty content")
    if any(block.get("type") == "text" and not block.get("text", "").strip() for block in blocks):
        raise refusal(ANTHROPIC, 400, message="messages: text content blocks must contain non-whitespace text")
    return blocks


def _check_results(blocks: list[Mapping[str, Any]], waiting: list[str], place: int) -> list[str]:
    """Results come first in the message after their calls; the ids of the calls that this message makes."""
    kinds = [block.get("type") for block in blocks]
    results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
    if set(results) - set(waiting):
        text = f"messages.{place}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {results[0]}."
        raise refusal(ANTHROPIC, 400, message=text)
    if set(waiting) - set(results) or "tool_result" in kinds[len(results) :]:
        raise _unanswered(waiting, place - 1)
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    for use in uses:
        if not NAME.fullmatch(use.get("name") or "") or not USE_ID.fullmatch(use.get("id") or ""):
            raise refusal(
                ANTHROPIC, 400, message=f"messages.{place}.content.0.tool_use.id: String should match pattern"
            )
        if not isinstance(use.get("input"), Mapping):
            text = f"messages.{place}.content.0.tool_use.input: Input should be a valid dictionary"
            raise refusal(ANTHROPIC, 400, message=text)
    return [use["id"] for use in uses]


def _unanswered(waiting: list[str], place: int) -> web.HTTPException:
    text = f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
    return refusal(ANTHROPIC, 400, message=text + ", ".join(waiting))


def _said(role: str, blocks: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        match block.get("type"):
            case "text":
                yield {"role": role, "content": block["text"]}
            case "tool_result":
                yield {"role": "tool", "content": content_text(block.get("content") or "")}


# -- what is answered ------------------------------------------------------------------------------------


def _limit(body: Mapping[str, Any], thought: Thought) -> tuple[list[str], str]:
    """The tokens of the answer's text and why it ends."""
    whole = tokens(thought.text)
    words = whole[: body["max_tokens"]]
    return words, "tool_use" if thought.calls else "max_tokens" if len(words) < len(whole) else "end_turn"


def _message(body: Mapping[str, Any], thought: Thought) -> dict[str, Any]:
    words, reason = _limit(body, thought)
    asked = sum(len(content_text(message.get("content")).split()) for message in body["messages"])
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": ([{"type": "text", "text": "".join(words)}] if words else [])
        + [_begun(call) | {"input": call.arguments} for call in thought.calls],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": asked, "output_tokens": min(thought.length, body["max_tokens"])},
    }


def _begun(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{uuid4().hex[:24]}", "name": call.name, "input": {}}


def _event(kind: str, **fields: object) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _streamed(body: Mapping[str, Any], thought: Thought) -> Answer:
    message = _message(body, thought)
    words, reason = _limit(body, thought)
    begun = message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
    head, pieces, stop = _text_block(words) if words else (b"", [], b"")
    for place, call in enumerate(thought.calls):
        pieces += _call_block(place, call)
    delta = {"stop_reason": reason, "stop_sequence": None}
    return Answer(
        content_type="text/event-stream; charset=utf-8",
        head=_event("message_start", message=begun) + head + _event("ping"),
        pieces=pieces,
        tail=stop
        + _event("message_delta", delta=delta, usage={"output_tokens": message["usage"]["output_tokens"]})
        + _event("message_stop"),
        error=lambda body: sse(body, "error"),
        garbage=b'event: content_block_delta\ndata: {"type": "content_\n\n',
    )


def _text_block(words: list[str]) -> tuple[bytes, list[bytes], bytes]:
    return (
        _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        [_event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words],
        _event("content_block_stop", index=0),
    )


def _call_block(place: int, call: Call) -> Iterator[bytes]:
    """A call as it grows: its name first, then its arguments in pieces that break anywhere."""
    yield _event("content_block_start", index=place, content_block=_begun(call))
    *most, last = ("", *call.pieces)
    for piece in most:
        yield _event("content_block_delta", index=place, delta={"type": "input_json_delta", "partial_json": piece})
    end = _event("content_block_stop", index=place)
    yield _event("content_block_delta", index=place, delta={"type": "input_json_delta", "partial_json": last}) + end
