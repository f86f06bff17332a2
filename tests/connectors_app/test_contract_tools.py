"""The contract of every language model with a wire that is given tools: all ask for them alike."""

from collections.abc import Sequence
from contextlib import aclosing

import pytest

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Message, Said, Tool, ToolCall
from tests.connectors_app.cases import on_wire
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import ready
from tests.providers.brain import USE_TOOL, Function, calls_for, reply_for, reply_with
from tests.providers.routes import Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where"},
        "unit": {"type": "string", "enum": ["kelvin", "celsius"]},
        "days": {"type": "integer"},
    },
    "required": ["city"],
}
WEATHER = Tool("get_weather", "The weather of a city.", PARAMETERS)
CLOCK = Tool("get_time", "What time it is.", {"type": "object", "properties": {}})
FUNCTION = Function(WEATHER.name, WEATHER.parameters)


def asking(text: str) -> tuple[Message, ...]:
    return (Message("system", "Be kind."), Message("user", text))


GIVEN_TOOLS = pytest.mark.parametrize("turn", on_wire(Role.LLM), ids=str)
IN_PARTS = pytest.mark.parametrize("turn", [turn for turn in on_wire(Role.LLM) if not turn.whole_calls], ids=str)
BREAKS = [
    (turn, fault)
    for turn in on_wire(Role.LLM)
    for fault in (Fault.CUT, Fault.END, Fault.SHORT)
    if fault is not Fault.SHORT or not turn.whole_calls
]
"""One piece cannot be shorter."""


async def said(
    turn: Turn, environ: dict[str, str], messages: Sequence[Message], tools: Sequence[Tool] = (WEATHER, CLOCK)
) -> list[Said]:
    async with ready(turn, environ) as model, aclosing(model.reply(messages, tools)) as items:
        return [item async for item in items]


def told(items: Sequence[Said]) -> str:
    return "".join(item for item in items if isinstance(item, str))


@GIVEN_TOOLS
async def test_a_wanted_tool_is_called(turn: Turn, environ: dict[str, str]) -> None:
    text = f"Please {USE_TOOL}."
    *items, end = await said(turn, environ, asking(text))
    (call,) = [item for item in items if isinstance(item, ToolCall)]
    assert (call.name, call.arguments) == (WEATHER.name, calls_for(text, FUNCTION)[0].arguments)
    assert call.id and isinstance(end, Finished) and end.reason == "tools" and end.output_tokens


@GIVEN_TOOLS
async def test_two_calls_stay_apart(turn: Turn, environ: dict[str, str]) -> None:
    text = f"Please {USE_TOOL} twice."
    calls = [item for item in await said(turn, environ, asking(text)) if isinstance(item, ToolCall)]
    assert [call.arguments for call in calls] == [call.arguments for call in calls_for(text, FUNCTION)]
    assert len({call.id for call in calls}) == 2


@GIVEN_TOOLS
async def test_a_tool_without_parameters_is_called(turn: Turn, environ: dict[str, str]) -> None:
    items = await said(turn, environ, asking(f"Please {USE_TOOL}."), (CLOCK,))
    (call,) = [item for item in items if isinstance(item, ToolCall)]
    assert (call.name, call.arguments) == (CLOCK.name, {})


@IN_PARTS
async def test_a_call_in_parts_shows_that_it_comes(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.STALL, after=3))
    async with ready(turn, environ) as model, aclosing(model.reply(asking(f"Please {USE_TOOL}."), (WEATHER,))) as items:
        assert await anext(items) == ""


@GIVEN_TOOLS
async def test_tools_that_nobody_wants_are_not_called(turn: Turn, environ: dict[str, str]) -> None:
    *items, end = await said(turn, environ, asking(QUESTION))
    assert told(items) == reply_for(QUESTION)
    assert isinstance(end, Finished) and end.reason == "stop"


@GIVEN_TOOLS
async def test_a_tools_result_is_answered(turn: Turn, environ: dict[str, str]) -> None:
    """The stand-in refuses a call and a result that are not in the provider's form, or not in its order."""
    call = ToolCall("call_a1", WEATHER.name, {"city": "Łódź", "days": 1})
    asked = (*asking(f"Please {USE_TOOL}."), Message("assistant", "", calls=(call,)))
    *items, end = await said(turn, environ, (*asked, Message("tool", '{"sky": "blue"}', call=call)))
    assert told(items) == reply_with('{"sky": "blue"}')
    assert isinstance(end, Finished) and end.reason == "stop"


@GIVEN_TOOLS
async def test_two_results_are_answered(turn: Turn, environ: dict[str, str]) -> None:
    """After words of the assistant, and with the conversation going on."""
    calls = tuple(ToolCall(f"call_a{n}", WEATHER.name, {"city": city}) for n, city in enumerate(("Rome", "Oslo")))
    results = [Message("tool", f"sunny in {call.arguments['city']}", call=call) for call in calls]
    before = (*asking("Compare them."), Message("assistant", "One moment.", calls=calls), *results)
    assert told(await said(turn, environ, before)) == reply_with("sunny in Oslo")
    after = (*before, Message("assistant", "Both are sunny."), Message("user", QUESTION))
    assert told(await said(turn, environ, after)) == reply_for(QUESTION)


@pytest.mark.parametrize(("turn", "fault"), BREAKS, ids=str)
async def test_a_call_without_its_end_is_broken(
    turn: Turn, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=fault, after=0 if turn.whole_calls else 3))
    items: list[Said] = []
    async with ready(turn, environ) as model:
        with pytest.raises(ProviderError) as caught:
            async for item in model.reply(asking(f"Please {USE_TOOL}."), (WEATHER,)):
                items.append(item)
    assert caught.value.kind is ErrorKind.BROKEN and not any(items)
