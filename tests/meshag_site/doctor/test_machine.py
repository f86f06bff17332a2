"""What the doctor says of the machine."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshag_site.doctor import machine
from meshag_site.doctor.findings import Installation, Level
from meshag_site.doctor.listeners import who_listens
from tests.meshag_site.doctor.conftest import Make


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize(("free", "level"), [(1e7, Level.PROBLEM), (1e9, Level.WARNING), (1e11, Level.OK)])
def test_space_of_the_data_directory(tmp_path: Path, free: float, level: Level) -> None:
    assert machine.check_space(tmp_path, free).level is level


@pytest.mark.parametrize(("kilobytes", "level"), [(1e5, Level.PROBLEM), (3e5, Level.WARNING), (4e6, Level.OK)])
def test_memory_that_is_left(kilobytes: float, level: Level) -> None:
    assert machine.check_memory(f"MemTotal: 8000000 kB\nMemAvailable: {kilobytes:.0f} kB\n").level is level


@pytest.mark.parametrize("name", ["secret-key", "credential-keys", "api-key", "admin-password"])
def test_secret_that_others_may_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("secret")
    (tmp_path / name).chmod(0o640)
    finding = machine.check_secrets(tmp_path)
    assert finding.level is Level.PROBLEM and finding.fix == f"chmod 600 {tmp_path / name}"


def test_directory_that_others_may_look_into(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert machine.check_secrets(tmp_path).fix == f"chmod 700 {tmp_path}"


def test_secrets_as_we_write_them_are_well(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "secret-key").touch(mode=0o600)
    assert machine.check_secrets(tmp_path).level is Level.OK


def test_offline_models_of_this_installation_are_there(healthy: Installation) -> None:
    found = {finding.name: finding for finding in machine._look(healthy)}
    assert found["Offline models"].level is Level.OK


def test_missing_model_is_named(tmp_path: Path) -> None:
    finding = machine.check_models(tmp_path)
    assert finding.level is Level.PROBLEM and "Silero" in finding.seen and "make up" in finding.fix


def test_packages_older_than_their_list(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    for path, at in ((tmp_path / ".venv" / "requirements.installed", 1), (tmp_path / "requirements.lock", 2)):
        path.touch()
        os.utime(path, (at, at))
    assert "requirements.lock is newer" in machine.check_python(tmp_path).seen


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens")
def test_who_listens_is_named(taken: int) -> None:
    assert f"(process {os.getpid()})" in who_listens({taken})[taken]


def test_port_that_up_would_not_get(installation: Make, taken: int) -> None:
    found = machine.check_ports(installation(runtime={}, environ={"STT_PORT": str(taken)}))
    assert f"Port {taken}" in [finding.name for finding in found]


def test_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert who_listens({80}, tmp_path) == {}
