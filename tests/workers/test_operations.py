"""The three pages of a service, with the checks behind them."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.pool import Pool
from connectors_app.providers import anthropic, openai
from mesh.bus.counters import Counters
from tests.providers.anthropic import ANTHROPIC_MODELS
from tests.providers.backstage import Outcome
from tests.providers.openai import OPENAI_MODELS
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from workers import operations
from workers.metrics import Metrics
from workers.operations import Check, ProviderHealth

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def service(checks: Iterable[Check] = (), metrics: Metrics | None = None) -> AsyncIterator[Client]:
    async def answer() -> list[Check]:
        return list(checks)

    app = web.Application()
    app.add_routes(operations.routes("llm-service", metrics or Metrics(), answer))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
def two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation whose only language models need keys."""
    monkeypatch.setattr(registry, "_connectors", lambda: registry.collect(iter([openai, anthropic])))


async def asked(environ: dict[str, str]) -> list[Check]:
    """The checks of the language models after each was asked."""
    pool = Pool(environ)
    health = ProviderHealth(Role.LLM, pool)
    for slug in health.configured:
        await health._ask(slug)
    await pool.close()
    return health.checks()


# -- pages -----------------------------------------------------------------------------------------------


@pytest.mark.accepts("M83")
async def test_ready_is_503_while_a_check_is_unhealthy() -> None:
    checks = Check("nats", "unhealthy", "set NATS_URL"), Check("provider_openai", "unconfigured")
    async with service(checks) as client, client.get("/ready") as response:
        assert response.status == 503
        assert await response.json() == {
            "status": "not_ready",
            "service": "llm-service",
            "checks": [
                {"name": "nats", "status": "unhealthy", "message": "set NATS_URL"},
                {"name": "provider_openai", "status": "unconfigured", "message": ""},
            ],
        }


async def test_ready_is_200_without_unhealthy_checks() -> None:
    checks = Check("nats", "healthy"), Check("provider_openai", "unconfigured"), Check("provider_x", "degraded")
    async with service(checks) as client, client.get("/ready") as response:
        assert (response.status, (await response.json())["status"]) == (200, "ready")


@pytest.mark.accepts("M82")
async def test_health_asks_nobody() -> None:
    async with service([Check("nats", "unhealthy")]) as client, client.get("/health") as response:
        assert (response.status, (await response.json())["status"]) == (200, "healthy")


@pytest.mark.accepts("M84")
async def test_metrics_show_the_counters_of_the_bus() -> None:
    metrics, counters = Metrics(), Counters()
    metrics.watch(counters)
    counters.published = 7
    metrics.provider_failures.labels("openai", "timeout").inc()
    async with service(metrics=metrics) as client, client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert families["meshag_bus_published"].samples[0].value == 7
    sample = families["meshag_provider_failures"].samples[0]
    assert (sample.labels, sample.value) == ({"provider": "openai", "kind": "timeout"}, 1)


# -- providers -------------------------------------------------------------------------------------------


@pytest.mark.accepts("M83", "M88")
async def test_without_any_key_the_failing_check_names_the_settings(two_models: None) -> None:
    first, *others = await asked({})
    assert (first.name, first.status) == ("providers", "unhealthy")
    assert first.message == "no llm provider can be used; set one of ANTHROPIC_API_KEY, OPENAI_API_KEY"
    assert {check.status for check in others} == {"unconfigured"}


@pytest.mark.accepts("M83")
async def test_a_provider_that_answers_is_healthy(two_models: None) -> None:
    async with StandIns() as standins:
        checks = await asked({**standins.env, "ANTHROPIC_API_KEY": ""})
    assert checks == [
        Check(
            "provider_anthropic",
            "unconfigured",
            "set ANTHROPIC_API_KEY; not needed where a workspace has a credential of its own",
        ),
        Check("provider_openai", "healthy"),
    ]


async def test_one_usable_provider_is_enough(two_models: None) -> None:
    async with StandIns() as standins:
        checks = {check.name: check for check in await asked({**standins.env, "OPENAI_API_KEY": "revoked"})}
    assert checks["provider_anthropic"].status == "healthy"
    assert checks["provider_openai"].status == "degraded" and "OPENAI_API_KEY" in checks["provider_openai"].message


