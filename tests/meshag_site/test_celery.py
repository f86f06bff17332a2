"""A real worker takes what is asked of it through a real Valkey; a broker that is away keeps nobody waiting."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery.exceptions import OperationalError
from redis import Redis

from meshag_site import background
from meshag_site.background import JOBS, WORKER, Run, read_runs
from meshag_site.celery import app
from meshag_site.supervisor import ROOT
from tests.databases import database_url
from tests.servers import RunningServer, running_valkey

START_DEADLINE = 60.0
RETENTION = "sessions_app.tasks.delete_past_retention"
WORDS = ("worker", "--pool", "threads", "--concurrency", "1", "--without-gossip", "--without-mingle")


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_valkey(tmp_path_factory.mktemp("broker")) as server:
        yield server


@contextmanager
def running_worker(broker: RunningServer, data: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = os.environ | {"VALKEY_URL": broker.url, "MESHAG_DATA_DIR": str(data)} | more
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "meshag_site.celery", *WORDS]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def wake(broker: RunningServer) -> None:
    with app.connection_for_write(broker.url) as connection:
        app.send_task(RETENTION, connection=connection)


def run_of(client: "Redis", job: str) -> Run:
    """What the worker notes of the job's next end."""
    deadline = time.monotonic() + START_DEADLINE
    while job not in (runs := read_runs(client)):
        assert time.monotonic() < deadline, f"{job} did not run"
        time.sleep(0.05)
    return runs[job]


def test_every_scheduled_job_is_there() -> None:
    app.loader.import_default_modules()
    assert set(JOBS) <= set(app.tasks)


@pytest.mark.django_db(transaction=True)
def test_worker_does_what_it_is_woken_for(broker: RunningServer, tmp_path: Path) -> None:
    with (
        running_worker(broker, tmp_path, DATABASE_URL=database_url()) as worker,
        background.connect(broker.url) as client,
    ):
        wake(broker)
        run = run_of(client, RETENTION)
        assert (run.result, run.error) == ("0 sessions deleted", "")
        assert client.zscore(background.ALIVE, background.name_of(WORKER, worker.pid))
        worker.terminate()
        assert worker.wait(START_DEADLINE) == 0
        assert not client.exists(background.ALIVE)


def test_job_that_fails_says_why(broker: RunningServer, tmp_path: Path) -> None:
    """Its data directory has a database without tables."""
    with running_worker(broker, tmp_path), background.connect(broker.url) as client:
        wake(broker)
        run = run_of(client, RETENTION)
    assert run.result == "" and "no such table" in run.error


def test_broker_that_is_away_is_told_at_once() -> None:
    begun = time.monotonic()
    with app.connection_for_write("redis://127.0.0.1:1") as connection, pytest.raises(OperationalError):
        app.send_task(RETENTION, connection=connection)
    assert time.monotonic() - begun < 5
