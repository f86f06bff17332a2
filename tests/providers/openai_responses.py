"""OpenAI's Responses API: items in, events out. Its models, key and address are those of `openai`."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import Answer, bearer, enter, json_answer, received, send, sse
from tests.providers.brain import Call, Function, Thought, last_user_text, tokens
from tests.providers.openai import complaint
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

OPENAI_RESPONSES = Provider("openai_responses", complaint)
OPENAI_RESPONSES_CREATE = OPENAI_RESPONSES.route("create", Kind.EVENTS)
UNSEEN = {"stop": "the API has none: the connector looks for the texts itself"}
TURNS = (Turn(Role.LLM, "openai_responses", OPENAI_RESPONSES_CREATE, unseen=UNSEEN),)
LEAST_TOKENS = 16
ROLES = {"user", "assistant", "system", "developer"}


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/responses", create)


def environment(url: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": "stand-in-openai", "OPENAI_BASE_URL": f"{url}/v1"}


def deny(message: str, param: str) -> web.HTTPException:
    return refusal(OPENAI_RESPONSES, 400, message=message, param=param)


async def create(request: web.Request) -> web.StreamResponse:
    async with received(request, OPENAI_RESPONSES_CREATE, bearer(request)) as (backstage, recorded):
        body = recorded.body = await request.json()
        for name in ("model", "input"):
            if not body.get(name):
                raise deny(f"Missing required parameter: '{name}'.", name)
        if (limit := body.get("max_output_tokens")) is not None and limit < LEAST_TOKENS:
            raise deny(f"Invalid 'max_output_tokens': must be at least {LEAST_TOKENS}.", "max_output_tokens")
        functions = [_function(tool, place) for place, tool in enumerate(body.get("tools") or ())]
        messages = list(_conversation(body))
        behaviour = await enter(backstage, recorded, last_user_text(messages))
        thought = backstage.think(messages, functions, behaviour)
        answer = _streamed(body, thought) if body.get("stream") else json_answer(_ended(body, thought))
        return await send(request, recorded, behaviour, answer)


# -- what is asked ---------------------------------------------------------------------------------------


def _function(tool: Mapping[str, Any], place: int) -> Function:
    """The name stands in the tool itself; chat completions have it one level deeper."""
    if tool.get("type") != "function" or not tool.get("name"):
        raise deny(f"Missing required parameter: 'tools[{place}].name'.", f"tools[{place}].name")
    parameters = tool.get("parameters") or {}
    if parameters.get("type") != "object":
        raise deny("Invalid schema: must be of type 'object'.", f"tools[{place}].parameters")
    if tool.get("strict", True) and parameters.get("additionalProperties") is not False:
        raise deny("Invalid schema: 'additionalProperties' must be false.", f"tools[{place}].parameters")
    return Function(tool["name"], parameters)


def _conversation(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In the form that the brain reads; each result needs its call before it, each call its result."""
    if body.get("instructions"):
        yield {"role": "system", "content": body["instructions"]}
    if isinstance(body["input"], str):
        yield {"role": "user", "content": body["input"]}
        return
    waiting: set[str] = set()
    for place, item in enumerate(body["input"]):
        match item.get("type", "message"):
            case "message":
                yield _message(item, place)
            case "function_call":
                waiting.add(_call_id(item, place))
            case "function_call_output":
                yield _output(item, waiting, place)
            case "reasoning":
                if not item.get("encrypted_content"):
                    raise deny(f"Item with id '{item.get('id')}' not found: `store` is set to false.", "input")
            case kind:
                raise deny(f"Invalid value: '{kind}'.", f"input[{place}].type")
    for call in waiting:
        raise deny(f"No tool output found for function call {call}.", "input")


def _message(item: Mapping[str, Any], place: int) -> dict[str, Any]:
    if item.get("role") not in ROLES:
        raise deny(f"Invalid value: '{item.get('role')}'.", f"input[{place}]")
    if not isinstance(item.get("content"), str | list):
        raise deny("Invalid type for 'content'.", f"input[{place}].content")
    return {"role": item["role"], "content": item["content"]}


def _call_id(item: Mapping[str, Any], place: int) -> str:
    if not item.get("call_id") or not item.get("name") or not isinstance(item.get("arguments"), str):
        raise deny("Invalid function call.", f"input[{place}]")
    if not isinstance(json.loads(item["arguments"]), dict):
        raise deny("Invalid function call.", f"input[{place}].arguments")
    if "id" in item and not item["id"].startswith("fc"):
        raise deny("Invalid 'id': expected an ID that begins with 'fc'.", f"input[{place}].id")
    return str(item["call_id"])


