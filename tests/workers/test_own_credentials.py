"""How a workspace's own credentials come to a session: asked of the bridge, told to its stages, never waited for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from connectors_app.base.connector import Sealed
from mesh import asking, subjects
from mesh.events import SessionCreated, SessionUpdated
from mesh.roster import Beat
from mesh.subjects import Stage
from tests.unsupervised import document
from tests.workers import desks, lines
from tests.workers.lines import Process, transport_process
from tests.workers.stages import SECONDS, Extra, played
from workers import inquiries
from workers.asked import Asked
from workers.desk import Unavailable
from workers.inquiries import Inquiries
from workers.settings import Settings
from workers.stage import Seat


class Bridge:
    """Answers what it is told to, or not at all."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[object] = []

    async def __call__(self, payload: bytes) -> bytes:
        self.asked.append(json.loads(payload))
        if self.answer is None:
            await asyncio.Event().wait()
        return json.dumps(self.answer).encode()


@pytest.fixture
async def process(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


async def serve(process: Process, bridge: Bridge) -> None:
    await process.transport.bus.serve(subjects.BRIDGE_CREDENTIALS, bridge)
    await process.transport.bus.round_trip()


async def test_the_bridge_is_asked_for_keyed_providers(process: Process) -> None:
    await serve(process, bridge := Bridge({"sealed": {"openai": "sealed"}}))
    found = await process.transport.own_credentials("bicycles", {"script", "openai", "nobody"}, {})
    assert found == {"openai": "sealed"}
    assert bridge.asked == [{"workspace": "bicycles", "providers": ["openai"]}]


async def test_providers_of_one_account_get_its_credential(process: Process) -> None:
    await serve(process, bridge := Bridge({"sealed": {"deepgram": "sealed"}}))
    found = await process.transport.own_credentials("bicycles", {"deepgram_flux", "deepgram", "openai_realtime"}, {})
    assert found == {"deepgram_flux": "sealed", "deepgram": "sealed"}
    assert bridge.asked == [{"workspace": "bicycles", "providers": ["deepgram", "openai"]}]


async def test_a_named_credential_is_asked_for_by_name(process: Process) -> None:
    await serve(process, bridge := Bridge({"sealed": {"openai": "billing", "deepgram": ""}, "named": ["openai"]}))
    names = {"openai": "Billing", "deepgram": "Gone", "azure": "not asked for"}
    found = await process.transport.own_credentials("bicycles", {"openai_responses", "deepgram"}, names)
    assert found == {"openai_responses": "billing", "deepgram": ""}
    wanted = {"openai": "Billing", "deepgram": "Gone"}
    assert bridge.asked == [{"workspace": "bicycles", "providers": ["deepgram", "openai"], "names": wanted}]


async def test_what_was_told_of_one_name_is_not_anothers(process: Process, hasty: None) -> None:
    await serve(process, bridge := Bridge({"sealed": {"openai": "billing"}, "named": ["openai"]}))
    billing = {"openai": "Billing"}
    await process.transport.own_credentials("bicycles", {"openai"}, billing)
    bridge.answer = None
    assert await process.transport.own_credentials("bicycles", {"openai"}, billing) == {"openai": "billing"}
    for names in ({}, {"openai": "Trial"}):
        with pytest.raises(Unavailable):
            await process.transport.own_credentials("bicycles", {"openai"}, names)


async def test_a_bridge_that_knows_no_names_is_not_believed(process: Process) -> None:
    await serve(process, Bridge({"sealed": {"openai": "the one in use"}}))
    with pytest.raises(Unavailable, match="older version"):
        await process.transport.own_credentials("bicycles", {"openai"}, {"openai": "Billing"})


async def test_offline_providers_need_no_bridge(process: Process) -> None:
    await serve(process, bridge := Bridge(None))
    assert await process.transport.own_credentials("bicycles", {"script", "espeak"}, {}) == {}
    assert not bridge.asked


AWAY = [None, {"error": "The database does not answer.", "unavailable": True}]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiries, "CREDENTIAL_SECONDS", 0.5)
    monkeypatch.setattr(inquiries, "BRIDGE_SECONDS", 0.5)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("answer", AWAY)
async def test_what_was_told_last_is_used_meanwhile(process: Process, answer: object) -> None:
    process.transport._inquiries._sealed = {("bicycles", "openai", ""): (time.monotonic(), "sealed")}
    await serve(process, bridge := Bridge(answer))
    for _ in range(3):
        assert await process.transport.own_credentials("bicycles", {"openai"}, {}) == {"openai": "sealed"}
    assert len(bridge.asked) == 1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("answer", AWAY)
async def test_another_key_never_takes_the_place(process: Process, answer: object) -> None:
    """The environment has one, but the workspace may have its own."""
    for role in ("stt", "llm", "tts"):
        beat = Beat(id=role, role=role, providers=("openai", "deepgram", "elevenlabs"))
        process.transport.casting.roster.hear(beat, float("inf"))
    await serve(process, Bridge(answer))
    question = asking.Open(workspace="bicycles", config=desks.document())
    declined = msgspec.json.decode(await Asked(process.transport)(asking.encode(question)), type=asking.Declined)
    assert declined.status == 503 and "does not answer" in declined.error


