"""Which connectors a process has, who shares them, and which cannot be asked."""

import asyncio
import time
from contextlib import aclosing

import pytest

from connectors_app.answering import answer
from connectors_app.asking import Deadlines
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Message
from connectors_app.pool import Pool
from tests.connectors_app.fakes import Told
from tests.providers.anthropic import ANTHROPIC_MODELS
from tests.providers.backstage import Outcome
from tests.providers.openai import OPENAI_MODELS
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault


async def test_sessions_share_connectors_with_equal_options() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chains = [pool.models(["openai"], {"openai": {"temperature": t}}) for t in (0.1, 0.1, 0.2)]
    first, same, other = (chain.connectors[0] for chain in chains)
    assert first is same and first is not other
    await pool.close()


async def test_an_idle_connector_is_kept_for_the_next() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chain = pool.models(["openai"], {})
    before = chain.connectors[0]
    await chain.close()
    assert pool.models(["openai"], {}).connectors[0] is before


async def test_too_many_idle_connectors_are_closed() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    pool.KEPT_IDLE = 2
    for n in range(5):
        await pool.models(["openai"], {"openai": {"seed": n}}).close()
    assert len(pool._connectors) == 2


async def test_providers_without_keys_are_skipped() -> None:
    chain = Pool({"ANTHROPIC_API_KEY": "k"}).models(["openai", "anthropic", "nobody"], {})
    assert [connector.slug for connector in chain.connectors] == ["anthropic"]
    assert [(a.provider, a.error.kind) for a in chain.skipped] == [
        ("openai", ErrorKind.UNCONFIGURED),
        ("nobody", ErrorKind.UNCONFIGURED),
    ]
    why = "OpenAI has no key: the workspace has no credential for it in use, and OPENAI_API_KEY is not set"
    assert chain.skipped[0].error.message == why


async def test_a_primary_that_has_no_key_is_told_once() -> None:
    """Who goes on in its place stands for the whole session, so nothing else would show it."""
    pool, told = Pool({}), Told()
    chain = pool.models(["openai", "script", "anthropic"], {})
    for _ in range(2):
        async with aclosing(answer(chain, [Message("user", "Hello.")], Deadlines(), told)) as items:
            assert [item async for item in items]
    assert told.failures == [("openai", ErrorKind.UNCONFIGURED)] and told.switches == [("openai", "script")]
    await pool.close()


async def test_options_it_cannot_take_skip_a_provider() -> None:
    chain = Pool({"OPENAI_API_KEY": "k"}).models(["openai"], {"openai": {"temperature": 9}})
    assert chain.skipped[0].error.kind is ErrorKind.REQUEST and "temperature" in chain.skipped[0].error.message


async def test_lines_of_live_sessions_are_kept_warm(stand_ins: StandIns, environ: dict[str, str]) -> None:
    pool = Pool(environ)
    pool.WARM_EVERY = 0.01
    used = [pool.models(["openai"], {"openai": {"seed": seed}}) for seed in (1, 2)]
    await pool.models(["anthropic"], {}).close()
    warming = asyncio.create_task(pool.keep_warm())
    await stand_ins.ended(OPENAI_MODELS, Outcome.ANSWERED, count=3, seconds=30)
    await used[0].close()
    await used[1].close()
    warming.cancel()
    await asyncio.wait([warming])
    assert not stand_ins.requests_to(ANTHROPIC_MODELS)
    await pool.close()


async def test_a_dead_line_stops_no_other_one(stand_ins: StandIns, environ: dict[str, str]) -> None:
    stand_ins.steer(OPENAI_MODELS, Behaviour(fault=Fault.REFUSE, status=500))
    pool = Pool(environ)
    pool.WARM_EVERY = 0.01
    chain = pool.models(["openai", "anthropic"], {})
    warming = asyncio.create_task(pool.keep_warm())
    await stand_ins.ended(ANTHROPIC_MODELS, Outcome.ANSWERED, count=3, seconds=30)
    warming.cancel()
    await asyncio.wait([warming])
    await chain.close()
    await pool.close()


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMIT, ErrorKind.AUTH, ErrorKind.QUOTA])
async def test_who_wants_no_questions_is_left_alone(
    kind: ErrorKind, stand_ins: StandIns, environ: dict[str, str]
) -> None:
    pool = Pool(environ)
    chain = pool.models(["openai"], {})
    error = ProviderError(kind, "fewer requests", retry_after=30)
    chain.failed(chain.connectors[0], error, time.monotonic(), Told())
    await pool._use_line(chain.connectors[0])
    assert not stand_ins.requests
    await chain.close()
    await pool.close()


async def test_a_refused_model_takes_out_no_other() -> None:
    """A plan may lack it, and the key be right."""
    pool = Pool({"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})
    names = ["openai", "anthropic"]
    refused, other, same = (pool.models(names, {"openai": {"model": m}}) for m in ("gpt-4o", "gpt-4o-mini", "gpt-4o"))
    error = ProviderError(ErrorKind.AUTH, "OpenAI does not allow this", status=403)
    refused.failed(refused.connectors[0], error, time.monotonic(), Told())
    assert [chain.order()[0].slug for chain in (refused, other, same)] == ["anthropic", "openai", "anthropic"]
    await pool.close()


@pytest.mark.parametrize("slug", ["openai", "anthropic"])
async def test_a_turn_after_a_pause_has_its_line(slug: str, stand_ins: StandIns, environ: dict[str, str]) -> None:
    """One connection for the warming, the keeping warm and the turn."""
    pool = Pool(environ)
    chain = pool.models([slug], {})
    await chain.connectors[0].warm()
    await pool._use_line(chain.connectors[0])
    async with aclosing(answer(chain, [Message("user", "Hello?")], Deadlines(), Told())) as pieces:
        assert [piece async for piece in pieces]
    assert len({request.client for request in stand_ins.requests}) == 1
    await chain.close()
    await pool.close()
