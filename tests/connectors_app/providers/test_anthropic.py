"""Anthropic: how a conversation with calls is told, reasons, counts, and thoughts that come back."""

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from connectors_app.base.connector import Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import CONTINUE, Finished, Message, Said, Tool, ToolCall
from connectors_app.providers.anthropic import AnthropicOptions, Claude
from tests.connectors_app.raw import answering
from tests.connectors_app.turns import made_with

CALL = ToolCall("functions.find:0", "find", {"n": 1})
OTHER = ToolCall("b", "find", {"n": 2})


def asked(*messages: Message) -> list[dict[str, Any]]:
    request = Claude(AnthropicOptions(), Credentials()).request(messages, ())
    found: list[dict[str, Any]] = request["messages"]
    return found


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def begun(index: int, **block: object) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: object) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def ended(index: int) -> bytes:
    return event("content_block_stop", index=index)


def stopped(reason: str) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 7}) + event("message_stop")


START = event("message_start", message={"usage": {"input_tokens": 3, "cache_read_input_tokens": 40}})
USE = begun(1, type="tool_use", id="toolu_1", name="find", input={})
THOUGHT = (
    begun(0, type="thinking", thinking="", signature="")
    + delta(0, "thinking_delta", thinking="Let me ")
    + delta(0, "thinking_delta", thinking="look.")
    + delta(0, "signature_delta", signature="c2ln")
    + ended(0)
)


async def said(*pieces: bytes) -> list[Said]:
    async with (
        answering(*pieces) as url,
        made_with(Role.LLM, "anthropic", {}, {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"}) as model,
    ):
        return await answers(model)


async def answers(model: Claude, messages: Sequence[Message] = (Message("user", "Hi"),)) -> list[Said]:
    async with aclosing(model.reply(messages)) as items:  # type: ignore[type-var]
        return [item async for item in items]


def test_results_stand_together_after_their_calls() -> None:
    messages = asked(
        Message("user", "Compare."),
        Message("assistant", "One moment.", calls=(CALL, OTHER)),
        Message("tool", "one", call=CALL),
        Message("tool", "", call=OTHER),
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert messages[1]["content"][1]["id"] == messages[2]["content"][0]["tool_use_id"] == "functions_find_0"
    assert [block["content"] for block in messages[2]["content"]] == ["one", ""]


def test_a_broken_off_answer_is_never_the_last_message() -> None:
    """The newest models refuse to continue one that is."""
    messages = asked(Message("user", "Hi"), Message("assistant", "Good "))
    assert [message["content"] for message in messages] == ["Hi", "Good ", CONTINUE]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "filtered"),
        ("pause_turn", "pause_turn"),
    ],
)
async def test_every_reason_has_its_name(theirs: str, ours: str) -> None:
    text = begun(0, type="text", text="") + delta(0, "text_delta", text="Yes") + ended(0)
    assert await said(START, event("ping"), text, stopped(theirs)) == ["Yes", Finished(ours, 43, 7)]


FOUND = ToolCall("toolu_1", "find", {"n": 1})
ASKED = (Message("system", "Be kind."), Message("user", "Hi"))
ANSWERED = (Message("assistant", "", calls=(FOUND,)), Message("tool", "x", call=FOUND))


async def after_a_thought(*messages: Message, tools: Sequence[Tool] = ()) -> list[str]:
    """The kinds of the blocks of the call, when it is told again."""
    call = USE + delta(1, "input_json_delta", partial_json='{"n": 1}') + ended(1)
    async with (
        answering(START, THOUGHT, call, stopped("tool_use")) as url,
        made_with(Role.LLM, "anthropic", {}, {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"}) as model,
    ):
        assert await answers(model, ASKED) == ["", FOUND, Finished("tools", 43, 7)]
        told = model.request(messages, tools)["messages"]
    return [block["type"] for block in told[1]["content"]]


async def test_thoughts_come_back_with_the_call() -> None:
    assert await after_a_thought(*ASKED, *ANSWERED) == ["thinking", "tool_use"]


async def test_thoughts_of_an_earlier_turn_are_left_out() -> None:
    messages = (*ASKED, *ANSWERED, Message("assistant", "x."), Message("user", "And?"))
    assert await after_a_thought(*messages) == ["tool_use"]


async def test_thoughts_are_left_out_when_what_was_before_has_changed() -> None:
    """The newest models refuse the whole request."""
    hurry = Message("system", "Be quick.")
    assert await after_a_thought(hurry, ASKED[1], *ANSWERED) == ["tool_use"]
    assert await after_a_thought(ASKED[0], Message("user", "Hi there"), *ANSWERED) == ["tool_use"]
    assert await after_a_thought(*ASKED, *ANSWERED, tools=[Tool("find", "Finds.", {"type": "object"})]) == ["tool_use"]


@pytest.mark.parametrize("arguments", ['{"n": ', "[]"])
async def test_a_call_that_its_limit_cut_is_broken(arguments: str) -> None:
    call = USE + delta(1, "input_json_delta", partial_json=arguments) + ended(1)
    with pytest.raises(ProviderError, match="whole arguments") as caught:
        await said(START, call, stopped("max_tokens"))
    assert caught.value.kind is ErrorKind.BROKEN


async def test_a_call_without_its_end_is_not_passed_on() -> None:
    with pytest.raises(ProviderError) as caught:
        await said(START, USE, delta(1, "input_json_delta", partial_json='{"n": 1}'), stopped("tool_use"))
    assert caught.value.kind is ErrorKind.BROKEN


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("overloaded_error", ErrorKind.SERVER),
        ("rate_limit_error", ErrorKind.RATE_LIMIT),
        ("billing_error", ErrorKind.QUOTA),
    ],
)
async def test_an_error_inside_the_stream_is_told(code: str, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await said(START, event("error", error={"type": code, "message": "no"}))
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "options",
    [
        {"model": "claude-haiku-5-5", "temperature": 0.5},
        {"temperature": 0.5, "top_p": 0.5},
        {"model": "claude-opus-5-5", "thinking": "disabled"},
    ],
    ids=str,
)
async def test_what_a_model_lacks_is_refused(options: dict[str, Any], environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "anthropic", options, environ) as model:
        with pytest.raises(ProviderError) as caught:
            await answers(model)
    assert caught.value.kind is ErrorKind.REQUEST


def test_choices_of_thinking_have_their_places() -> None:
    request = AnthropicOptions(thinking="disabled", effort="low", cache="1h").request()
    assert (request["thinking"], request["output_config"]) == ({"type": "disabled"}, {"effort": "low"})
    assert request["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
