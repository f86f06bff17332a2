"""Connections of language models: one that has served a turn serves the next one, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from connectors_app import asking
from connectors_app.answering import answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.language_model import LanguageModel, Message
from connectors_app.pool import Chain, Pool
from tests.connectors_app.cases import on_wire
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.fakes import Told
from tests.providers.openai import OPENAI_CHAT
from tests.providers.routes import Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour

MODELS = pytest.mark.parametrize("turn", on_wire(Role.LLM), ids=str)


@asynccontextmanager
async def chain_of(turn: Turn, environ: dict[str, str]) -> AsyncIterator[tuple[Pool, Chain[LanguageModel]]]:
    pool = Pool(environ)
    chain = pool.models([turn.slug], {turn.slug: dict(turn.options)})
    await chain.connectors[0].warm()
    yield pool, chain
    await chain.close()
    await pool.close()


async def ask(chain: Chain[LanguageModel], *, is_interrupted: bool = False) -> None:
    """For a whole reply, or its first word."""
    told = Told()
    async with aclosing(answer(chain, [Message("user", QUESTION)], Deadlines(), told)) as said:
        async for _ in said:
            if is_interrupted:
                return
    assert not told.failures
    await asyncio.gather(*asking._readings)


@MODELS
async def test_a_turns_connection_serves_the_next(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    async with chain_of(turn, environ) as (_, chain):
        await ask(chain)
        known = {request.client for request in stand_ins.requests}
        await ask(chain)
        await ask(chain)
    assert {request.client for request in stand_ins.requests_to(turn.answered)} <= known


async def test_a_response_may_end_after_its_reply(environ: dict[str, str], stand_ins: StandIns) -> None:
    """The token counts, which complete the reply, come in other packets than what follows them."""
    turn = Turn(Role.LLM, "openai", OPENAI_CHAT, options={"max_tokens": 3})
    stand_ins.steer(turn.answered, Behaviour(bytes=10, each_ms=1))
    async with chain_of(turn, environ) as (_, chain):
        for _ in range(3):
            await ask(chain)
    assert len({request.client for request in stand_ins.requests}) == 1


@MODELS
async def test_an_interrupted_turn_leaves_a_connection(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(turn.answered, Behaviour(each_ms=50))
    async with chain_of(turn, environ) as (pool, chain):
        await ask(chain, is_interrupted=True)
        await asyncio.gather(*pool._warming)
        ready = stand_ins.requests[-1]
        await ask(chain, is_interrupted=True)
    assert ready.route != turn.answered and stand_ins.requests_to(turn.answered)[-1].client == ready.client
