"""Calls of tools, as the SDKs of those who defined the two forms read them; what they would refuse is refused."""

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.providers.brain import USE_TOOL, Function, calls_for, reply_with

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ASK = {"role": "user", "content": f"Please {USE_TOOL} twice."}
WANTED = [dict(call.arguments) for call in calls_for(str(ASK["content"]), Function("weather", SCHEMA))]
OPENAI_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ANTHROPIC_TOOL = {"name": "weather", "input_schema": SCHEMA}


async def openai_message(client: openai.AsyncOpenAI, *messages: Any) -> Any:
    async with client.chat.completions.stream(model="m", messages=messages, tools=[OPENAI_TOOL]) as stream:  # type: ignore[list-item]
        return (await stream.get_final_completion()).choices[0]


async def anthropic_message(client: anthropic.AsyncAnthropic, *messages: Any) -> Any:
    async with client.messages.stream(
        model="m",
        max_tokens=99,
        messages=messages,
        tools=[ANTHROPIC_TOOL],  # type: ignore[list-item]
    ) as stream:
        return await stream.get_final_message()


async def test_openais_calls_stream(openai_client: openai.AsyncOpenAI) -> None:
    choice = await openai_message(openai_client, ASK)
    assert choice.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == WANTED


async def test_openais_results_are_answered(openai_client: openai.AsyncOpenAI) -> None:
    asked = (await openai_message(openai_client, ASK)).message
    calls = [
        call.model_dump(include={"id": True, "type": True, "function": {"name", "arguments"}})
        for call in asked.tool_calls
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in calls]
    choice = await openai_message(openai_client, ASK, {"role": "assistant", "tool_calls": calls}, *results)
    assert choice.message.content == reply_with("rain") and choice.finish_reason == "stop"


CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": [CALL]}, ASK],
        [{"role": "tool", "tool_call_id": "call_1", "content": "rain"}],
        [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_2", "content": "rain"}],
        [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "weather", "arguments": {}}}]}],
        [{"role": "assistant", "content": None}],
    ],
)
async def test_openai_refuses_another_order(openai_client: Any, messages: list[Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await openai_client.chat.completions.create(model="m", messages=[ASK, *messages])


async def test_anthropics_calls_stream(anthropic_client: anthropic.AsyncAnthropic) -> None:
    message = await anthropic_message(anthropic_client, ASK)
    assert message.stop_reason == "tool_use"
    assert [block.input for block in message.content] == WANTED


async def test_anthropics_results_are_answered(anthropic_client: anthropic.AsyncAnthropic) -> None:
    uses = [
        {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        for block in (await anthropic_message(anthropic_client, ASK)).content
    ]
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "rain"} for use in uses]
    said = {"role": "assistant", "content": [{"type": "text", "text": "One moment."}, *uses]}
    message = await anthropic_message(anthropic_client, ASK, said, {"role": "user", "content": results})
    assert message.content[0].text == reply_with("rain") and message.stop_reason == "end_turn"


USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
TEXT = {"type": "text", "text": "Well."}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": [USE]}],
        [{"role": "assistant", "content": [USE]}, ASK],
        [{"role": "user", "content": [RESULT]}],
        [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [TEXT, RESULT]}],
        [{"role": "assistant", "content": [{**USE, "input": "{}"}]}, {"role": "user", "content": [RESULT]}],
        [{"role": "assistant", "content": [USE, {"type": "text", "text": ""}]}, {"role": "user", "content": [RESULT]}],
        [{"role": "tool", "content": "rain"}],
    ],
)
async def test_anthropic_refuses_another_order(anthropic_client: Any, messages: list[Any]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        await anthropic_client.messages.create(model="m", max_tokens=9, messages=[ASK, *messages])
