"""Providers that are out, for several workers on one real NATS: who hears of it, who probes, who is back when."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import LanguageModel
from connectors_app.breaker import Breaker, Breakers, Rules, Target
from connectors_app.pool import Chain, Pool
from mesh import bucket as bucket_module
from mesh.bus.client import Bus
from tests.connectors_app.fakes import ScriptedModel, Told, failing
from tests.servers import running_nats
from workers.metrics import Metrics
from workers.outages import Outages, shared_breakers

pytestmark = pytest.mark.nats
PATIENT = Rules(rest=60)
"""Nobody probes while the test lasts."""
SWIFT = Rules(rest=0.1, between_probes=0.6, probe=0.2)


@dataclass
class Provider:
    """What stands behind all workers' connectors."""

    slug: str = field(default_factory=lambda: f"p{uuid4().hex}")
    fault: ProviderError | None = None
    hangs: bool = False
    began: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def probe(self) -> None:
        self.began.append(time.monotonic())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        if self.fault:
            raise self.fault


class Patient(ScriptedModel):
    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.slug)
        self._provider = provider

    async def probe(self) -> None:
        await self._provider.probe()


class Worker:
    """A worker's pool and its watch. `use`: a session here has the provider as its first of two."""

    def __init__(self, bus: Bus, rules: Rules) -> None:
        self.bus = bus
        self.name = uuid4().hex
        self.pool = Pool({}, breakers=Breakers(rules))
        self.metrics = Metrics()
        self.told = Told()
        bucket = shared_breakers(bus, rules)
        self.outages = Outages(role=Role.LLM, worker=self.name, pool=self.pool, bucket=bucket, metrics=self.metrics)
        self.task = asyncio.create_task(self.outages.run())

    def use(self, provider: Provider) -> Chain[LanguageModel]:
        first, second = Patient(provider), ScriptedModel(f"{provider.slug}-second")
        chain = Chain[LanguageModel](self.pool, [first, second], [])
        self.pool._users |= {first: 1, second: 1}
        return chain

    def breaker(self, provider: Provider) -> Breaker | None:
        return next((breaker for breaker in self.pool.breakers if breaker.target.provider == provider.slug), None)

    def is_out(self, provider: Provider) -> bool:
        return any(breaker.target.provider == provider.slug for breaker in self.pool.breakers.out())

    def fail(self, chain: Chain[LanguageModel], kind: ErrorKind = ErrorKind.AUTH, **facts: float) -> None:
        chain.failed(chain.connectors[0], failing(kind, **facts), time.monotonic(), self.told)

    def count(self, name: str, provider: Provider, **labels: str) -> float:
        facts = {"role": "llm", "provider": provider.slug, **labels}
        return self.metrics.registry.get_sample_value(name, facts) or 0.0

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # the breakers of several workers
            await asyncio.sleep(0.002)


@asynccontextmanager
async def working(url: str, count: int, rules: Rules) -> AsyncIterator[list[Worker]]:
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(await Bus.connect(url, "test")) for _ in range(count)]
        workers = [Worker(bus, rules) for bus in buses]
        try:
            yield workers
        finally:
            for worker in workers:
                await worker.stop()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "LOOK_EVERY", 0.1)


@pytest.fixture
def provider() -> Provider:
    return Provider()


# -- who hears of it -------------------------------------------------------------------------------------


async def test_others_hear_within_a_fifth_of_a_second(nats_url: str) -> None:
    took = []
    async with working(nats_url, 2, PATIENT) as (one, other):
        for provider in [Provider() for _ in range(5)]:
            one.fail(one.use(provider))
            began = time.monotonic()
            await until(lambda provider=provider: other.is_out(provider))  # type: ignore[misc]
            took.append(time.monotonic() - began)
    assert min(took) < 0.2


async def test_every_session_of_every_worker_asks_it_last(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, PATIENT) as (one, other):
        chains = [one.use(provider), other.use(provider)]
        one.fail(chains[0])
        assert [c.slug for c in chains[0].order()] == [f"{provider.slug}-second", provider.slug]
        await until(lambda: other.is_out(provider))
        assert [c.slug for c in chains[1].order()] == [f"{provider.slug}-second", provider.slug]


async def test_who_comes_later_hears_of_it(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, PATIENT) as (one, other):
        one.fail(one.use(provider), ErrorKind.SERVER)
        one.fail(one.use(provider), ErrorKind.SERVER)
        one.fail(one.use(provider), ErrorKind.SERVER)
        await until(lambda: other.is_out(provider))
        async with working(nats_url, 1, PATIENT) as (late,):
            await until(lambda: late.is_out(provider))
            breaker = late.breaker(provider)
            assert breaker and (breaker.kind, breaker.detail) == ("server", "it is server")


