"""`manage.py up` for real: what it starts, what it shows, and that nothing of it is left."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import subjects
from mesh.bus.client import Bus
from meshag_site.ports import DOCUMENTED
from tests.system import READY, START_DEADLINE, System, running_system

pytestmark = pytest.mark.e2e

ROLES = ("stt", "llm", "tts")
OWN_KEY = "a-key-of-the-operators-own-choice-1234"
SHELL_THAT_STAYS = ("sh", "-c", f"{sys.executable} manage.py up; true")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One start for all tests that only look."""
    with running_system(tmp_path_factory.mktemp("up")) as system:
        system.shows("Logs ")
        yield system


def get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read()


def workers(system: System, role: str) -> list[int]:
    return [pid for pid, line in system.descendants().items() if f"workers {role}" in line]


def test_everything_is_shown_as_ready(system: System) -> None:
    before = system.output.partition(READY)[0]
    for name in ("nats", "valkey", "database", "web", "bridge", "transport-1", "stt-1", "stt-2", "llm-2", "tts-2"):
        assert f"  {name:<12} " in before
    assert "not ready" not in before


def test_waiting_is_told_first(system: System) -> None:
    assert system.lines[0] == "Starting 2 servers and 11 programs ..."


def test_jobs_run_and_are_scheduled(system: System) -> None:
    for name in ("celery", "beat"):
        if not any(line.startswith(f"  {name:<12} ") for line in system.lines):
            system.shows(f"  {name:<12} ")
    assert len([line for line in system.descendants().values() if "meshag_site.celery" in line]) == 2


def test_ready_line_leads_the_addresses(system: System) -> None:
    line, after = next(line for line in system.lines if line.startswith(READY)), system.output.partition(READY)[2]
    assert system.url("MESHAG_WEB_PORT") in line and system.url("TRANSPORT_PORT") in line
    for path in ("/admin/", "/sessions", "/twilio"):
        assert path in after


@pytest.mark.accepts("M56", "M57", "M58", "M59", "M82")
@pytest.mark.parametrize("setting", ["STT_PORT", "LLM_PORT", "TTS_PORT", "TRANSPORT_PORT", "MESHAG_WEB_PORT"])
def test_service_is_healthy_on_its_port(system: System, setting: str) -> None:
    status, body = get(system.url(setting, "/health"))
    assert status == 200 and json.loads(body)["service"]


@pytest.mark.accepts("M60", "M86")
def test_nats_is_healthy_on_its_monitoring_port(system: System) -> None:
    assert get(system.url("MESHAG_NATS_MONITOR_PORT", "/healthz")) == (200, b'{"status":"ok"}')


@pytest.mark.accepts("M61", "M85")
def test_valkey_answers_on_its_port(system: System) -> None:
    with socket.create_connection(("127.0.0.1", int(system.runtime()["MESHAG_VALKEY_PORT"])), 5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"


@pytest.mark.parametrize("role", ROLES)
def test_two_workers_of_a_role_run(system: System, role: str) -> None:
    assert len(workers(system, role)) == 2


@pytest.mark.parametrize("name", ["admin-password", "api-key"])
def test_first_credentials_are_shown_once_and_kept(system: System, name: str) -> None:
    file = system.data_dir / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert system.output.count(file.read_text().strip()) == 1


def test_everything_kept_is_for_its_user_only(system: System) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in system.data_dir.rglob("*")}
    assert modes and not [path for path, mode in modes.items() if mode & 0o077]


def test_commands_find_the_servers(system: System) -> None:
    said = system.manage(
        "shell", "-c", "from django.conf import settings; print(settings.NATS_URL, settings.VALKEY_URL)"
    )
    assert f"{system.runtime()['NATS_URL']} {system.runtime()['VALKEY_URL']}" in said


def test_second_start_on_the_same_data_is_refused(system: System) -> None:
    said = system.manage("up")
    assert f"already runs with the data in {system.data_dir} (process {system.process.pid})" in said


