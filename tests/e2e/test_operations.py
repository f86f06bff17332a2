"""What the services tell about themselves, and what they do by themselves: on a system of their own that may break."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from connectors_app import registry
from connectors_app.base.connector import Role
from mesh import subjects
from mesh.bus.client import Bus
from mesh.config.reading import parse
from mesh.events import SessionEnded
from mesh.roster import Beat
from mesh.store import ConfigStorage
from tests.callers import WebsocketCaller
from tests.e2e.conversations import become
from tests.unsupervised import System, document, running_system

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

SERVICES = ("stt", "llm", "tts", "transport")
CHAT = document(flow=("transport llm text", "llm transport text"))


class Pages:
    """Where each service has /health, /ready and /metrics."""

    def __init__(self, system: System, addresses: Mapping[str, str]) -> None:
        self._system = system
        self._addresses = addresses

    async def get(self, service: str, page: str) -> tuple[int, str]:
        async with self._system.client.get(f"{self._addresses[service]}/{page}") as response:
            return response.status, await response.text()

    async def ready(self, service: str) -> tuple[int, dict[str, dict[str, str]]]:
        """The status and the checks by their names."""
        status, text = await self.get(service, "ready")
        body = msgspec.json.decode(text)
        assert body["status"] == ("ready" if status == 200 else "not_ready")
        return status, {check["name"]: check for check in body["checks"]}

    async def until(self, service: str, status: int, **checks: str) -> dict[str, dict[str, str]]:
        """Wait until a service is as ready as that, and these checks have these states."""
        told: dict[str, dict[str, str]] = {}

        async def is_so() -> bool:
            nonlocal told
            found, told = await self.ready(service)
            return found == status and all(told[name]["status"] == state for name, state in checks.items())

        await become(is_so)
        return told

    async def metrics(self, service: str) -> dict[str, Any]:
        _, text = await self.get(service, "metrics")
        return {family.name: family for family in text_string_to_metric_families(text)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(
        tmp_path_factory.mktemp("fragile") / "data",
        workers=1,
        CONFIG_TTL_SECONDS="5",  # what is looked at after a restart must still be there
        ANTHROPIC_API_KEY="",
        ELEVENLABS_API_KEY="revoked",
    ) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(system: System) -> AsyncIterator[Bus]:
    async with await Bus.connect(system.nats.url, "spectator") as bus:
        yield bus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages(system: System, bus: Bus) -> Pages:
    """The workers' addresses are in their heartbeats."""
    found = {"transport": system.url}
    everybody = asyncio.Event()

    def hear(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        beat = msgspec.json.decode(payload, type=Beat)
        found.setdefault(beat.role, f"http://127.0.0.1:{beat.address}")
        if len(found) == len(SERVICES):
            everybody.set()

    subscriptions = [await bus.subscribe(subjects.worker_beat(role), hear) for role in Role]
    async with asyncio.timeout(5):
        await everybody.wait()
    for subscription in subscriptions:
        await subscription.close()
    return Pages(system, found)


# -- pages -----------------------------------------------------------------------------------------------


@pytest.mark.accepts("M82")
@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_says_that_it_lives(pages: Pages, service: str) -> None:
    status, text = await pages.get(service, "health")
    told = msgspec.json.decode(text)
    assert (status, told["status"], told["service"]) == (200, "healthy", f"{service}-service")
    assert told["uptime_seconds"] > 0 and re.fullmatch(r"\d+\.\d+\.\d+", told["version"])


@pytest.mark.accepts("M83")
@pytest.mark.parametrize("role", list(Role))
async def test_ready_lists_every_provider(pages: Pages, role: Role) -> None:
    checks = await pages.until(role, 200)
    providers = {name.removeprefix("provider_") for name in checks if name.startswith("provider_")}
    assert providers == set(registry.names(role))
    assert checks["nats"]["status"] == checks["valkey"]["status"] == "healthy"


@pytest.mark.accepts("M83", "M88")
async def test_a_provider_without_its_key_is_unconfigured(pages: Pages) -> None:
    checks = await pages.until("llm", 200, provider_openai="healthy")
    assert checks["provider_anthropic"] == {
        "name": "provider_anthropic",
        "status": "unconfigured",
        "message": "set ANTHROPIC_API_KEY; not needed where a workspace has a credential of its own",
    }


@pytest.mark.accepts("M83")
async def test_a_refused_key_is_shown_with_its_reason(pages: Pages) -> None:
    checks = await pages.until("tts", 200, provider_elevenlabs="degraded")
    assert "ELEVENLABS_API_KEY" in checks["provider_elevenlabs"]["message"]


@pytest.mark.accepts("M84")
@pytest.mark.parametrize("service", SERVICES)
async def test_metrics_are_read_by_prometheus(pages: Pages, service: str) -> None:
    families = await pages.metrics(service)
    assert all(re.fullmatch(r"[a-z_][a-z0-9_]*", name) and family.documentation for name, family in families.items())
    assert {"meshag_sessions", "meshag_loop_lag_seconds", "meshag_bus_published", "process_cpu_seconds"} <= set(
        families
    )


@pytest.mark.accepts("M84")
async def test_metrics_count_what_happens(system: System, pages: Pages) -> None:
    turns = (await pages.metrics("transport"))["meshag_turns"].samples[0].value
    async with await chat(system) as caller:
        await caller.type("hello")
        await caller.until("reply", turn=1, sentence=1)

        async def is_shown() -> bool:
            return bool((await pages.metrics("llm"))["meshag_sessions"].samples[0].value == 1)

        await become(is_shown)
    assert (await pages.metrics("transport"))["meshag_turns"].samples[0].value == turns + 1
    measured = (await pages.metrics("llm"))["meshag_stage_seconds"].samples
    assert sum(one.value for one in measured if one.name.endswith("_count")) >= 1


async def chat(system: System) -> WebsocketCaller:
    made = await system.create(CHAT)
    caller = WebsocketCaller(system.client, made["room_url"], made["token"])
    caller.session = made["session_id"]
    return caller


# -- what expires ----------------------------------------------------------------------------------------


async def test_a_live_session_keeps_its_configuration(system: System) -> None:
    """Longer than its time to live, while one that nobody has joined expires."""
    async with Redis.from_url(system.valkey.url) as client, await chat(system) as caller:
        forsaken = (await system.create(CHAT))["session_id"]

        async def is_gone() -> bool:
            return not await client.exists(f"config:{forsaken}", f"session:{forsaken}")

        await become(is_gone)
        assert await client.exists(f"config:{caller.session}", f"session:{caller.session}") == 2
        await caller.type("hello")
        await caller.until("reply", turn=1, sentence=1)


@pytest.mark.accepts("M40")
async def test_expired_configurations_are_swept(system: System) -> None:
    """Nobody asks: the transport does it by itself."""
    storage = await ConfigStorage.new(system.valkey.url)
    await storage.store_config("session_123", parse(CHAT), 1)
    async with Redis.from_url(system.valkey.url) as client:
        assert await client.zscore("config:keys", "session_123") is not None

        async def is_swept() -> bool:
            return await client.zscore("config:keys", "session_123") is None

        await become(is_swept)
    await storage.close()


# -- what breaks -----------------------------------------------------------------------------------------


@pytest.mark.accepts("M83")
async def test_without_valkey_nobody_is_ready(system: System, pages: Pages) -> None:
    system.valkey.kill()
    for service in SERVICES:
        checks = await pages.until(service, 503, valkey="unhealthy")
        assert "VALKEY_URL" in checks["valkey"]["message"]
        assert (await pages.get(service, "health"))[0] == 200
    system.valkey.start()
    for service in SERVICES:
        await pages.until(service, 200, valkey="healthy")


@pytest.mark.accepts("M83")
async def test_without_nats_nobody_is_ready(system: System, pages: Pages) -> None:
    system.nats.kill()
    for service in SERVICES:
        checks = await pages.until(service, 503, nats="unhealthy")
        assert "NATS_URL" in checks["nats"]["message"]
        assert (await pages.get(service, "health"))[0] == 200
    system.nats.start()
    for service in SERVICES:
        await pages.until(service, 200, nats="healthy")


@pytest.mark.accepts("M55", "M83")
async def test_without_a_voice_worker_the_transport_is_not_ready(system: System, pages: Pages) -> None:
    system.kill("tts-1")
    checks = await pages.until("transport", 503, workers_tts="unhealthy")
    assert checks["workers_tts"]["message"] == "start one: python -m workers tts"
    for service in ("stt", "llm"):
        await pages.until(service, 200)
    system.start_worker("tts-1")
    await pages.until("transport", 200, workers_tts="healthy")


async def test_a_call_goes_on_and_ends_while_valkey_is_away(system: System) -> None:
    async with await chat(system) as caller:
        await caller.until("welcome")
        system.valkey.freeze()
        await caller.type("hello")
        await caller.until("reply", turn=1, sentence=1)
        await caller._tell({"type": "bye"})
        await caller.until("ended", reason="hangup")
    system.valkey.thaw()
    await become(lambda: is_shown(system, caller.session, "Ended"))


async def is_shown(system: System, session: str, status: str) -> bool:
    async with system.client.get(f"{system.url}/sessions/{session}") as response:
        return bool((await response.json()).get("status") == status)


async def test_a_stopped_transport_says_goodbye(system: System, pages: Pages) -> None:
    async with await chat(system) as caller:
        await caller.until("welcome")
        process = system.processes.pop("transport")
        process.send_signal(signal.SIGTERM)
        await caller.until("ended", reason="shutdown")
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(process.wait) == 0
    system.start_transport()
    await system.ready()
    assert await is_shown(system, caller.session, "Ended")


async def test_a_session_whose_transport_was_killed_can_be_deleted(system: System, bus: Bus) -> None:
    caller = await chat(system)
    async with caller:
        await caller.until("welcome")
        system.kill("transport")
    system.start_transport()
    await system.ready()
    assert await is_shown(system, caller.session, "Active")
    for _ in range(2):
        async with system.client.delete(f"{system.url}/sessions/{caller.session}") as response:
            assert response.status == 200
    assert await is_shown(system, caller.session, "Ended")
    ends = [one.event for one in await bus.history(caller.session) if isinstance(one.event, SessionEnded)]
    assert [end.reason for end in ends] == ["ended"]
