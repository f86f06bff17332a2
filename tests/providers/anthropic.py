"""Anthropic: messages and models."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base import Role
from tests.providers.backstage import Answer, bearer, enter, json_answer, received, send, sse
from tests.providers.brain import Messages, content_text, last_user_text, tokens
from tests.providers.paths import add_shared, has_header
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.steering import Fault

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

MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-5-haiku-latest")


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
        behaviour = await enter(backstage, recorded, last_user_text(body["messages"]))
        whole = [] if behaviour.fault is Fault.EMPTY else tokens(backstage.brain(_with_system(body)))
        words = whole[: body["max_tokens"]]
        message = _message(body, "max_tokens" if len(words) < len(whole) else "end_turn", words)
        answer = _streamed(message, words) if body.get("stream") else json_answer(message)
        return await send(request, recorded, behaviour, answer)


def _with_system(body: Mapping[str, Any]) -> Messages:
    system = content_text(body.get("system") or "")
    return ([{"role": "system", "content": system}] if system else []) + list(body["messages"])


def _message(body: Mapping[str, Any], reason: str, words: list[str]) -> dict[str, Any]:
    asked = sum(len(content_text(message.get("content")).split()) for message in body["messages"])
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": "".join(words)}] if words else [],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": asked, "output_tokens": len(words)},
    }


def _streamed(message: dict[str, Any], words: list[str]) -> Answer:
    def event(kind: str, **fields: object) -> bytes:
        return sse({"type": kind, **fields}, kind)

    begun = message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
    block = event("content_block_start", index=0, content_block={"type": "text", "text": ""}) if words else b""
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return Answer(
        content_type="text/event-stream; charset=utf-8",
        head=event("message_start", message=begun) + block + event("ping"),
        pieces=[event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words],
        tail=(event("content_block_stop", index=0) if words else b"")
        + event("message_delta", delta=delta, usage={"output_tokens": len(words)})
        + event("message_stop"),
        garbage=b'event: content_block_delta\ndata: {"type": "content_\n\n',
    )
