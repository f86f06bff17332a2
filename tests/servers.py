"""Real NATS and Valkey servers for tests, on free ports, with their data in a directory of the test."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from meshag_site.embedded import EmbeddedServer, ForeignServer, NatsServer, ValkeyServer
from meshag_site.ports import free_port
from meshag_site.tether import die_with

START_DEADLINE = 10.0
START_TRIES = 5


class RunningServer:
    """One server process. After `kill()` or `stop()`, `start()` brings it back: same port, same data."""

    def __init__(self, spec: EmbeddedServer) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.spec.url

    @property
    def port(self) -> int:
        return self.spec.port

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.spec.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and return when it serves."""
        command = self.spec.command()
        with (self.spec.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.spec.environment(os.environ),
                preexec_fn=die_with(os.getpid()),
            )
        deadline = time.monotonic() + START_DEADLINE
        while not self.spec.answers(self._process.pid):
            if self._process.poll() is not None:
                raise ChildProcessError(f"{self.spec.name} ended at once:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"{self.spec.name} does not answer:\n{self.log[-2000:]}")
            time.sleep(0.005)

    def kill(self) -> None:
        """As `kill -9`: no goodbye, nothing flushed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator stops it."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """The process stays and its sockets stay open, but nothing answers until `thaw()`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        self._process.wait(START_DEADLINE)
        self._process = None


def nats_spec(directory: Path, *, port: int = 0, monitor_port: int = 0) -> NatsServer:
    return NatsServer(directory=directory, port=port or free_port(), monitor_port=monitor_port or free_port())


def valkey_spec(directory: Path, *, port: int = 0) -> ValkeyServer:
    return ValkeyServer(directory=directory, port=port or free_port())


@contextlib.contextmanager
def running_nats(directory: Path, *, port: int = 0) -> Iterator[RunningServer]:
    """A NATS server with JetStream. `port` 0 is a free one."""
    with _running(nats_spec(directory, port=port), fixed=bool(port)) as server:
        yield server


@contextlib.contextmanager
def running_valkey(directory: Path, *, port: int = 0) -> Iterator[RunningServer]:
    """A Valkey server. `port` 0 is a free one."""
    with _running(valkey_spec(directory, port=port), fixed=bool(port)) as server:
        yield server


@contextlib.contextmanager
def _running(spec: EmbeddedServer, *, fixed: bool) -> Iterator[RunningServer]:
    server = _start(spec) if fixed else _start_on_a_free_port(spec)
    try:
        yield server
    finally:
        server.stop()


def _start(spec: EmbeddedServer) -> RunningServer:
    server = RunningServer(spec)
    try:
        server.start()
    except BaseException:
        server.kill()
        raise
    return server


def _start_on_a_free_port(spec: EmbeddedServer) -> RunningServer:
    """Somebody may take a free port before the server does: then another one."""
    for _ in range(START_TRIES - 1):
        with contextlib.suppress(ChildProcessError, ForeignServer):
            return _start(spec)
        spec = replace(spec, port=free_port())
    return _start(spec)