def _output(item: Mapping[str, Any], waiting: set[str], place: int) -> dict[str, Any]:
    if item.get("call_id") not in waiting:
        raise deny(f"No tool call found for function call output with call_id {item.get('call_id')}.", "input")
    if not isinstance(item.get("output"), str | list):
        raise deny("Invalid type for 'output'.", f"input[{place}].output")
    waiting.discard(item["call_id"])
    return {"role": "tool", "content": item["output"]}


# -- what is answered ------------------------------------------------------------------------------------


def _words(body: Mapping[str, Any], thought: Thought) -> tuple[list[str], bool]:
    """The tokens of the answer's text, and whether they are all."""
    words = tokens(thought.text)
    limit = body.get("max_output_tokens") or len(words)
    return words[:limit], limit >= len(words)


def _response(body: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": body["model"],
        "output": [],
        "store": bool(body.get("store", True)),
        "usage": None,
    }


def _ended(body: Mapping[str, Any], thought: Thought) -> dict[str, Any]:
    words, is_whole = _words(body, thought)
    asked, told = len(json.dumps(body["input"]).split()), min(thought.length, len(words) or thought.length)
    usage = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": told,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + told,
    }
    text = [_said("".join(words))] if words else []
    output = [*text, *(_called(call, f"fc_{uuid4().hex}", f"call_{uuid4().hex[:24]}") for call in thought.calls)]
    found = _response(body, "completed" if is_whole else "incomplete") | {"output": output, "usage": usage}
    return found if is_whole else found | {"incomplete_details": {"reason": "max_output_tokens"}}


def _said(text: str, item: str = "msg_1", status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}] if text else []
    return {"id": item, "type": "message", "role": "assistant", "status": status, "content": content}


def _called(call: Call, item: str, call_id: str, is_whole: bool = True) -> dict[str, Any]:
    return {
        "id": item,
        "type": "function_call",
        "status": "completed" if is_whole else "in_progress",
        "call_id": call_id,
        "name": call.name,
        "arguments": "".join(call.pieces) if is_whole else "",
    }


class _Events:
    """Numbered, as the API numbers them."""

    def __init__(self) -> None:
        self._number = -1

    def __call__(self, kind: str, **fields: object) -> bytes:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number, **fields}, kind)


def _streamed(body: Mapping[str, Any], thought: Thought) -> Answer:
    event = _Events()
    begun = _response(body, "in_progress")
    head = event("response.created", response=begun) + event("response.in_progress", response=begun)
    words, is_whole = _words(body, thought)
    pieces: list[bytes] = []
    tail = b""
    if words:
        head += event("response.output_item.added", output_index=0, item=_said("", status="in_progress"))
        part = {"type": "output_text", "text": "", "annotations": []}
        head += event("response.content_part.added", item_id="msg_1", output_index=0, content_index=0, part=part)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        pieces += [event("response.output_text.delta", **place, delta=word, logprobs=[]) for word in words]
        text = "".join(words)
        tail = event("response.output_text.done", **place, text=text, logprobs=[])
        tail += event("response.output_item.done", output_index=0, item=_said(text))
    for index, call in enumerate(thought.calls, start=len(words) > 0):
        pieces += _call_events(event, index, call)
    end = "response.completed" if is_whole else "response.incomplete"
    return Answer(
        content_type="text/event-stream; charset=utf-8",
        head=head,
        pieces=pieces,
        tail=tail + event(end, response=_ended(body, thought)),
        garbage=b'event: response.output_text.delta\ndata: {"type": "response.\n\n',
        error=lambda body: event("error", **_told(body)),
    )


def _told(body: object) -> dict[str, object]:
    """An error in the stream has its fields in the event itself."""
    error = body["error"] if isinstance(body, Mapping) else {}
    return {name: error.get(name) for name in ("code", "message", "param")}


def _call_events(event: _Events, index: int, call: Call) -> Iterator[bytes]:
    """A call as it grows; its last fragment comes with the item that repeats it whole."""
    item, call_id = f"fc_{uuid4().hex}", f"call_{uuid4().hex[:24]}"
    yield event("response.output_item.added", output_index=index, item=_called(call, item, call_id, is_whole=False))
    place = {"item_id": item, "output_index": index}
    *most, last = call.pieces
    for piece in most:
        yield event("response.function_call_arguments.delta", **place, delta=piece)
    yield (
        event("response.function_call_arguments.delta", **place, delta=last)
        + event("response.function_call_arguments.done", **place, name=call.name, arguments="".join(call.pieces))
        + event("response.output_item.done", output_index=index, item=_called(call, item, call_id))
    )
