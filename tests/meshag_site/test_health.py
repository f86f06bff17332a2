"""The web's own answers to load balancers and monitoring, with real servers behind them."""

import pytest
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings


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
    assert response.json()["checks"] == {"database": "ok", "nats": "ok", "valkey": "ok"}


@pytest.mark.parametrize(("name", "scheme"), [("NATS_URL", "nats"), ("VALKEY_URL", "redis")])
def test_a_missing_server_is_named(
    client: Client, servers: Settings, name: str, scheme: str, unused_tcp_port: int
) -> None:
    setattr(servers, name, f"{scheme}://user:s3cret@127.0.0.1:{unused_tcp_port}")
    response = client.get("/ready")
    said = response.json()["checks"][name.removesuffix("_URL").lower()]
    assert response.status_code == 503 and response.json()["status"] == "not ready"
    assert f"127.0.0.1:{unused_tcp_port}" in said and name in said and "s3cret" not in response.content.decode()


def test_another_server_is_not_nats(client: Client, servers: Settings) -> None:
    servers.NATS_URL = servers.VALKEY_URL.replace("redis://", "nats://")
    assert client.get("/ready").status_code == 503


def test_a_missing_table_asks_for_migrate(client: Client, servers: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_app_workspace RENAME TO elsewhere")
    response = client.get("/ready")
    assert response.status_code == 503
    assert "manage.py migrate" in response.json()["checks"]["database"]


@pytest.mark.accepts("M84")
def test_metrics_can_be_parsed(client: Client) -> None:
    families = {family.name for family in text_string_to_metric_families(client.get("/metrics").content.decode())}
    assert "process_cpu_seconds" in families


def test_prometheus_finds_the_workers(client: Client, settings: Settings) -> None:
    settings.RUNTIME = {"pages": {"stt-1": 8081, "stt-2": 40123}}
    assert client.get("/metrics/targets", headers={"host": "127.0.0.1:8000"}).json() == [
        {"targets": ["127.0.0.1:8081"], "labels": {"process": "stt-1", "role": "stt"}},
        {"targets": ["127.0.0.1:40123"], "labels": {"process": "stt-2", "role": "stt"}},
    ]
