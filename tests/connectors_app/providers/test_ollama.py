"""Ollama: models that were not pulled, cannot be given tools or are still on the disk; and its lines."""

import asyncio
import json
from contextlib import aclosing

import pytest
from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Message, Said, Tool, ToolCall
from connectors_app.providers.ollama import OllamaOptions
from tests.connectors_app.raw import answering
from tests.connectors_app.turns import made_with, reply_of
from tests.providers.backstage import Outcome
from tests.providers.ollama import OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_SHOW, OLLAMA_TAGS
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

TOOL = Tool("find", "Finds.", {"type": "object", "properties": {"n": {"type": "integer"}}})


def line(content: str = "", **fields: object) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": content}, "done": False, **fields}).encode() + b"\n"


DONE = line(done=True, done_reason="stop", prompt_eval_count=3, eval_count=7)


async def said(*pieces: bytes) -> list[Said]:
    async with answering(*pieces) as url, made_with(Role.LLM, "ollama", {}, {"OLLAMA_BASE_URL": url}) as model:
        return await reply_of(model)


def test_an_address_is_all_it_needs() -> None:
    assert registry.missing(Role.LLM, {})["ollama"] == ("OLLAMA_BASE_URL",)
    assert "ollama" in registry.usable(Role.LLM, {"OLLAMA_BASE_URL": "http://localhost:11434"})


async def test_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"temperature": 0.2, "top_p": 0.5, "num_ctx": 8192, "num_predict": 50, "stop": ["END"]}
    async with made_with(Role.LLM, "ollama", {**options, "keep_alive": "-1", "think": "off"}, environ) as model:
        await reply_of(model)
    (request,) = stand_ins.requests_to(OLLAMA_CHAT)
    assert request.body["options"] == options and "authorization" not in request.headers
    assert (request.body["model"], request.body["keep_alive"], request.body["think"]) == ("llama3.2", -1, False)


async def test_a_key_is_for_gateways(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.LLM, "ollama", {}, {**environ, "OLLAMA_API_KEY": "k"}) as model:
        await model.check()
    assert stand_ins.requests_to(OLLAMA_TAGS)[0].headers["authorization"] == "Bearer k"


async def test_a_model_that_nobody_chose_need_not_be_there(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.LLM, "ollama", {}, environ) as model:
        await model.check()
    assert stand_ins.requests_to(OLLAMA_TAGS) and not stand_ins.requests_to(OLLAMA_SHOW)


async def test_a_missing_models_command_is_told(environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "ollama", {"model": "vicuna:7b"}, environ) as model:
        for ask in (model.check, model.warm, lambda: reply_of(model)):
            with pytest.raises(ProviderError, match="ollama pull vicuna:7b") as caught:
                await ask()
            assert caught.value.kind is ErrorKind.REQUEST


async def test_a_model_without_tools_is_named(environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "ollama", {"model": "llama2"}, environ) as model:
        with pytest.raises(ProviderError, match="“llama2” cannot be given tools"):
            async with aclosing(model.reply((Message("user", "Hi"),), (TOOL,))) as items:
                assert not [item async for item in items]


async def test_a_model_that_does_not_think_is_named(environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "ollama", {"think": "low"}, environ) as model:
        with pytest.raises(ProviderError, match="“llama3.2” does not think"):
            await reply_of(model)


async def test_models_that_think_do_not_unless_told(environ: dict[str, str], stand_ins: StandIns) -> None:
    """They would otherwise, and be silent for so long."""
    async with made_with(Role.LLM, "ollama", {"model": "qwen3"}, environ) as model:
        await reply_of(model)
    assert stand_ins.requests_to(OLLAMA_CHAT)[0].body["think"] is False


async def test_another_address_is_no_missing_model(environ: dict[str, str]) -> None:
    async with (
        answering(b"404 page not found", status=404) as url,
        made_with(Role.LLM, "ollama", {}, {"OLLAMA_BASE_URL": f"{url}/v1"}) as model,
    ):
        with pytest.raises(ProviderError, match="without /v1"):
            await reply_of(model)


