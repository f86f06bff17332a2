"""The documented library calls, over a real NATS and a real Valkey."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mesh.bus.client import Bus
from mesh.config.document import SERVICES, dump
from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from mesh.orchestrator import AgentOrchestrator, NotLoaded, ServiceRouter
from mesh.store import ConfigStorage, StoreUnavailable
from tests.mesh.documents import EXAMPLE, Document, example, with_flow

pytestmark = pytest.mark.nats

LOOP = ("transport>stt", "stt>llm", "llm>tts", "tts>transport")
SUBJECTS = {
    "audio.input": "transport",
    "stt.output": "stt",
    "llm.output": "llm",
    "tts.output": "tts",
}


class Ear:
    """Hears what a session's services put out."""

    def __init__(self) -> None:
        self.hops: list[str] = []
        self.payloads: list[bytes] = []
        self.streams: list[str] = []
        self._stirred = asyncio.Event()

    def __call__(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        made_by = SUBJECTS[subject.rpartition(".")[0]]
        assert headers["source_service"] == made_by
        self.hops.append(f"{made_by}>{headers['target_service']}")
        self.streams.append(headers["stream"])
        self.payloads.append(payload)
        self._stirred.set()

    async def count(self, wanted: int) -> None:
        async with asyncio.timeout(5):
            while len(self.hops) < wanted:
                self._stirred.clear()
                await self._stirred.wait()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_url, "test") as bus:
        yield bus


@pytest.fixture
async def storage(valkey_url: str) -> AsyncIterator[ConfigStorage]:
    opened = await ConfigStorage.new(valkey_url)
    yield opened
    await opened.close()


@pytest.fixture
def session() -> str:
    return f"session_{uuid.uuid4().hex}"


@pytest.fixture
async def router_for(valkey_url: str, bus: Bus) -> AsyncIterator[Callable[[str], Awaitable[ServiceRouter]]]:
    async with AsyncExitStack() as stack:

        async def make(service: str) -> ServiceRouter:
            router = await ServiceRouter.new(valkey_url, bus, service)
            stack.push_async_callback(router.close)
            return router

        yield make


Make = Callable[[str], Awaitable[ServiceRouter]]


async def listen(bus: Bus, session: str) -> Ear:
    ear = Ear()
    for prefix in SUBJECTS:
        await bus.subscribe(f"{prefix}.{session}", ear)
    return ear


async def store(storage: ConfigStorage, session: str, document: Document) -> None:
    await storage.store_config(session, parse(document))


# -- AgentOrchestrator -----------------------------------------------------------------------------------


@pytest.mark.accepts("M16", "M18")
async def test_the_shipped_file_loads() -> None:
    orchestrator = await AgentOrchestrator.from_config_file("config/agent-config.json")
    orchestrator.validate_config()
    assert dump(orchestrator.config) == example()


@pytest.mark.accepts("M18")
async def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await AgentOrchestrator.from_config_file(tmp_path / "none.json")


@pytest.mark.accepts("M18", "M19")
@pytest.mark.parametrize("text", ["", "{", '{"system_prompt": 1}', "// comment\n{}", "[]"])
async def test_a_bad_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        await AgentOrchestrator.from_config_file(path)
    with pytest.raises(ConfigError):
        AgentOrchestrator.from_json(text)


@pytest.mark.accepts("M19", "M21")
def test_a_string_loads_to_a_typed_config() -> None:
    config = AgentOrchestrator.from_json(EXAMPLE.read_text()).config
    assert config == parse(example())
    assert config.connectors["tts"].fallback == ("azure",)


def without_connectors(document: Document) -> None:
    del document["connectors"]["tts"]


def without_primary(document: Document) -> None:
    document["connectors"]["tts"]["primary"] = ""


def without_steps(document: Document) -> None:
    document["pipeline"]["flow"] = []


def with_a_stranger(document: Document) -> None:
    document["pipeline"]["flow"][0]["to"] = "ears"


def with_a_loop(document: Document) -> None:
    document["pipeline"]["flow"][1]["to"] = "stt"


def with_a_repeat(document: Document) -> None:
    document["pipeline"]["flow"].append(document["pipeline"]["flow"][0])


@pytest.mark.accepts("M20")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_connectors, "uses 'tts', which has no entry in connectors"),
        (without_primary, "must name a provider"),
        (without_steps, "must have at least one step"),
        (with_a_stranger, "unknown service 'ears'"),
        (with_a_loop, "from 'stt' to itself"),
        (with_a_repeat, "repeats step 0"),
    ],
)
def test_validation_raises_for_every_rule(spoil: Callable[[Document], None], words: str) -> None:
    document = example()
    spoil(document)
    orchestrator = AgentOrchestrator.from_json(json.dumps(document))
    with pytest.raises(ConfigError, match=words):
        orchestrator.validate_config()


@pytest.mark.accepts("M21")
async def test_the_config_is_what_storage_takes(storage: ConfigStorage, session: str) -> None:
    orchestrator = AgentOrchestrator.from_json(EXAMPLE.read_text())
    await storage.store_config(session, orchestrator.config)
    assert await storage.get_config(session) == orchestrator.config