@pytest.mark.accepts("M83")
async def test_when_every_key_is_refused_nothing_is_ready(two_models: None) -> None:
    async with StandIns() as standins:
        keys = {"OPENAI_API_KEY": "revoked", "ANTHROPIC_API_KEY": "revoked"}
        first, *others = await asked({**standins.env, **keys})
    assert first == Check("providers", "unhealthy", "no llm provider can be used; each says why")
    assert [check.status for check in others] == ["unhealthy", "unhealthy"]


async def test_a_provider_that_recovers_is_healthy_again(two_models: None) -> None:
    async with StandIns() as standins:
        health = ProviderHealth(Role.LLM, pool := Pool({**standins.env, "ANTHROPIC_API_KEY": ""}))
        standins.steer(OPENAI_MODELS, Behaviour(fault=Fault.REFUSE, nth=1))
        await health._ask("openai")
        assert health.checks()[0].status == "unhealthy"
        await health._ask("openai")
        assert {check.name: check.status for check in health.checks()}["provider_openai"] == "healthy"
        await pool.close()


async def test_a_silent_provider_is_given_up(two_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "CHECK_SECONDS", 0.05)
    async with StandIns() as standins:
        standins.steer(OPENAI_MODELS, Behaviour(fault=Fault.NEVER))
        checks = {check.name: check for check in await asked({**standins.env, "ANTHROPIC_API_KEY": ""})}
    assert checks["provider_openai"] == Check("provider_openai", "unhealthy", "did not answer within 0.05 s")


async def test_a_broken_file_is_told_and_makes_nothing_unready(
    two_models: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_broken", {"half.py": "SyntaxError in line 1"})
    async with StandIns() as standins:
        checks = await asked(standins.env)
    assert checks[-1] == Check("file_half.py", "degraded", "cannot be used: SyntaxError in line 1")
    assert "unhealthy" not in {check.status for check in checks}


async def test_an_outage_is_told_and_makes_nothing_unready() -> None:
    pool = Pool({"OPENAI_API_KEY": "k"})
    chain = pool.models(["openai"], {})
    error = ProviderError(ErrorKind.AUTH, "OpenAI does not accept the key in OPENAI_API_KEY")
    pool.breaker(chain.connectors[0]).failed(error, time.monotonic(), started=time.monotonic())
    (outage,) = [check for check in ProviderHealth(Role.LLM, pool).checks() if check.name == "outage_openai"]
    assert outage.status == "degraded"
    assert re.fullmatch(r"OpenAI \S+: out since \d\d:\d\d:\d\d UTC; OpenAI does not accept .*", outage.message)
    await pool.close()


async def test_a_refused_key_is_told_and_not_checked() -> None:
    pool = Pool({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:1"})
    chain, health = pool.models(["openai"], {}), ProviderHealth(Role.LLM, pool)
    error = ProviderError(ErrorKind.AUTH, "OpenAI does not accept the key in OPENAI_API_KEY")
    pool.breaker(chain.connectors[0]).failed(error, time.monotonic(), started=time.monotonic())
    await health._ask("openai")
    assert Check("provider_openai", "degraded", error.message) in health.checks()
    await pool.close()


async def test_a_refused_key_is_seldom_checked(two_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "CHECK_EVERY", 0.01)
    async with StandIns() as stand_ins:
        stand_ins.steer(OPENAI_MODELS, Behaviour(fault=Fault.REFUSE, status=401))
        pool = Pool(stand_ins.env)
        asking = asyncio.create_task(ProviderHealth(Role.LLM, pool).keep_asking())
        await stand_ins.ended(ANTHROPIC_MODELS, Outcome.ANSWERED, count=4, seconds=30)
        asking.cancel()
        await asyncio.wait([asking])
        assert len(stand_ins.requests_to(OPENAI_MODELS)) == 1
        await pool.close()


async def test_a_provider_that_wants_silence_is_not_checked() -> None:
    async with StandIns() as stand_ins:
        pool = Pool(stand_ins.env)
        chain = pool.models(["openai"], {})
        error = ProviderError(ErrorKind.RATE_LIMIT, "OpenAI asks for fewer requests", retry_after=30)
        pool.breaker(chain.connectors[0]).failed(error, time.monotonic(), started=time.monotonic())
        await ProviderHealth(Role.LLM, pool)._ask("openai")
        assert not stand_ins.requests_to(OPENAI_MODELS)
        await pool.close()
