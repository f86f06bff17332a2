"""The world of every test: real servers on free ports, started once for each test process when first asked for."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from xdist.scheduler import LoadScopeScheduling

from tests.servers import RunningServer, running_nats, running_valkey
from tests.world import agent, operator, other_workspace, owner, stranger, teammate, version, workspace  # noqa: F401


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Shared by all tests of the process. A test that kills its server starts its own with `running_nats`."""
    with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Shared by all tests of the process. A test that kills its server starts its own with `running_valkey`."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def nats_url(nats_server: RunningServer) -> str:
    return nats_server.url


@pytest.fixture(scope="session")
def valkey_url(valkey_server: RunningServer) -> str:
    return valkey_server.url


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file: in memory, a thread that writes would lock out one that reads."""
    database = connections["default"]
    if database.vendor == "sqlite":
        database.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


class Halves(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """The calls of tests/e2e have one process, everything else that starts a system another."""

    def _split_scope(self, nodeid: str) -> str:
        return "calls" if nodeid.startswith("tests/e2e/") else "starts"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Halves(config, log) if config.getvalue("dist") == "loadscope" else None