# -- ServiceRouter ---------------------------------------------------------------------------------------


@pytest.mark.accepts("M30")
async def test_a_router_needs_a_valkey(bus: Bus) -> None:
    with pytest.raises(StoreUnavailable):
        await ServiceRouter.new("redis://127.0.0.1:1", bus, "stt")


@pytest.mark.accepts("M30")
async def test_a_router_needs_a_known_service(valkey_url: str, bus: Bus) -> None:
    with pytest.raises(ValueError, match="unknown service 'ears'; allowed: stt, llm, tts, transport"):
        await ServiceRouter.new(valkey_url, bus, "ears")


@pytest.mark.accepts("M31")
async def test_loading_says_whether_there_is_one(router_for: Make, storage: ConfigStorage, session: str) -> None:
    router = await router_for("stt")
    assert await router.load_config(session) is False
    await store(storage, session, example())
    assert await router.load_config(session) is True


@pytest.mark.accepts("M32")
async def test_output_goes_to_the_next_service(
    router_for: Make, storage: ConfigStorage, bus: Bus, session: str
) -> None:
    await store(storage, session, example())
    ear = await listen(bus, session)
    router = await router_for("stt")
    await router.load_config(session)
    assert await router.route_to_next(b"good morning", session) == ("llm",)
    await ear.count(1)
    assert (ear.hops, ear.streams, ear.payloads) == (["stt>llm"], ["text"], [b"good morning"])


@pytest.mark.accepts("M6", "M32")
async def test_a_message_goes_round_the_loop(router_for: Make, storage: ConfigStorage, bus: Bus, session: str) -> None:
    await store(storage, session, with_flow(*LOOP))
    ear = await listen(bus, session)
    service = "transport"
    for hop in range(1, 5):
        router = await router_for(service)
        (service,) = await router.route_to_next(b"\x01\x02", session)
        await ear.count(hop)
    assert service == "transport"
    assert ear.hops == list(LOOP)
    assert ear.streams == ["audio", "text", "text", "audio"]


@pytest.mark.accepts("M43", "M44")
async def test_routing_follows_a_changed_flow(router_for: Make, storage: ConfigStorage, bus: Bus, session: str) -> None:
    router = await router_for("stt")
    ear = await listen(bus, session)
    for steps in (LOOP, ("transport>stt", "stt>transport"), ("transport>stt", "stt>tts", "tts>transport")):
        await store(storage, session, with_flow(*steps))
        await router.load_config(session)
        await router.route_to_next(b"", session)
    await ear.count(3)
    assert ear.hops == ["stt>llm", "stt>transport", "stt>tts"]


async def test_two_steps_are_two_messages(router_for: Make, storage: ConfigStorage, bus: Bus, session: str) -> None:
    await store(storage, session, with_flow(*LOOP, "stt>transport"))
    ear = await listen(bus, session)
    assert await (await router_for("stt")).route_to_next(b"", session) == ("llm", "transport")
    await ear.count(2)
    assert ear.hops == ["stt>llm", "stt>transport"]


async def test_a_service_outside_the_flow_routes_nowhere(
    router_for: Make, storage: ConfigStorage, session: str
) -> None:
    await store(storage, session, with_flow("transport>stt", "stt>transport"))
    assert await (await router_for("llm")).route_to_next(b"", session) == ()


async def test_a_session_without_config_is_an_error(router_for: Make, session: str) -> None:
    with pytest.raises(NotLoaded, match=session):
        await (await router_for("stt")).route_to_next(b"", session)


async def test_another_session_brings_its_own_config(router_for: Make, storage: ConfigStorage, session: str) -> None:
    await store(storage, session, example())
    await store(storage, f"{session}-2", with_flow("transport>stt", "stt>transport"))
    router = await router_for("stt")
    assert await router.route_to_next(b"", session) == ("llm",)
    assert await router.route_to_next(b"", f"{session}-2") == ("transport",)


@pytest.mark.accepts("M33")
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_sees_its_own_connectors(
    router_for: Make, storage: ConfigStorage, session: str, service: str
) -> None:
    await store(storage, session, example())
    router = await router_for(service)
    assert router.get_connector_config() is None
    await router.load_config(session)
    assert router.get_connector_config() == parse(example()).connectors[service]


@pytest.mark.accepts("M33")
async def test_no_connectors_is_none(router_for: Make, storage: ConfigStorage, session: str) -> None:
    document = with_flow("transport>stt", "stt>transport")
    del document["connectors"]["llm"]
    await store(storage, session, document)
    router = await router_for("llm")
    await router.load_config(session)
    assert router.get_connector_config() is None


@pytest.mark.accepts("M34")
async def test_the_prompt_is_there_once_loaded(router_for: Make, storage: ConfigStorage, session: str) -> None:
    await store(storage, session, example() | {"system_prompt": "Say little."})
    router = await router_for("llm")
    assert router.get_system_prompt() is None
    await router.load_config(session)
    assert router.get_system_prompt() == "Say little."
