"""How a streamed answer may end: servers that speak OpenAI's API differ after the last token."""

import json

import pytest

from connectors_app import openai_chat
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Said, ToolCall
from tests.connectors_app.raw import answering
from tests.connectors_app.turns import made, reply_of

TOKEN = b'data: {"choices":[{"delta":{"content":"Yes"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"overloaded","code":"rate_limit_exceeded"}}\n\n'


def custom(url: str) -> dict[str, str]:
    return {"CUSTOM_BASE_URL": f"{url}/v1"}


@pytest.mark.parametrize(
    "ending",
    [(FINISH, USAGE, DONE), (FINISH, DONE), (FINISH,), (DONE,), (FINISH, b"data: {garbage\n\n")],
    ids=["usual", "no usage", "no done", "no reason", "garbage"],
)
@pytest.mark.parametrize("abort", [False, True], ids=["clean", "cut"])
async def test_an_end_mark_completes_the_answer(ending: tuple[bytes, ...], abort: bool) -> None:
    async with answering(TOKEN, *ending, abort=abort) as url, made(Role.LLM, "custom", custom(url)) as model:
        *texts, end = await reply_of(model)
    assert texts == ["Yes"] and isinstance(end, Finished) and end.reason == "stop"
    assert end.input_tokens == (3 if USAGE in ending else 0)


@pytest.mark.parametrize("abort", [False, True], ids=["clean", "cut"])
async def test_no_end_mark_is_a_break(abort: bool) -> None:
    async with answering(TOKEN, abort=abort) as url, made(Role.LLM, "custom", custom(url)) as model:
        with pytest.raises(ProviderError) as caught:
            await reply_of(model)
    assert caught.value.kind is ErrorKind.BROKEN


async def test_an_error_inside_the_stream_is_told() -> None:
    async with answering(ERROR) as url, made(Role.LLM, "custom", custom(url)) as model:
        with pytest.raises(ProviderError) as caught:
            await reply_of(model)
    assert caught.value.kind is ErrorKind.RATE_LIMIT


async def test_token_counts_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_chat, "AFTERMATH_SECONDS", 0.0)
    async with answering(TOKEN, FINISH, USAGE, DONE) as url, made(Role.LLM, "custom", custom(url)) as model:
        *_, end = await reply_of(model)
    assert isinstance(end, Finished) and end.reason == "stop"


# -- what compatible servers send beside the documented --------------------------------------------------


def event(delta: object = None, finish: str | None = None, **more: object) -> bytes:
    choices = [] if delta is None and finish is None else [{"delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


async def said(*pieces: bytes) -> list[Said]:
    async with answering(*pieces) as url, made(Role.LLM, "custom", custom(url)) as model:
        return await reply_of(model)


async def test_comments_and_empty_events_are_passed_over() -> None:
    filters = event(prompt_filter_results=[{"prompt_index": 0}])
    nothing = b'data: {"choices": null, "usage": null}\n\n'
    pieces = (b": PROCESSING\n\n", b"event: ping\n\n", filters, nothing, event({"role": "assistant", "content": None}))
    assert await said(*pieces, TOKEN, event(None, "stop")) == ["Yes", Finished("stop")]


async def test_a_refusal_is_said_and_counts_as_filtered() -> None:
    pieces = (event({"refusal": "I can't "}), event({"refusal": "do that."}), event({}, "stop"), DONE)
    assert await said(*pieces) == ["I can't ", "do that.", Finished("filtered")]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("length", "length"), ("content_filter", "filtered"), ("function_call", "tools"), ("abort", "abort")],
)
async def test_every_reason_has_its_name(theirs: str, ours: str) -> None:
    assert await said(TOKEN, event({}, theirs), DONE) == ["Yes", Finished(ours)]


async def test_an_answer_with_calls_that_just_stops_wants_tools() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    items = await said(event({"tool_calls": [call]}), event({}, "stop"), USAGE, DONE)
    assert items == ["", ToolCall("a", "find", {"n": 1}), Finished("tools", 3, 1)]


async def test_calls_of_a_filtered_answer_are_dropped() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "find", "arguments": '{"n":'}}
    assert await said(event({"tool_calls": [call]}), event({}, "content_filter"), DONE) == ["", Finished("filtered")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow down"}, ErrorKind.RATE_LIMIT),
        ({"code": 502, "message": "no upstream"}, ErrorKind.SERVER),
        ({"code": 400, "type": "BadRequestError"}, ErrorKind.REQUEST),
        ({"type": "insufficient_quota", "code": "insufficient_quota"}, ErrorKind.QUOTA),
        ("something went wrong", ErrorKind.SERVER),
    ],
)
async def test_an_errors_status_may_stand_in_the_stream(error: object, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await said(TOKEN, b"data: " + json.dumps({"error": error}).encode() + b"\n\n")
    assert caught.value.kind is kind and "wrong" not in str(caught.value)