async def test_what_was_told_long_ago_is_forgotten(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    await serve(process, bridge := Bridge({"sealed": {"openai": "sealed"}}))
    await process.transport.own_credentials("bicycles", {"openai"}, {})
    bridge.answer = None
    monkeypatch.setattr(inquiries, "CREDENTIAL_SECONDS", 0.1)
    assert await process.transport.own_credentials("bicycles", {"openai"}, {}) == {"openai": "sealed"}
    monkeypatch.setattr(inquiries, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(inquiries, "BRIDGE_SECONDS", 0.1)
    with pytest.raises(Unavailable):
        await process.transport.own_credentials("bicycles", {"openai"}, {})


async def test_sessions_asked_for_by_nats_have_them(process: Process) -> None:
    for role in ("stt", "llm", "tts"):
        process.transport.casting.roster.hear(Beat(id=role, role=role, providers=("offline",)), float("inf"))
    sealed = {"openai": "sealed-for-openai", "elevenlabs": "sealed-for-elevenlabs"}
    await serve(process, Bridge({"sealed": sealed}))
    question = asking.Open(workspace="bicycles", config=desks.document())
    answer = await Asked(process.transport)(asking.encode(question))
    opened = msgspec.json.decode(answer, type=asking.Opened)
    entry = await process.transport.configs.get_entry(opened.session)
    assert entry is not None and entry.credentials == sealed
    created = (await process.transport.bus.history(opened.session))[0].event
    assert isinstance(created, SessionCreated) and created.credentials == sealed
    assert b"sealed" not in answer


def is_there(process: Process, *providers: str) -> None:
    for role in ("stt", "llm", "tts"):
        process.transport.casting.roster.hear(Beat(id=role, role=role, providers=providers), float("inf"))


def naming(**names: str) -> dict[str, Any]:
    connectors = {
        "stt": {"primary": "deepgram"},
        "llm": {"primary": "openai", "fallback": ["anthropic"]},
        "tts": {"primary": "elevenlabs"},
        "transport": {"primary": "websocket"},
    }
    return desks.document() | {"connectors": connectors, "credentials": names}


async def test_a_name_that_is_gone_passes_its_provider_over(process: Process) -> None:
    is_there(process, "deepgram", "openai", "anthropic", "elevenlabs")
    await serve(process, Bridge({"sealed": {"openai": ""}, "named": ["openai"]}))
    question = asking.Open(workspace="bicycles", config=naming(openai="Gone"))
    opened = msgspec.json.decode(await Asked(process.transport)(asking.encode(question)), type=asking.Opened)
    assert any("openai is passed over" in notice for notice in opened.notices)
    entry = await process.transport.configs.get_entry(opened.session)
    assert entry is not None and entry.credentials == {"openai": ""}


@pytest.mark.parametrize(
    ("names", "status", "why"),
    [
        ({"deepgram": "Gone"}, 503, "the workspace has no credential for deepgram of the name that the agent gives"),
        ({"nobody": "Main"}, 422, "is no provider with credentials"),
        ({"deepgram_flux": "Main"}, 422, "goes by the credential of deepgram"),
    ],
)
async def test_what_no_credential_can_serve_is_refused(
    process: Process, names: dict[str, str], status: int, why: str
) -> None:
    is_there(process, "deepgram", "openai", "elevenlabs")
    await serve(process, Bridge({"sealed": dict.fromkeys(names, ""), "named": list(names)}))
    question = asking.Open(workspace="bicycles", config=naming(**names))
    declined = msgspec.json.decode(await Asked(process.transport)(asking.encode(question)), type=asking.Declined)
    assert declined.status == status and why in f"{declined.error} {declined.detail}"


async def test_a_transport_by_itself_works_with_the_environment(process: Process) -> None:
    async with asyncio.timeout(0.9):
        assert await process.transport.own_credentials("default", {"openai"}, {}) == {}


async def test_a_workspace_that_has_owners_waits_for_a_bridge(process: Process) -> None:
    with pytest.raises(Unavailable, match="Nobody can tell now whether the workspace has keys of its own"):
        await process.transport.own_credentials("bicycles", {"openai"}, {})


async def test_a_supervised_transport_waits_for_its_bridge(process: Process) -> None:
    settings = [Settings(embedded=True, transport_fd=3), Settings(embedded=False)]
    for asking_for in (Inquiries(process.transport.bus, is_alone=one.is_alone) for one in settings):
        with pytest.raises(Unavailable):
            await asking_for.credentials("default", {"openai"}, {})


async def test_who_has_met_a_bridge_is_not_alone(process: Process) -> None:
    await serve(process, Bridge(AWAY[1]))
    with pytest.raises(Unavailable):
        await process.transport.own_credentials("default", {"openai"}, {})


async def test_a_stage_takes_changed_credentials(process: Process) -> None:
    made: list[Extra] = []

    def make(seat: Seat) -> Extra:
        made.append(Extra(seat))
        return made[-1]

    async with played(process.transport.bus, process.transport.valkey, Stage.LLM, make) as stage:
        updated = SessionUpdated(config=document(), revision="2", credentials={"openai": "sealed"})
        await stage.say(updated)
        async with asyncio.timeout(SECONDS):
            while await made[0].heard.get() != updated:
                pass
        assert made[0].credentials == Sealed("w", {"openai": "sealed"})


async def test_a_call_tells_changed_credentials(process: Process) -> None:
    """A changed configuration may name a provider that the one before did not."""
    session = await process.create()
    wire, call = await process.call(session)
    config = call.config.model_copy(update={"greeting": "Anew."})
    await process.transport.configs.store_config(session, config, credentials={"openai": "sealed"})
    await call._reread()
    async with asyncio.timeout(lines.DEADLINE):
        while not (told := await _updates(process, session)):
            pass
    assert [update.credentials for update in told] == [{"openai": "sealed"}]
    wire.lose()
    call.end("ended")


async def _updates(process: Process, session: str) -> list[SessionUpdated]:
    history = await process.transport.bus.history(session)
    return [stored.event for stored in history if isinstance(stored.event, SessionUpdated)]
