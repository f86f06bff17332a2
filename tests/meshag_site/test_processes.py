"""What `up` runs: command lines, ports, and what each program is told."""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mesh.environment import BadSetting
from meshag_site import background, ports
from meshag_site.background import BEAT, WORKER
from meshag_site.ports import LOOPBACK, listen
from meshag_site.processes import (
    Plan,
    background_programs,
    bridge_program,
    failing_checks,
    life_probe,
    pages_probe,
    plan,
    server_program,
    web_program,
    worker_programs,
)
from meshag_site.supervisor import Program

ANYWHERE = dict.fromkeys(ports.DOCUMENTED, "auto")


@pytest.fixture
def transport() -> Iterator[socket.socket]:
    with listen(0, LOOPBACK) as server:
        yield server


def planned(tmp_path: Path, **environ: str) -> Plan:
    return plan({**ANYWHERE, **environ}, tmp_path)


def words(program: Program) -> str:
    return " ".join(program.command)


@pytest.mark.accepts("M56", "M57", "M58")
def test_first_worker_has_the_roles_port(tmp_path: Path, transport: socket.socket) -> None:
    its = planned(tmp_path)
    lines = {program.name: words(program) for program in worker_programs(its, transport)}
    for role, setting in (("stt", "STT_PORT"), ("llm", "LLM_PORT"), ("tts", "TTS_PORT")):
        assert f"-m workers {role} --port {its.ports[setting]}" in lines[f"{role}-1"]


def test_two_workers_of_each_role(tmp_path: Path, transport: socket.socket) -> None:
    programs = worker_programs(planned(tmp_path), transport)
    assert [program.name for program in programs] == [
        "stt-1",
        "stt-2",
        "llm-1",
        "llm-2",
        "tts-1",
        "tts-2",
        "transport-1",
    ]
    assert len({words(program) for program in programs}) == 7


def test_number_of_workers_is_a_setting(tmp_path: Path, transport: socket.socket) -> None:
    its = planned(tmp_path, MESHAG_STT_WORKERS="0", MESHAG_TTS_WORKERS="3", MESHAG_TRANSPORT_WORKERS="2")
    names = [program.name for program in worker_programs(its, transport)]
    assert names == ["llm-1", "llm-2", "tts-1", "tts-2", "tts-3", "transport-1", "transport-2"]


@pytest.mark.parametrize(("count", "names"), [("0", []), ("3", ["celery", "beat"])])
def test_number_of_jobs_is_a_setting(tmp_path: Path, count: str, names: list[str]) -> None:
    programs = background_programs(planned(tmp_path, MESHAG_CELERY_WORKERS=count))
    assert [program.name for program in programs] == names
    assert all(f"--concurrency {count}" in words(program) for program in programs if program.name == WORKER)


async def test_probe_finds_the_process_that_lives(valkey_url: str) -> None:
    with background.connect(valkey_url) as client:
        background.note_alive(client, WORKER)
        assert await life_probe(valkey_url, WORKER)(os.getpid()) == ""
        assert await life_probe(valkey_url, WORKER)(1) is None
        assert await life_probe(valkey_url, BEAT)(os.getpid()) is None
        background.note_gone(client, WORKER)
        assert await life_probe(valkey_url, WORKER)(os.getpid()) is None


async def test_probe_does_not_take_the_last_ones_sign(valkey_url: str) -> None:
    """A container gives the same process ids again."""
    with background.connect(valkey_url) as client:
        client.zadd(background.ALIVE, {background.name_of(BEAT, 7): time.time() - background.SILENT_AFTER})
        assert await life_probe(valkey_url, BEAT)(7) is None
        client.delete(background.ALIVE)


async def test_probe_without_valkey_waits() -> None:
    assert await life_probe("redis://127.0.0.1:1", WORKER)(1) is None


@pytest.mark.parametrize("text", ["-1", "two", "65"])
def test_number_of_workers_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSetting, match="MESHAG_LLM_WORKERS must be a whole number from 0 to 64"):
        planned(tmp_path, MESHAG_LLM_WORKERS=text)


@pytest.mark.accepts("M59")
def test_transports_share_the_handed_down_socket(tmp_path: Path, transport: socket.socket) -> None:
    programs = worker_programs(planned(tmp_path, MESHAG_TRANSPORT_WORKERS="2"), transport)[-2:]
    for program in programs:
        assert program.pass_fds == [transport.fileno()]
        assert program.environment["MESHAG_TRANSPORT_FD"] == str(transport.fileno())


