"""Behaviour by request: the n-th, those with a text, from Python and over HTTP, in this process and another."""

import asyncio
import sys
import time
from typing import Any

import aiohttp
import openai
import pytest
from pydantic import ValidationError

from tests.providers.brain import reply_for
from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.found import environment
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault, Steering


async def ask(client: Any, text: str) -> Any:
    answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


def test_the_first_rule_that_applies_decides() -> None:
    steering = Steering()
    special, usual = Behaviour(contains="harbour", first_ms=2), Behaviour(first_ms=1)
    steering.steer(OPENAI_CHAT, special, usual)
    asked = ["The Harbour?", "The station?"]
    assert [steering.choose(OPENAI_CHAT, text) for text in asked] == [special, usual]


def test_only_the_nth_request() -> None:
    steering = Steering()
    steering.steer(OPENAI_CHAT, Behaviour(nth=2, fault=Fault.EMPTY))
    assert [steering.choose(OPENAI_CHAT, "").fault for _ in range(3)] == [None, Fault.EMPTY, None]


def test_steering_anew_counts_anew() -> None:
    steering = Steering()
    for _ in range(2):
        steering.steer(OPENAI_CHAT, Behaviour(nth=1, fault=Fault.EMPTY))
        assert steering.choose(OPENAI_CHAT, "").fault is Fault.EMPTY


@pytest.mark.parametrize("wrong", [{"after": 3}, {"status": 500}, {"fault": "refuse", "after": 1}, {"delay": 1}])
def test_a_rule_without_effect_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Behaviour.model_validate(wrong)


@pytest.mark.parametrize(
    ("route", "behaviour"),
    [
        (OPENAI_CHAT, Behaviour(fault=Fault.SILENCE)),
        (DEEPGRAM_CONNECT, Behaviour(fault=Fault.GARBAGE)),
        (DEEPGRAM_LISTEN, Behaviour(each_ms=1)),
        (OPENAI_SPEECH, Behaviour(fault=Fault.GARBAGE)),
    ],
)
def test_a_rule_must_fit_its_route(route: Route, behaviour: Behaviour) -> None:
    with pytest.raises(ValueError, match=route.name):
        Steering().steer(route, behaviour)


async def test_one_caller_is_refused_another_not(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(contains="unlucky", fault=Fault.REFUSE))
    with pytest.raises(openai.InternalServerError):
        await ask(openai_client, "I am unlucky.")
    assert await ask(openai_client, "I am lucky.") == reply_for("I am lucky.")


async def test_latency_comes_before_the_answer(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(first_ms=150))
    before = time.monotonic()
    await ask(openai_client, "Hello")
    assert time.monotonic() - before >= 0.15


async def test_steered_over_http(standins: StandIns, openai_client: Any) -> None:
    order = {"route": "openai.chat", "behaviours": [{"fault": "refuse", "status": 429}]}
    async with aiohttp.ClientSession(standins.url) as session, session.post("/_steer", json=order) as response:
        assert response.status == 200
    with pytest.raises(openai.RateLimitError):
        await ask(openai_client, "Hello")


@pytest.mark.parametrize("order", [{"route": "openai.singing"}, {"route": "openai.chat", "behaviours": [{"x": 1}]}])
async def test_a_wrong_order_is_told(standins: StandIns, order: dict[str, object]) -> None:
    async with aiohttp.ClientSession(standins.url) as session, session.post("/_steer", json=order) as response:
        assert response.status == 422
        assert "validation error" in await response.text()


async def test_requests_are_told_and_forgotten(standins: StandIns, openai_client: Any) -> None:
    await ask(openai_client, "Hello")
    async with aiohttp.ClientSession(standins.url) as session:
        async with session.get("/_requests", params={"route": "openai.chat"}) as response:
            (recorded,) = await response.json()
        async with session.delete("/_requests"), session.get("/_requests") as response:
            assert await response.json() == []
    assert (recorded["text"], recorded["outcome"]) == ("Hello", "answered")


async def test_a_process_of_its_own() -> None:
    async with (
        StandIns.process(utterances=("Good morning to you.",)) as standins,
        openai.AsyncOpenAI(base_url=standins.env["OPENAI_BASE_URL"], api_key="key", max_retries=0) as client,
    ):
        await standins.steer(OPENAI_CHAT, Behaviour(nth=2, fault=Fault.REFUSE, status=503))
        assert await ask(client, "Hello") == reply_for("Hello")
        with pytest.raises(openai.InternalServerError):
            await ask(client, "Hello")
        assert [one["outcome"] for one in await standins.requests_to(OPENAI_CHAT)] == ["answered", "refused"]


async def test_by_hand_it_prints_the_settings() -> None:
    by_hand = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.providers", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert by_hand.stdout
    async with asyncio.timeout(20):
        lines = [(await by_hand.stdout.readline()).decode() for _ in environment("")]
    by_hand.terminate()
    await by_hand.communicate()
    assert {line.removeprefix("export ").partition("=")[0] for line in lines} == set(environment(""))


def test_replies_are_told_beforehand() -> None:
    assert reply_for("Hello there!") == reply_for("hello  there")
    assert reply_for("Hello there!") != reply_for("Hello you!")
    assert reply_for("A long story, please.").count(".") == 40
