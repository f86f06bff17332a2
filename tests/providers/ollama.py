"""Ollama's own API: a chat in lines of JSON, what a model is, and the request that only loads it."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import Answer, Recorded, bearer, enter, json_answer, received, send
from tests.providers.brain import Function, Messages, Thought, last_user_text, tokens
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

ROLES = {"system", "user", "assistant", "tool"}
PULLED = ("llama3.2", "llama2", "llama2:13b", "mistral", "qwen3")
WITHOUT_TOOLS = ("llama2", "llama2:13b")
LEVELS = ("low", "medium", "high", "max")
WITH_THINKING = ("qwen3",)
OPTIONS = {
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_last_n",
    "temperature",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    return {"error": message}, {}


OLLAMA = Provider("ollama", complaint)
OLLAMA_CHAT = OLLAMA.route("chat", Kind.EVENTS)
OLLAMA_TAGS = OLLAMA.route("tags")
OLLAMA_SHOW = OLLAMA.route("show")
OLLAMA_GENERATE = OLLAMA.route("generate")
THINKING = {"model": "qwen3", "think": "max"}
TURNS = (
    Turn(
        Role.LLM,
        "ollama",
        OLLAMA_CHAT,
        whole_calls=True,
        values={"keep_alive": {"keep_alive": "-1"}, "think": THINKING},
    ),
)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/api/chat", chat)
    app.router.add_get("/api/tags", list_models)
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/generate", generate)


def environment(url: str) -> dict[str, str]:
    return {"OLLAMA_BASE_URL": url}


def key_of(request: web.Request) -> str:
    """None is wanted; a gateway before it may look at one."""
    return bearer(request) or "none"


async def body_of(request: web.Request, recorded: Recorded) -> dict[str, Any]:
    """Names of models without a tag mean the latest."""
    body: dict[str, Any] = await request.json()
    recorded.body = body
    if not body.get("model"):
        raise refusal(OLLAMA, 400, message="model is required")
    if body["model"].removesuffix(":latest") not in PULLED:
        raise refusal(OLLAMA, 404, message=f"model '{body['model']}' not found")
    keep = body.get("keep_alive")
    if isinstance(keep, str) and keep[-1:].isdigit():
        raise refusal(OLLAMA, 400, message=f'time: missing unit in duration "{keep}"')
    think = body.get("think", False)
    if not (isinstance(think, bool) or think in LEVELS):
        raise refusal(OLLAMA, 400, message=f'invalid think value: "{think}"')
    if think and body["model"] not in WITH_THINKING:
        raise refusal(OLLAMA, 400, message=f'"{body["model"]}" does not support thinking')
    return body


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, OLLAMA_TAGS, key_of(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        names = [name if ":" in name else f"{name}:latest" for name in PULLED]
        return await send(request, recorded, behaviour, json_answer({"models": [{"name": name} for name in names]}))


async def show(request: web.Request) -> web.StreamResponse:
    async with received(request, OLLAMA_SHOW, key_of(request)) as (backstage, recorded):
        body = await body_of(request, recorded)
        behaviour = await enter(backstage, recorded, "")
        able = ["completion"] if body["model"] in WITHOUT_TOOLS else ["completion", "tools"]
        return await send(request, recorded, behaviour, json_answer({"capabilities": able, "template": ""}))


async def generate(request: web.Request) -> web.StreamResponse:
    """Without a prompt, a model is only loaded; one that is kept for no time is unloaded instead."""
    async with received(request, OLLAMA_GENERATE, key_of(request)) as (backstage, recorded):
        body = await body_of(request, recorded)
        if body.get("prompt"):
            raise refusal(OLLAMA, 501, message="the stand-in only loads models")
        behaviour = await enter(backstage, recorded, "")
        reason = "unload" if body.get("keep_alive") in (0, "0s") else "load"
        loaded = {"model": body["model"], "response": "", "done": True, "done_reason": reason}
        return await send(request, recorded, behaviour, json_answer(loaded))


async def chat(request: web.Request) -> web.StreamResponse:
    async with received(request, OLLAMA_CHAT, key_of(request)) as (backstage, recorded):
        body = await body_of(request, recorded)
        messages = _checked(body.get("messages") or ())
        functions = _functions(body)
        behaviour = await enter(backstage, recorded, last_user_text(messages))
        thought = backstage.think(messages, functions, behaviour)
        return await send(request, recorded, behaviour, _streamed(body, thought))


# -- what is asked ---------------------------------------------------------------------------------------


def _checked(messages: Messages) -> Messages:
    """Arguments are objects here, not texts."""
    for message in messages:
        if message.get("role") not in ROLES:
            raise refusal(OLLAMA, 400, message=f"invalid role: {message.get('role')}")
        if not isinstance(message.get("content", ""), str):
            raise refusal(OLLAMA, 400, message="json: cannot unmarshal into Go struct field Message.messages.content")
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"].get("arguments"), Mapping):
                raise refusal(OLLAMA, 400, message="json: cannot unmarshal string into Go struct field .arguments")
    return messages


def _functions(body: Mapping[str, Any]) -> list[Function]:
    tools = [tool["function"] for tool in body.get("tools") or ()]
    if tools and body["model"] in WITHOUT_TOOLS:
        text = f"registry.ollama.ai/library/{body['model']} does not support tools"
        raise refusal(OLLAMA, 400, message=text)
    if unknown := (body.get("options") or {}).keys() - OPTIONS:
        raise refusal(OLLAMA, 400, message=f"Ollama would ignore {unknown}")
    return [Function(tool["name"], tool.get("parameters") or {}) for tool in tools]


# -- what is answered ------------------------------------------------------------------------------------


def _line(body: Mapping[str, Any], **fields: object) -> bytes:
    told = {"model": body["model"], "created_at": "2026-05-01T08:52:19.385406455Z", **fields}
    return json.dumps(told).encode() + b"\n"


def _said(body: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
    return _line(body, message={"role": "assistant", "content": "", **message}, done=False)


def _streamed(body: Mapping[str, Any], thought: Thought) -> Answer:
    """Calls come whole; they are no reason of their own to end."""
    words = tokens(thought.text)
    limit = (body.get("options") or {}).get("num_predict") or len(words)
    calls = [
        {"id": f"call_{uuid4().hex[:8]}", "function": {"index": place, "name": call.name, "arguments": call.arguments}}
        for place, call in enumerate(thought.calls)
    ]
    usage = {
        "total_duration": 4883583458,
        "prompt_eval_count": sum(len(message.get("content", "").split()) for message in body["messages"]),
        "eval_count": min(thought.length, limit) if words else thought.length,
    }
    end = {"role": "assistant", "content": ""}
    reason = "length" if limit < len(words) else "stop"
    return Answer(
        content_type="application/x-ndjson",
        pieces=[_said(body, {"content": word}) for word in words[:limit]]
        + [_said(body, {"tool_calls": [call]}) for call in calls],
        tail=_line(body, message=end, done=True, done_reason=reason, **usage),
        garbage=b'{"model": "llama3.2", "mess\n',
        error=lambda body: json.dumps(body).encode() + b"\n",
    )