def test_every_program_gets_resolved_settings(tmp_path: Path, transport: socket.socket) -> None:
    its = planned(tmp_path, MESHAG_ADMIN_PASSWORD="hunter2", MESHAG_API_KEY_FILE="/key", MESHAG_ENV_FILE="/.env")
    for program in (*worker_programs(its, transport), web_program(its), bridge_program(its)):
        environment = program.environment
        assert environment["NATS_URL"] == f"nats://127.0.0.1:{its.ports['MESHAG_NATS_PORT']}"
        assert environment["VALKEY_URL"] == f"redis://127.0.0.1:{its.ports['MESHAG_VALKEY_PORT']}"
        assert environment["STT_PORT"].isdigit() and environment["MESHAG_DATA_DIR"] == str(tmp_path)
        assert not {"MESHAG_ADMIN_PASSWORD", "MESHAG_API_KEY_FILE"} & set(environment)
        assert environment["MESHAG_ENV_FILE"] == os.devnull


@pytest.mark.accepts("M60", "M61")
def test_embedded_servers_have_their_ports(tmp_path: Path) -> None:
    its = planned(tmp_path)
    nats, valkey = (server_program(server, its) for server in its.servers)
    config = (tmp_path / "nats" / "nats.conf").read_text()
    assert f":{its.ports['MESHAG_NATS_PORT']}" in config and f":{its.ports['MESHAG_NATS_MONITOR_PORT']}" in config
    assert f"--port {its.ports['MESHAG_VALKEY_PORT']}" in words(valkey)


@pytest.mark.accepts("M94", "M95")
def test_given_servers_are_not_started(tmp_path: Path) -> None:
    its = planned(tmp_path, NATS_URL="nats://nats.example:4222", REDIS_URL="redis://valkey.example:6379")
    assert its.servers == []
    assert its.environment["VALKEY_URL"] == "redis://valkey.example:6379"


@pytest.mark.accepts("M95")
@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("redis://valkey:6379", "redis://valkey:6379"),
        ("redis://:valkey@host", "redis://:valkey@host"),
        ("valkeys://valkey", "rediss://valkey"),
    ],
)
def test_only_the_scheme_is_respelled(tmp_path: Path, given: str, known: str) -> None:
    assert planned(tmp_path, VALKEY_URL=given).environment["VALKEY_URL"] == known


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFIG_TTL_SECONDS", "abc"),
        ("MESHAG_FIRST_TOKEN_SECONDS", "abc"),
        ("MESHAG_STALL_SECONDS", "0"),
        ("NATS_URL", "host:4222"),
        ("TWILIO_AUTH_TOKEN_FILE", "/nowhere"),
    ],
)
def test_wrong_setting_of_a_worker_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"^{name}"):
        planned(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("environ", "embedded"),
    [({}, "1"), ({"NATS_URL": "nats://n"}, "0"), ({"VALKEY_URL": "redis://v"}, "0"), ({"MESHAG_EMBEDDED": "0"}, "1")],
)
def test_embedded_only_when_both_are(tmp_path: Path, environ: dict[str, str], embedded: str) -> None:
    assert planned(tmp_path, **environ).environment["MESHAG_EMBEDDED"] == embedded


@pytest.mark.parametrize(("host", "near"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::", "[::1]")])
def test_this_machine_reaches_what_listens_anywhere(tmp_path: Path, host: str, near: str) -> None:
    assert replace(planned(tmp_path), host=host).url(8000, "/") == f"http://{near}:8000/"


def test_address_of_another_machine(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="MESHAG_BIND: this machine has no address '192.0.2.1'"):
        planned(tmp_path, MESHAG_BIND="192.0.2.1")


def test_server_url_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("nats://secret@nats.example\n")
    its = planned(tmp_path, NATS_URL_FILE=str(tmp_path / "url"))
    assert its.environment["NATS_URL"] == "nats://secret@nats.example"
    assert "NATS_URL_FILE" not in its.environment


def test_runtime_tells_where_everything_is(tmp_path: Path) -> None:
    its = planned(tmp_path)
    runtime = json.loads(json.dumps(its.runtime()))
    assert runtime["NATS_URL"] == its.servers[0].url
    assert set(ports.DOCUMENTED) <= set(runtime)
    assert runtime["pages"]["stt-1"] == its.ports["STT_PORT"]


CHECKS = [{"name": "nats", "status": "unhealthy", "message": "set NATS_URL"}, {"name": "valkey", "status": "healthy"}]


@pytest.mark.parametrize(("status", "expected"), [(200, ""), (503, "nats: set NATS_URL")])
async def test_probe_reads_the_pages(status: int, expected: str) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        return web.json_response({"checks": CHECKS}, status=status)

    application = web.Application()
    application.add_routes([web.get("/health", health), web.get("/ready", ready)])
    async with TestServer(application) as server:
        assert await pages_probe(LOOPBACK, server.port or 0)(0) == expected
    assert await pages_probe(LOOPBACK, server.port or 0)(0) is None


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b"{}", b'{"checks": 3}', b'{"checks": {}}', b'{"checks": [1]}'])
def test_page_without_checks_still_says_no(body: bytes) -> None:
    assert failing_checks(body) == "its /ready page says no"
