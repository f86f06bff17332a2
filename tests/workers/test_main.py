"""The worker command as a process: what it says when it cannot work, and that it always ends when told to."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshag_site.ports import free_port

SECONDS = 30


@contextmanager
def worker(role: str, *arguments: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "workers", role, *arguments],
        env={**os.environ, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.nats
@pytest.mark.parametrize("role", ["llm", "transport"])
def test_a_taken_port_is_named_with_its_setting(role: str, nats_url: str, valkey_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with worker(role, "--port", port, NATS_URL=nats_url, VALKEY_URL=valkey_url) as process:
            _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1 and "Traceback" not in said
    assert f"127.0.0.1:{port}: address already in use" in said and f"{role.upper()}_PORT" in said


@pytest.mark.parametrize("role", ["llm", "transport"])
def test_a_worker_that_waits_for_nats_can_be_stopped(role: str) -> None:
    with worker(role, NATS_URL=f"nats://127.0.0.1:{free_port()}") as process:
        assert process.stderr
        waiting = next(line for line in process.stderr if "waiting for NATS" in line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert "set NATS_URL" in waiting


def test_a_wrong_setting_ends_the_start() -> None:
    with worker("llm", NATS_URL="localhost:4222") as process:
        _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said.strip()) == (1, "NATS_URL must look like nats://host[:port]")
