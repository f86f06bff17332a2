"""What the doctor says of NATS, Valkey and the database, with real ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio as valkey
from django.conf import settings
from django.db import connection
from django.utils import timezone

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.streams import ServerState
from meshag_site.doctor import servers
from meshag_site.doctor.findings import Finding, Installation, Level
from meshag_site.embedded import NatsServer
from meshag_site.ports import free_port
from sessions_app.models import BridgeCursor
from tests.meshag_site.doctor.conftest import Make
from tests.servers import RunningServer, running_valkey

NOWHERE = "127.0.0.1:1"


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def state(**changes: object) -> ServerState:
    its = {"id": "me", "version": "2.15.0", "has_jetstream": True, "streams": {}, "last_sequence": 0} | changes
    return ServerState(**its)  # type: ignore[arg-type]


@pytest.mark.django_db(transaction=True)
async def test_nats_as_we_start_it_is_well(healthy: Installation) -> None:
    async with await Bus.connect(healthy.nats_url, "test") as bus:
        await bus.ensure_streams()
    found = by_name(await servers.check_nats(healthy))
    assert {found[name].level for name in ("NATS", "Streams", "Syncing to disk")} == {Level.OK}
    assert "every event is on disk" in found["Syncing to disk"].seen


async def test_nats_that_is_away_shows_no_password(installation: Make) -> None:
    (finding,) = await servers.check_nats(installation(nats_url=f"nats://user:hunter2@{NOWHERE}"))
    assert finding.level is Level.PROBLEM and NOWHERE in finding.seen and "NATS_URL" in finding.fix
    assert "hunter2" not in str(finding)


@pytest.mark.django_db(transaction=True)
async def test_another_servers_monitor_is_not_believed(installation: Make) -> None:
    found = by_name(await servers.check_nats(installation(runtime={"MESHAG_NATS_MONITOR_PORT": "1"})))
    assert found["Syncing to disk"].level is Level.WARNING
    assert "sync_interval: always" in found["Syncing to disk"].fix


@dataclass(frozen=True, slots=True)
class LateNats(NatsServer):
    """As a server runs whose owner has set nothing."""

    def config(self) -> str:
        return NatsServer.config(self).replace("sync_interval: always", "")


@pytest.fixture
def late_nats(tmp_path: Path) -> Iterator[LateNats]:
    spec = LateNats(directory=tmp_path / "late", port=free_port(), monitor_port=free_port())
    server = RunningServer(spec)
    spec.directory.mkdir()
    server.start()
    yield spec
    server.stop()


@pytest.mark.django_db(transaction=True)
async def test_server_that_syncs_late_is_told(installation: Make, late_nats: LateNats) -> None:
    monitor = {"MESHAG_NATS_MONITOR_PORT": str(late_nats.monitor_port)}
    found = by_name(await servers.check_nats(installation(nats_url=late_nats.url, runtime=monitor)))
    assert (found["NATS"].level, found["Syncing to disk"].level) == (Level.OK, Level.WARNING)
    assert found["Streams"].seen.startswith("EVENTS is missing")


@pytest.mark.parametrize(
    ("changes", "fix"), [({"version": "2.11.4"}, "update the server to 2.12"), ({"has_jetstream": False}, "jetstream")]
)
def test_nats_that_cannot_serve_us(healthy: Installation, changes: dict[str, object], fix: str) -> None:
    finding = servers._nats_version(healthy, state(**changes))
    assert finding.level is Level.PROBLEM and fix in finding.fix


# -- rows -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("idle", "level"), [(1, Level.OK), (60, Level.PROBLEM)])
def test_bridge_that_is_behind(idle: int, level: Level) -> None:
    cursor = BridgeCursor.objects.create(stream=subjects.EVENTS, stream_created="now", sequence=4)
    BridgeCursor.objects.filter(pk=cursor.pk).update(moved_at=timezone.now() - timedelta(seconds=idle))
    finding = servers._rows(state(last_sequence=9))
    assert (finding.level, finding.seen.startswith("5 events behind")) == (level, True)


@pytest.mark.django_db
def test_bridge_that_has_written_everything() -> None:
    BridgeCursor.objects.create(stream=subjects.EVENTS, stream_created="now", sequence=9)
    assert servers._rows(state(last_sequence=9)).level is Level.OK


# -- Valkey ---------------------------------------------------------------------------------------------


async def test_valkey_as_we_start_it_is_well(healthy: Installation) -> None:
    found = await servers.check_valkey(healthy)
    assert [finding.level for finding in found] == [Level.OK] * 3
    assert found[0].seen.startswith("Valkey ")


async def test_valkey_that_is_away_shows_no_password(installation: Make) -> None:
    (finding,) = await servers.check_valkey(installation(valkey_url=f"redis://:hunter2@{NOWHERE}"))
    assert finding.level is Level.PROBLEM and "VALKEY_URL" in finding.fix and "hunter2" not in str(finding)


@pytest.fixture
def odd_valkey(tmp_path: Path) -> Iterator[RunningServer]:
    with running_valkey(tmp_path / "odd") as server:
        yield server


async def test_valkey_that_evicts_and_forgets(installation: Make, odd_valkey: RunningServer) -> None:
    async with valkey.from_url(odd_valkey.url) as client:
        for name, value in (("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru"), ("appendonly", "no")):
            await client.config_set(name, value)
    found = by_name(await servers.check_valkey(installation(valkey_url=odd_valkey.url)))
    assert "noeviction" in found["Valkey's memory"].fix
    assert "appendonly yes" in found["Valkey on disk"].fix


async def test_valkey_that_hangs_keeps_nobody(installation: Make, odd_valkey: RunningServer) -> None:
    odd_valkey.freeze()
    (finding,) = await servers.check_valkey(installation(valkey_url=odd_valkey.url))
    odd_valkey.thaw()
    assert finding.level is Level.PROBLEM


# -- database -------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_migrated_database_is_well() -> None:
    (finding,) = servers._examine_database()
    assert finding.level is Level.OK and "migrated" in finding.seen


@pytest.mark.django_db
def test_missing_migration_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions_app'")
    (finding,) = servers._examine_database()
    assert finding.level is Level.PROBLEM and "sessions_app.0001_initial" in finding.seen


async def test_database_server_that_is_away(healthy: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOST", "127.0.0.1"), ("PORT", "1"), ("PASSWORD", "hunter2")):
        monkeypatch.setitem(settings.DATABASES["default"], name, value)
    (finding,) = await servers.check_database(healthy)
    assert finding.level is Level.PROBLEM and "DATABASE_URL" in finding.fix and "hunter2" not in str(finding)
