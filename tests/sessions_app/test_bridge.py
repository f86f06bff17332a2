"""The bridge as it runs: real NATS, real Valkey, a database file."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from accounts_app.actions import create_api_key
from accounts_app.models import Workspace
from mesh import events, subjects
from mesh.bus.client import Bus
from mesh.bus.errors import Fenced
from mesh.store import Valkey
from mesh.subjects import Stage
from pipelines_app.models import AgentVersion
from sessions_app.bridge import Bridge, Options
from sessions_app.database import DatabaseAway
from sessions_app.models import Session, State, TranscriptEntry
from sessions_app.nudges import group
from sessions_app.scene_store import SceneStore
from tests.servers import RunningServer
from tests.sessions_app.stories import created, final, played

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels_on_valkey", "workspace")]

SOON = 10.0


@asynccontextmanager
async def running(nats_url: str, valkey_url: str, **options: Any) -> AsyncIterator[Bridge]:
    bridge, stop = (
        Bridge(Options(name="bridge-test", nats_url=nats_url, valkey_url=valkey_url, **options)),
        asyncio.Event(),
    )
    task = asyncio.create_task(bridge.run(stop))
    try:
        async with asyncio.timeout(SOON):
            await bridge.serving.wait()
        yield bridge
    finally:
        stop.set()
        await task


@pytest.fixture
async def bridge(own_nats: RunningServer, valkey_url: str) -> AsyncIterator[Bridge]:
    async with running(own_nats.url, valkey_url) as bridge:
        yield bridge


class Onlooker:
    """Waits for nudges, as a page does."""

    async def join(self, session: str = "s1") -> "Onlooker":
        self.layer = get_channel_layer()
        self.channel = await self.layer.new_channel()
        await self.layer.group_add(group(session), self.channel)
        return self

    async def until(self, sequence: int) -> None:
        async with asyncio.timeout(SOON):
            while (await self.layer.receive(self.channel)).get("sequence", 0) < sequence:
                pass


async def ask(bus: Bus, subject: str, **question: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await bus.request(subject, json.dumps(question).encode(), within=5))
    return answer


async def open_session(bus: Bus, owner: str = "t") -> Any:
    writer = await bus.take_fence("s1", Stage.SESSION, owner=owner)
    await writer.append(created())
    return writer


async def test_events_become_rows_and_nudges(bridge: Bridge, bus: Bus) -> None:
    page = await Onlooker().join()
    writer = await open_session(bus)
    ear = await bus.take_fence("s1", Stage.STT, owner="stt-1")
    await ear.append(final("Hello?"))
    await page.until(await writer.append(played(1, "Good morning.")))
    assert [entry.text async for entry in TranscriptEntry.objects.all()] == ["Hello?", "Good morning."]
    assert (await Session.objects.aget()).owner == "t"


async def test_a_bridge_writes_what_it_missed(own_nats: RunningServer, valkey_url: str, bus: Bus) -> None:
    writer = await open_session(bus)
    async with running(own_nats.url, valkey_url):
        pass  # it stops, and writes what is there before that
    await writer.append(events.SessionEnded(reason="hangup"))
    async with running(own_nats.url, valkey_url):
        pass
    assert (await Session.objects.aget()).reason == "hangup"


async def test_keys_are_answered(bridge: Bridge, bus: Bus, workspace: Workspace) -> None:
    _, secret = await sync_to_async(create_api_key)(workspace=workspace, name="CRM")
    assert await ask(bus, subjects.BRIDGE_KEY, key=secret) == {"workspace": "bicycles"}
    assert "error" in await ask(bus, subjects.BRIDGE_KEY, key="mag_unknown")


async def test_agents_are_answered(bridge: Bridge, bus: Bus, version: AgentVersion) -> None:
    answer = await ask(bus, subjects.BRIDGE_AGENT, workspace="bicycles", slug="shop")
    assert (answer["agent"], answer["version"], answer["config"]) == ("shop", 1, version.config)


async def test_a_strange_question_gets_an_answer(bridge: Bridge, bus: Bus) -> None:
    assert "cannot be read" in (await ask(bus, subjects.BRIDGE_KEY, password="x"))["error"]


async def test_without_a_database_the_answer_is_later(bridge: Bridge, bus: Bus) -> None:
    await sync_to_async(rename_table)("accounts_app_apikey", "elsewhere")
    try:
        assert (await ask(bus, subjects.BRIDGE_KEY, key="mag_unknown"))["unavailable"]
    finally:
        await sync_to_async(rename_table)("elsewhere", "accounts_app_apikey")


async def test_a_lost_transport_ends_its_session(own_nats: RunningServer, valkey_url: str, bus: Bus) -> None:
    async with running(own_nats.url, valkey_url, silence=0.5):
        page = await Onlooker().join()
        await page.until(await (await open_session(bus)).append(events.SessionLive(worker="t", rate=8000)))
        await page.until(4)
    session = await Session.objects.aget()
    assert (session.state, session.reason, session.epoch) == (State.FAILED, "transport_lost", 2)


async def test_rows_wait_for_the_database(bridge: Bridge, bus: Bus) -> None:
    page = await Onlooker().join()
    await sync_to_async(rename_table)("sessions_app_session", "elsewhere")
    try:
        writer = await open_session(bus)
        await until_page(bridge, "/ready", 503)
    finally:
        await sync_to_async(rename_table)("elsewhere", "sessions_app_session")
    await page.until(await writer.append(played(1, "Good morning.")))
    assert await TranscriptEntry.objects.acount() == 1


def rename_table(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


async def test_nats_may_restart(bridge: Bridge, bus: Bus, own_nats: RunningServer) -> None:
    page = await Onlooker().join()
    writer = await open_session(bus)
    await page.until(2)
    await asyncio.to_thread(own_nats.restart)
    await page.until(await writer.append(played(1, "Good morning.")))
    assert await TranscriptEntry.objects.acount() == 1


async def test_a_lost_stream_is_begun_anew(bridge: Bridge, bus: Bus, own_nats: RunningServer) -> None:
    page = await Onlooker().join()
    writer = await open_session(bus)
    for number in range(1, 6):
        await page.until(await writer.append(played(number, "Before.")))
    await asyncio.to_thread(lose_store, own_nats)
    with pytest.raises(Fenced):  # the new stream knows no owner
        await writer.append(played(6, "After."))
    writer = await bus.take_fence("s1", Stage.SESSION, owner="t", epoch=2)
    await writer.append(played(6, "After."))
    await page.until(2)
    assert [entry.text async for entry in TranscriptEntry.objects.all()][-2:] == ["Before.", "After."]


def lose_store(server: RunningServer) -> None:
    server.kill()
    shutil.rmtree(server.spec.directory / "jetstream")
    server.start()


async def ask_page(bridge: Bridge, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{bridge.port}{path}") as response:
        return response.status, await response.text()


async def until_page(bridge: Bridge, path: str, status: int) -> None:
    async with asyncio.timeout(SOON):
        while (await ask_page(bridge, path))[0] != status:
            pass


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_a_working_bridge_says_so(path: str, bridge: Bridge) -> None:
    status, body = await ask_page(bridge, path)
    assert status == 200 and json.loads(body)["service"] == "bridge"


async def test_metrics_count_what_happened(bridge: Bridge, bus: Bus) -> None:
    page = await Onlooker().join()
    await open_session(bus)
    await page.until(2)
    _, body = await ask_page(bridge, "/metrics")
    samples = {
        sample.name: sample.value for family in text_string_to_metric_families(body) for sample in family.samples
    }
    assert samples["meshag_bridge_events_folded_total"] == 2
    assert samples["meshag_bridge_sequence"] == 2


async def test_words_that_are_no_row_reach_the_pages(bridge: Bridge, bus: Bus, valkey_url: str) -> None:
    page = await Onlooker().join()
    await open_session(bus)
    told = {"utterance": 1, "epoch": 1, "text": "A table"}
    await bus.publish(subjects.stt_interim("s1"), json.dumps(told).encode())
    async with asyncio.timeout(SOON):
        while (await page.layer.receive(page.channel)).get("scene", {}).get("caller") != "A table":
            pass
    valkey = Valkey(valkey_url)
    kept = await SceneStore(valkey).get("s1")
    await valkey.close()
    assert kept and kept.caller == "A table"


async def test_a_database_that_fails_in_the_moment_of_the_stop_delays_nothing(
    own_nats: RunningServer, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_when_stopped(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DatabaseAway("database is locked") from None

    monkeypatch.setattr(Bridge, "_follow", fail_when_stopped)
    async with asyncio.timeout(SOON), running(own_nats.url, valkey_url):
        pass
