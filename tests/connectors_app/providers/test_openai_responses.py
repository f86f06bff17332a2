"""OpenAI's Responses API: items in and out, how answers end, and thoughts that come back sealed."""

import json
from collections.abc import Mapping
from contextlib import aclosing

import pytest

from connectors_app.base.connector import Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Message, Said, Tool, ToolCall
from connectors_app.providers.openai_responses import Responses, ResponsesOptions
from tests.connectors_app.raw import answering
from tests.connectors_app.turns import made_with, reply_of
from tests.providers.openai_responses import OPENAI_RESPONSES_CREATE
from tests.providers.standins import StandIns

CALL = ToolCall("call_1", "find", {"n": 1})
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "find", "arguments": '{"n": 1}'}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def ended(kind: str = "response.completed", **response: object) -> bytes:
    return event(kind, response={"usage": {"input_tokens": 3, "output_tokens": 7}, **response})


TEXT = event("response.output_text.delta", output_index=0, delta="Yes")
BEGUN = event("response.output_item.added", output_index=1, item={**ITEM, "arguments": ""})
WHOLE = event("response.output_item.done", output_index=1, item=ITEM)


async def said(*pieces: bytes, **options: object) -> list[Said]:
    environ = {"OPENAI_API_KEY": "k"}
    async with (
        answering(*pieces) as url,
        made_with(Role.LLM, "openai_responses", options, {**environ, "OPENAI_BASE_URL": f"{url}/v1"}) as model,
    ):
        return await reply_of(model)


async def test_nothing_is_stored_there(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "gpt-5.4", "reasoning_effort": "low", "verbosity": "low"}
    async with made_with(Role.LLM, "openai_responses", options, environ) as model:
        await reply_of(model)
    (request,) = stand_ins.requests_to(OPENAI_RESPONSES_CREATE)
    assert request.body["store"] is False and request.body["instructions"] == "Be kind."
    assert (request.body["reasoning"], request.body["text"]) == ({"effort": "low"}, {"verbosity": "low"})
    assert request.body["include"] == ["reasoning.encrypted_content"] and "temperature" not in request.body


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (ended(), "stop"),
        (ended("response.incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (ended("response.incomplete", incomplete_details={"reason": "content_filter"}), "filtered"),
    ],
    ids=["completed", "limit", "filter"],
)
async def test_every_end_has_its_name(end: bytes, reason: str) -> None:
    assert await said(TEXT, end) == ["Yes", Finished(reason, 3, 7)]


async def test_a_refusal_is_said_and_counts_as_filtered() -> None:
    pieces = (event("response.refusal.delta", delta="I can't."), ended())
    assert await said(*pieces) == ["I can't.", Finished("filtered", 3, 7)]


def texts(*deltas: str) -> list[bytes]:
    return [event("response.output_text.delta", output_index=0, delta=delta) for delta in deltas]


@pytest.mark.accepts("C34")
async def test_an_answer_ends_before_a_stop_text() -> None:
    """Also one that comes in two pieces; what comes after it is not waited for."""
    told = await said(*texts("One, tw", "o. EN", "D. More", "over"), BEGUN, stop=["xyz", "END"])
    assert "".join(text for text in told if isinstance(text, str)) == "One, two. "
    assert told[-1] == Finished("stop")


async def test_what_only_begins_like_a_stop_text_is_said() -> None:
    told = await said(*texts("The E", "N"), ended(), stop=["END"])
    assert told == ["The ", "", "EN", Finished("stop", 3, 7)]


async def test_calls_come_when_they_are_whole() -> None:
    assert await said(BEGUN, WHOLE, ended()) == [CALL, Finished("tools", 3, 7)]


@pytest.mark.parametrize("end", [ended(), ended("response.incomplete")], ids=["completed", "incomplete"])
async def test_a_call_without_its_end_is_broken(end: bytes) -> None:
    with pytest.raises(ProviderError, match="“find”") as caught:
        await said(BEGUN, end)
    assert caught.value.kind is ErrorKind.BROKEN


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        (event("response.failed", response={"error": {"code": "server_error", "message": "x"}}), ErrorKind.SERVER),
        (event("response.failed", response={"error": {"code": "rate_limit_exceeded"}}), ErrorKind.RATE_LIMIT),
        (event("error", code="insufficient_quota", message="x", param=None), ErrorKind.QUOTA),
        (event("error", error={"code": "rate_limit_exceeded"}), ErrorKind.RATE_LIMIT),
        (TEXT, ErrorKind.BROKEN),
    ],
    ids=["failed", "limited", "quota", "nested", "no end"],
)
async def test_what_fails_midway_has_its_kind(piece: bytes, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await said(TEXT, piece)
    assert caught.value.kind is kind


async def sent_after(thought: Mapping[str, object]) -> list[dict[str, object]]:
    """What goes back to a model that thought this before its call."""
    thinking = event("response.output_item.done", output_index=0, item=thought)
    environ = {"OPENAI_API_KEY": "k"}
    async with (
        answering(thinking, BEGUN, WHOLE, ended()) as url,
        made_with(Role.LLM, "openai_responses", {}, {**environ, "OPENAI_BASE_URL": f"{url}/v1"}) as model,
    ):
        async with aclosing(model.reply((Message("user", "Hi"),))) as items:
            assert CALL in [item async for item in items]
        request = model.request((Message("user", "Hi"), Message("assistant", "", calls=(CALL,))), ())
        return list(request["input"])


async def test_thoughts_come_back_with_the_call() -> None:
    items_sent = await sent_after(THOUGHT)
    assert [item.get("type") for item in items_sent] == [None, "reasoning", "function_call"]
    assert items_sent[1]["encrypted_content"] == "sealed" and "id" not in items_sent[2]


async def test_thoughts_that_are_not_sealed_stay_away() -> None:
    items_sent = await sent_after({**THOUGHT, "encrypted_content": None})
    assert [item.get("type") for item in items_sent] == [None, "function_call"]


def test_tools_are_not_strict() -> None:
    tool = Tool("find", "Finds.", {"type": "object", "properties": {}})
    request = Responses(ResponsesOptions(), Credentials()).request((Message("user", "Hi"),), (tool,))
    assert request["tools"][0] == {
        "type": "function",
        "name": "find",
        "description": "Finds.",
        "parameters": tool.parameters,
        "strict": False,
    }
