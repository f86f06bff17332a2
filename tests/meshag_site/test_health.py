"""The web's own answers to load balancers and monitoring, with real servers behind them."""

import json
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from accounts_app.actions import create_api_key
from accounts_app.models import User, Workspace
from mesh.readiness import Readiness
from meshag_site import health
from sessions_app.models import Session
from tests.world import signed_in

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READINESS", Readiness("web", health.CHECKS))


@pytest.fixture
def client() -> Client:
    """A program on this machine."""
    return Client(SERVER_NAME="localhost")


def checks(response: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(response.content)["checks"]}


@pytest.fixture
def servers(settings: Settings, db: None, nats_url: str, valkey_url: str) -> Settings:
    settings.NATS_URL, settings.VALKEY_URL = nats_url, valkey_url
    return settings


def test_health_needs_no_server(client: Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "service": "web"})


def test_ready_names_every_check(client: Client, servers: Settings) -> None:
    response = client.get("/ready")
    assert response.status_code == 200
    assert {name: check["status"] for name, check in checks(response).items()} == {
        "database": "healthy",
        "nats": "healthy",
        "valkey": "healthy",
    }


@pytest.mark.parametrize(("name", "scheme"), [("NATS_URL", "nats"), ("VALKEY_URL", "redis")])
def test_a_missing_server_is_named(
    client: Client, servers: Settings, name: str, scheme: str, unused_tcp_port: int
) -> None:
    setattr(servers, name, f"{scheme}://user:s3cret@127.0.0.1:{unused_tcp_port}")
    response = client.get("/ready")
    said = checks(response)[name.removesuffix("_URL").lower()]["message"]
    assert response.status_code == 503 and response.json()["status"] == "not_ready"
    assert f"127.0.0.1:{unused_tcp_port}" in said and name in said and "s3cret" not in response.content.decode()


def test_another_server_is_not_nats(client: Client, servers: Settings) -> None:
    servers.NATS_URL = servers.VALKEY_URL.replace("redis://", "nats://")
    assert client.get("/ready").status_code == 503


def test_a_missing_table_asks_for_migrate(client: Client, servers: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_app_workspace RENAME TO elsewhere")
    response = client.get("/ready")
    assert response.status_code == 503
    assert "manage.py migrate" in checks(response)["database"]["message"]


@pytest.mark.accepts("M84")
def test_metrics_can_be_parsed(client: Client, db: None) -> None:
    families = {family.name for family in text_string_to_metric_families(client.get("/metrics").content.decode())}
    assert {"process_cpu_seconds", "meshag_web_requests", "meshag_sessions_open"} <= families


def samples(client: Client, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    found = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in found if sample.name == name and sample.labels == labels)


@pytest.mark.parametrize(("path", "status"), [("/health", "2xx"), ("/", "3xx"), ("/nowhere", "4xx")])
def test_requests_are_counted_by_outcome(client: Client, db: None, path: str, status: str) -> None:
    before = samples(client, "meshag_web_requests_total", status=status)
    client.get(path)
    after = samples(client, "meshag_web_requests_total", status=status)
    assert after - before == (2 if status == "2xx" else 1)  # the first look at the metrics is one too


def test_open_sessions_are_counted_by_state(client: Client, workspace: Workspace) -> None:
    for number, state in enumerate(("live", "live", "created", "ended")):
        ended_at = NOW if state == "ended" else None
        Session.objects.create(
            id=str(number), workspace=workspace, transport="websocket", state=state, created_at=NOW, ended_at=ended_at
        )
    assert samples(client, "meshag_sessions_open", state="live") == 2
    assert samples(client, "meshag_sessions_open", state="created") == 1
    assert samples(client, "meshag_sessions_open", state="ending") == 0


def test_metrics_need_no_database(client: Client, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sessions_app_session RENAME TO elsewhere")
    assert client.get("/metrics").status_code == 200


PRIVATE = ["/metrics", "/metrics/targets"]
FROM_OUTSIDE: list[dict[str, Any]] = [
    {"REMOTE_ADDR": "192.0.2.7"},
    {"REMOTE_ADDR": ""},
    {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"},
    {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=192.0.2.7"},
    {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"},
    {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "testserver"},
]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("where", FROM_OUTSIDE)
def test_strangers_read_no_metrics(client: Client, db: None, path: str, where: dict[str, Any]) -> None:
    assert client.get(path, **where).status_code == 403
    assert client.get(path, **where, HTTP_AUTHORIZATION="Bearer mag_unknown").status_code == 403


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_reads_metrics(client: Client, db: None, path: str, address: str) -> None:
    assert client.get(path, REMOTE_ADDR=address).status_code == 200


@pytest.mark.parametrize(("version", "status"), [("1.0", 403), ("1.1", 200)])
async def test_proxies_that_say_nothing_speak_old_http(version: str, status: int, db: None) -> None:
    scope = {"type": "http", "method": "GET", "path": "/metrics/targets", "http_version": version, "query_string": b""}
    request = ASGIRequest({**scope, "headers": [(b"host", b"localhost")], "client": ["127.0.0.1", 1]}, BytesIO())
    request.auser = sync_to_async(AnonymousUser)
    assert (await health.targets(request)).status_code == status


@pytest.mark.parametrize("path", PRIVATE)
def test_keys_and_staff_read_metrics(
    client: Client, path: str, workspace: Workspace, owner: User, operator: User
) -> None:
    _, secret = create_api_key(workspace=workspace, name="Prometheus")
    away: dict[str, Any] = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get(path, **away, HTTP_AUTHORIZATION=f"Bearer {secret}").status_code == 200
    assert signed_in(operator).get(path, **away).status_code == 200
    assert signed_in(owner).get(path, **away).status_code == 403


def test_prometheus_finds_the_workers(client: Client, settings: Settings) -> None:
    settings.RUNTIME = {"pages": {"stt-1": 8081, "stt-2": 40123}}
    assert client.get("/metrics/targets", headers={"host": "127.0.0.1:8000"}).json() == [
        {"targets": ["127.0.0.1:8081"], "labels": {"process": "stt-1", "role": "stt"}},
        {"targets": ["127.0.0.1:40123"], "labels": {"process": "stt-2", "role": "stt"}},
    ]