async def test_two_that_find_out_at_once_agree(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, PATIENT) as (one, other):
        for worker in (one, other):
            worker.fail(worker.use(provider))
        found = [worker.breaker(provider) for worker in (one, other)]
        await until(lambda: all(breaker and not breaker.is_news for breaker in found))
        assert one.is_out(provider) and other.is_out(provider)


async def test_a_good_turn_closes_it_for_all(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, PATIENT) as (one, other):
        chain = one.use(provider)
        one.fail(chain)
        await until(lambda: other.is_out(provider))
        again = other.use(provider)
        again.order()
        again.answered(again.connectors[0], other.told)
        await until(lambda: not one.is_out(provider))
        assert chain.order()[0].slug == provider.slug


async def test_the_silence_that_one_was_asked_for_all_keep(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 3, Rules(rest=0.1)) as workers:
        chains = [worker.use(provider) for worker in workers]
        workers[0].fail(chains[0], ErrorKind.RATE_LIMIT, retry_after=0.5)
        began = time.monotonic()
        await until(lambda: all(worker.is_out(provider) for worker in workers))
        await until(lambda: not any(worker.is_out(provider) for worker in workers))
        assert len(provider.began) == 1 and provider.began[0] - began >= 0.49


async def test_an_unreadable_entry_is_passed_by(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, PATIENT) as (one, other):
        chain = one.use(provider)
        breaker = one.breaker(provider)
        assert breaker
        await until(lambda: one.bus.is_connected)
        await shared_breakers(one.bus, PATIENT).put(breaker.target.key, b"{", after=0)
        one.fail(chain)
        await until(lambda: other.is_out(provider))


# -- probes ----------------------------------------------------------------------------------------------


async def test_one_of_five_workers_probes(nats_url: str, provider: Provider) -> None:
    provider.hangs = True
    async with working(nats_url, 5, SWIFT) as workers:
        for worker in workers:
            worker.fail(worker.use(provider))
        await until(lambda: len(provider.began) >= 3)
    gaps = [later - earlier for earlier, later in zip(provider.began, provider.began[1:], strict=False)]
    assert provider.most == 1 and min(gaps) >= 0.3


async def test_a_recovered_provider_is_back_for_all(nats_url: str, provider: Provider) -> None:
    provider.fault = failing(ErrorKind.SERVER)
    async with working(nats_url, 5, SWIFT) as workers:
        chains = [worker.use(provider) for worker in workers]
        workers[0].fail(chains[0])
        await until(lambda: len(provider.began) == 2 and not provider.running)
        provider.fault, recovered = None, time.monotonic()
        await until(lambda: not any(worker.is_out(provider) for worker in workers))
        assert time.monotonic() - recovered < 5
        assert all(chain.order()[0].slug == provider.slug for chain in chains) and len(provider.began) == 3


async def test_a_flapping_provider_is_out_at_its_first_failure(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, SWIFT) as (one, other):
        chain = one.use(provider)
        for _ in range(3):
            one.fail(chain, ErrorKind.SERVER)
        for _ in range(2):
            await until(lambda: other.is_out(provider))
            await until(lambda: not one.is_out(provider) and not other.is_out(provider))
            one.fail(chain, ErrorKind.SERVER)
            assert one.is_out(provider)
    assert len(provider.began) == 2 and provider.began[1] - provider.began[0] >= 0.3


async def test_another_one_probes_for_a_worker_that_died(nats_url: str, provider: Provider) -> None:
    provider.hangs = True
    async with working(nats_url, 2, SWIFT) as (one, other):
        one.fail(one.use(provider))
        await until(lambda: provider.running == 1 and other.is_out(provider))
        other.use(provider)
        await one.stop()
        provider.hangs = False
        await until(lambda: not other.is_out(provider))
    assert len(provider.began) == 2


async def test_only_what_a_session_uses_is_probed(nats_url: str, provider: Provider) -> None:
    async with working(nats_url, 2, SWIFT) as (one, other):
        chain = one.use(provider)
        one.pool._users.clear()
        one.fail(chain)
        breaker = other.breaker
        await until(lambda: (found := breaker(provider)) is not None and found.may_probe(time.monotonic()))
        assert not provider.began
        other.use(provider)
        await until(lambda: not one.is_out(provider))
    assert len(provider.began) == 1


