"""An installation with real servers behind it, of which a test changes what it is about."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshag_site.doctor.findings import Installation
from tests.servers import RunningServer

Make = Callable[..., Installation]


@pytest.fixture
def healthy(tmp_path: Path, nats_server: RunningServer, valkey_url: str) -> Installation:
    """Its servers run, its programs do not."""
    tmp_path.chmod(0o700)
    monitor = str(nats_server.spec.monitor_port)  # type: ignore[attr-defined]
    return Installation(
        data_dir=tmp_path,
        nats_url=nats_server.url,
        valkey_url=valkey_url,
        runtime={"MESHAG_NATS_MONITOR_PORT": monitor},
        environ={},
    )


@pytest.fixture
def installation(healthy: Installation) -> Make:
    def make(**changes: Any) -> Installation:
        return replace(healthy, **changes)

    return make