def test_logs_are_kept_by_name(system: System) -> None:
    names = {path.name for path in (system.data_dir / "logs").iterdir()}
    assert {"nats.log", "valkey.log", "web.log", "bridge.log", "stt-1.log", "transport-1.log"} <= names


@pytest.mark.accepts("M55")
async def test_killed_worker_is_told_and_replaced(system: System) -> None:
    told: asyncio.Queue[bytes] = asyncio.Queue()
    victim = workers(system, "tts")[0]
    name = system.descendants()[victim].rpartition("--id ")[2]
    others = {pid for role in ROLES for pid in workers(system, role)} - {victim}
    async with await Bus.connect(system.runtime()["NATS_URL"], "test") as bus:
        await bus.subscribe(subjects.WORKER_GONE, lambda subject, payload, headers: told.put_nowait(payload))
        await bus.round_trip()
        os.kill(victim, signal.SIGKILL)
        assert json.loads(await asyncio.wait_for(told.get(), 5)) == {"id": name}
    system.shows("was ended by SIGKILL; it is started again")
    system.shows("is ready again")
    assert len(workers(system, "tts")) == 2
    assert others < set(system.descendants())


def test_interrupt_stops_then_all_is_found_again(tmp_path: Path) -> None:
    with running_system(tmp_path, MESHAG_API_KEY=OWN_KEY) as system:
        system.shows(READY)
        assert system.end(signal.SIGINT) == 0
        assert system.lines[-1] == "MeshAG has stopped"
        assert not (tmp_path / "runtime.json").exists()
    with running_system(tmp_path, command=SHELL_THAT_STAYS) as system:
        system.shows(f"password in {tmp_path / 'admin-password'}")
        system.shows(f"key in {tmp_path / 'api-key'}")
        assert (tmp_path / "api-key").read_text() == f"{OWN_KEY}\n"
        system.kill_only_the_first(within=START_DEADLINE)


def test_second_copy_beside_leaves_nothing(system: System, tmp_path: Path) -> None:
    with running_system(tmp_path) as other:
        other.shows(READY)
        taken = {runtime[name] for runtime in (system.runtime(), other.runtime()) for name in DOCUMENTED}
        assert len(taken) == 2 * len(DOCUMENTED)
        assert len(other.descendants()) >= 11
        other.kill_only_the_first()
    assert get(system.url("MESHAG_WEB_PORT", "/health"))[0] == 200


def test_taken_port_that_was_set_is_refused(system: System, tmp_path: Path) -> None:
    taken = system.runtime()["STT_PORT"]
    with running_system(tmp_path, STT_PORT=taken) as other:
        other.shows(f"STT_PORT={taken}: another program listens on this port")
        assert other.process.wait(START_DEADLINE) == 1


@pytest.mark.parametrize("name", ["NATS_URL", "VALKEY_URL"])
def test_given_server_that_does_not_answer(tmp_path: Path, name: str) -> None:
    scheme = "nats" if name == "NATS_URL" else "redis"
    with running_system(tmp_path, **{name: f"{scheme}://user:hunter2@127.0.0.1:1"}) as system:
        system.shows(f"CommandError: {name}: ")
        assert system.process.wait(START_DEADLINE) == 1
    assert "hunter2" not in system.output


def test_wrong_setting_of_a_worker_stops_the_start(tmp_path: Path) -> None:
    with running_system(tmp_path, MESHAG_STALL_SECONDS="abc") as system:
        system.shows("CommandError: MESHAG_STALL_SECONDS must be a number of seconds")
        assert system.process.wait(START_DEADLINE) == 1


@pytest.mark.accepts("M98")
def test_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("MESHAG_STT_WORKERS=none\n")
    with running_system(tmp_path / "data", MESHAG_ENV_FILE=str(tmp_path / "env")) as system:
        system.shows("MESHAG_STT_WORKERS must be a whole number")