async def test_after_the_last_session_nobody_probes(nats_url: str, provider: Provider) -> None:
    """And from the next one on somebody does. The other provider's probes are the clock."""
    provider.fault = failing(ErrorKind.AUTH)
    other = Provider(fault=failing(ErrorKind.SERVER))
    async with working(nats_url, 1, SWIFT) as (one,):
        chain = one.use(provider)
        one.fail(chain)
        one.fail(one.use(other), ErrorKind.REFUSED)
        await until(lambda: bool(provider.began) and not provider.running)
        await chain.close()
        begun, seen = len(provider.began), len(other.began)
        await until(lambda: len(other.began) >= seen + 3)
        assert len(provider.began) == begun and one.is_out(provider)
        next_chain = one.use(provider)
        assert next_chain.order()[0] is not next_chain.connectors[0]
        provider.fault = None
        await until(lambda: not one.is_out(provider))
        assert next_chain.order()[0] is next_chain.connectors[0]


async def test_metrics_say_what_happened(nats_url: str, provider: Provider) -> None:
    provider.fault = failing(ErrorKind.TIMEOUT)
    async with working(nats_url, 2, SWIFT) as (one, other):
        one.fail(one.use(provider))
        await until(lambda: other.count("meshag_breaker_open", provider) == 1)
        assert one.count("meshag_breaker_open", provider) == 1
        assert one.count("meshag_breaker_opened_total", provider, kind="auth") == 1
        assert other.count("meshag_breaker_opened_total", provider, kind="auth") == 0
        await until(lambda: one.count("meshag_probes_total", provider, outcome="timeout") == 1)
        provider.fault = None
        await until(lambda: one.count("meshag_probes_total", provider, outcome="well") == 1)
        await until(lambda: other.count("meshag_breaker_open", provider) == 0)
        assert one.count("meshag_breaker_open", provider) == 0


# -- when NATS is away -----------------------------------------------------------------------------------


async def test_a_started_again_server_is_told_again(tmp_path: Path, provider: Provider) -> None:
    with running_nats(tmp_path) as server:
        async with working(server.url, 2, PATIENT) as (one, other):
            one.fail(one.use(provider))
            await until(lambda: other.is_out(provider))
            server.restart()
            async with working(server.url, 1, PATIENT) as (late,):
                await until(lambda: late.is_out(provider))
                chain = one.use(provider)
                chain.order()
                chain.answered(chain.connectors[0], one.told)
                await until(lambda: not late.is_out(provider) and not other.is_out(provider))


async def test_alone_a_worker_goes_by_what_it_sees(tmp_path: Path, provider: Provider) -> None:
    provider.fault = failing(ErrorKind.SERVER)
    with running_nats(tmp_path) as server:
        async with working(server.url, 2, SWIFT) as (one, other):
            await until(lambda: one.bus.is_connected and other.bus.is_connected)
            server.kill()
            await until(lambda: not one.bus.is_connected and not other.bus.is_connected)
            chain = one.use(provider)
            one.fail(chain)
            assert chain.order()[1].slug == provider.slug
            await until(lambda: len(provider.began) == 2)
            assert one.is_out(provider) and not other.is_out(provider)
            server.start()
            await until(lambda: other.is_out(provider))
            provider.fault = None
            await until(lambda: not one.is_out(provider) and not other.is_out(provider))


async def test_a_frozen_server_holds_up_no_turn(tmp_path: Path, provider: Provider) -> None:
    with running_nats(tmp_path) as server:
        async with working(server.url, 1, SWIFT) as (one,):
            chain = one.use(provider)
            server.freeze()
            one.fail(chain)
            began = time.monotonic()
            for _ in range(1000):
                chain.order()
            assert time.monotonic() - began < 1
            await until(lambda: bool(provider.began) and not one.is_out(provider))
            server.thaw()


async def test_an_outage_that_lapses_during_a_look_is_seen_by_the_next(bus: Bus) -> None:
    """Of a provider that no session here has: it may be forgotten once its end was noted."""
    lapses = PATIENT.rest + PATIENT.patience
    before, after = lapses - 1, lapses + 1
    times = [0.0, before]
    pool, metrics = Pool({}, breakers=Breakers(PATIENT, clock=lambda: times.pop(0) if times else after)), Metrics()
    bucket = shared_breakers(bus, PATIENT)
    outages = Outages(role=Role.LLM, worker="one", pool=pool, bucket=bucket, metrics=metrics)
    breaker = pool.breakers.of(Target("key", "llm", "first", "First"))
    breaker.failed(failing(ErrorKind.AUTH), 0, started=0)
    outages._note(breaker, 0)
    breaker.wrote(breaker.version, 1)
    outages._look()
    outages._look()
    assert metrics.registry.get_sample_value("meshag_breaker_open", {"role": "llm", "provider": "first"}) == 0
    assert not outages._is_watching