@pytest.mark.parametrize("keep_alive", ["0", "0s", "0h0m"])
async def test_a_model_that_is_not_kept_is_not_loaded_before(
    keep_alive: str, environ: dict[str, str], stand_ins: StandIns
) -> None:
    """The same request would throw it out of memory."""
    async with made_with(Role.LLM, "ollama", {"keep_alive": keep_alive}, environ) as model:
        await model.warm()
        await reply_of(model)
    assert not stand_ins.requests_to(OLLAMA_GENERATE)


async def test_warming_loads_as_it_will_be_asked(environ: dict[str, str], stand_ins: StandIns) -> None:
    """Other options would load it again."""
    async with made_with(Role.LLM, "ollama", {"num_ctx": 8192}, environ) as model:
        await model.warm()
        loaded = await stand_ins.ended(OLLAMA_GENERATE, Outcome.ANSWERED)
        await reply_of(model)
    (asked,) = stand_ins.requests_to(OLLAMA_CHAT)
    assert all(loaded.body[name] == asked.body[name] for name in ("model", "options", "keep_alive"))


async def test_nobody_waits_for_a_large_model(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(OLLAMA_GENERATE, Behaviour(fault=Fault.NEVER))
    async with made_with(Role.LLM, "ollama", {}, environ) as model:
        async with asyncio.timeout(5):
            await model.warm()
            await model.warm()
    assert len(stand_ins.requests_to(OLLAMA_GENERATE)) <= 1


async def test_a_model_that_came_too_late_is_loaded_for_the_next_turn(
    environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(OLLAMA_CHAT, Behaviour(fault=Fault.NEVER))
    async with made_with(Role.LLM, "ollama", {"model": "mistral"}, environ) as model:
        asking = asyncio.create_task(reply_of(model))
        await stand_ins.ended(OLLAMA_CHAT, Outcome.OPEN)
        asking.cancel()
        await asyncio.wait([asking])
        loaded = await stand_ins.ended(OLLAMA_GENERATE, Outcome.ANSWERED)
    assert loaded.body["model"] == "mistral"


async def test_a_loaded_model_is_not_loaded_again(environ: dict[str, str], stand_ins: StandIns) -> None:
    hello = (Message("user", "Hi"),)
    async with made_with(Role.LLM, "ollama", {}, environ) as model, aclosing(model.reply(hello)) as items:
        assert await anext(items)
    assert not stand_ins.requests_to(OLLAMA_GENERATE)


async def test_calls_come_whole() -> None:
    calls = [{"function": {"name": "find", "arguments": {"n": n}}} for n in (1, 2)]
    first, second, end = await said(line(message={"content": "", "tool_calls": calls}), DONE)
    assert isinstance(first, ToolCall) and isinstance(second, ToolCall) and first.id != second.id
    assert (first.arguments, second.arguments, end) == ({"n": 1}, {"n": 2}, Finished("tools", 3, 7))


async def test_lines_may_come_in_any_pieces() -> None:
    whole = line("Yes") + b"\n" + DONE
    assert await said(whole[:5], whole[5:70], whole[70:]) == ["Yes", Finished("stop", 3, 7)]


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ((line("Yes"),), ErrorKind.BROKEN),
        ((line("Yes"), DONE.rstrip()[:-1]), ErrorKind.BROKEN),
        ((line("Yes"), b'{"mess\n'), ErrorKind.BROKEN),
        ((line("Yes"), b'{"error": "an error was encountered while running the model"}\n'), ErrorKind.SERVER),
    ],
    ids=["no end", "cut line", "garbage", "error"],
)
async def test_what_fails_midway_has_its_kind(pieces: tuple[bytes, ...], kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await said(*pieces)
    assert caught.value.kind is kind and "encountered" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"model": "a b"}, {"keep_alive": "5"}, {"keep_alive": "long"}, {"num_ctx": 1}], ids=str
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OllamaOptions.model_validate(options)
