"""The supervisor with small real programs: it keeps them up, tells what happens, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from meshag_site.output import Terminal
from meshag_site.supervisor import ROOT, Child, Ending, Patience, StartFailed, Supervisor
from tests.meshag_site.programs import DEADLINE, DEAF, STAY, Screen, program, wait_until_gone


@dataclass
class Stage:
    """A supervisor, what it says on its terminal, and where its programs' logs are."""

    supervisor: Supervisor
    logs: Path
    screen: Screen

    async def run(self, code: str, name: str = "one", *, ending: Ending = Ending.WORK, grace: float = 5.0) -> Child:
        child = self.supervisor.start(program(name, code, self.logs, ending=ending, grace=grace))
        await self.ready(child)
        return child

    async def ready(self, child: Child) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.supervisor.until_ready(child)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    screen = Screen()
    terminal = Terminal(screen)
    async with Supervisor(logs=tmp_path, terminal=terminal) as supervisor:
        yield Stage(supervisor, tmp_path, screen)
    terminal.close()


def kill(child: Child) -> None:
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)


async def test_ready_program_is_shown(stage: Stage) -> None:
    await stage.run(STAY, "stt-1")
    await stage.screen.shows("  stt-1")


async def test_killed_program_is_started_again(stage: Stage) -> None:
    child = await stage.run(STAY)
    before = child.pid
    kill(child)
    await stage.screen.shows("one was ended by SIGKILL; it is started again")
    await stage.screen.shows("one is ready again")
    assert child.pid and child.pid != before


async def test_what_is_lacked_at_first_is_awaited(stage: Stage) -> None:
    lacks = "nats: set NATS_URL"

    async def probe(pid: int) -> str | None:
        return lacks

    child = stage.supervisor.start(replace(program("bridge", STAY, stage.logs), probe=probe, address="at 8085"))
    assert not await stage.supervisor.until_ready(child, patience=0)
    await stage.screen.shows("  bridge       is up, but not ready: nats: set NATS_URL")
    complete = asyncio.create_task(stage.supervisor.until_complete(child))
    lacks = ""
    await asyncio.wait_for(complete, DEADLINE)
    await stage.screen.shows("  bridge       at 8085")


async def test_end_of_a_worker_is_told(stage: Stage) -> None:
    gone: asyncio.Queue[str] = asyncio.Queue()
    stage.supervisor.on_worker_end = gone.put
    child = stage.supervisor.start(replace(program("stt-1", STAY, stage.logs), identity="--id"))
    await stage.ready(child)
    first = child.identity
    kill(child)
    assert await asyncio.wait_for(gone.get(), DEADLINE) == first
    await stage.ready(child)
    assert child.identity.startswith("stt-1-") and child.identity != first


async def test_only_warnings_reach_the_terminal(stage: Stage) -> None:
    lines = ["INFO quiet", "WARNING loud", "Traceback (most recent call last):", "  a", "Oops: b", "plain"]
    await stage.run(f"print(*{lines}, sep='\\n')\n{STAY}")
    await stage.screen.shows("  one  ")
    screen, log = stage.screen.getvalue(), (stage.logs / "one.log").read_text()
    assert "one | WARNING loud" in screen and "one | Oops: b" in screen
    assert "quiet" not in screen and "plain" not in screen
    assert "INFO quiet" in log and "plain" in log


async def test_deaf_program_is_killed(stage: Stage) -> None:
    child = await stage.run(DEAF, grace=0.1)
    pid = child.pid
    await stage.supervisor.stop()
    wait_until_gone([pid or 0])
    await stage.screen.shows("one          killed")


async def test_edge_ends_first_servers_last(stage: Stage) -> None:
    for name, ending in (
        ("nats", Ending.SERVER),
        ("bridge", Ending.RECORD),
        ("web", Ending.EDGE),
        ("stt", Ending.WORK),
    ):
        await stage.run(STAY, name, ending=ending)
    await stage.supervisor.stop()
    await stage.screen.shows("nats         stopped")
    stopped = [line.split()[0] for line in stage.screen.getvalue().splitlines() if line.endswith("stopped")]
    assert stopped == ["web", "stt", "bridge", "nats"]


async def test_what_a_program_started_ends_too(stage: Stage) -> None:
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {DEAF!r}]); print('child', p.pid);"
    child = await stage.run(code + STAY)
    grandchild = int(child.log.tail[0].split()[1])
    kill(child)
    await asyncio.to_thread(wait_until_gone, [grandchild])


async def test_program_that_always_ends_is_told(stage: Stage) -> None:
    stage.supervisor.start(program("broken", "print('no such model'); raise SystemExit(3)", stage.logs))
    await stage.screen.shows("broken ended with status 3, as the 2 times before")
    assert "  no such model" in stage.screen.getvalue()


async def test_program_that_cannot_start(stage: Stage) -> None:
    missing = replace(program("ghost", "", stage.logs), command=["/nonexistent/ghost"])
    child = stage.supervisor.start(missing)
    with pytest.raises(StartFailed, match="cannot be started: .*No such file"):
        await stage.supervisor.until_ready(child, first_run_only=True)


def test_delays_grow_with_quick_ends() -> None:
    patience = Patience()
    assert [patience.after(1.0) for _ in range(4)] == [0.1, 0.5, 5.0, 5.0]


def test_long_life_restores_patience() -> None:
    patience = Patience(quick_ends=3)
    assert patience.after(60.0) == 0.1 and patience.after(1.0) == 0.1


NEST = """
import asyncio, pathlib, sys
from meshag_site.output import Terminal
from meshag_site.supervisor import Supervisor
from tests.meshag_site.programs import DEAF, program

async def main(logs):
    async with Supervisor(logs=logs, terminal=Terminal(sys.stderr)) as supervisor:
        code = f"import os; grand = os.fork(); print(os.getpid(), flush=True); {DEAF}"
        child = supervisor.start(program("deaf", code, logs))
        await supervisor.until_ready(child)
        await asyncio.Event().wait()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    nest = subprocess.Popen([sys.executable, "-c", NEST, tmp_path], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert nest.stderr
    assert "deaf" in nest.stderr.readline()
    pids = [int(line) for line in (tmp_path / "deaf.log").read_text().split() if line.isdigit()]
    nest.kill()
    nest.wait()
    nest.stderr.close()
    wait_until_gone(pids)
    assert len(pids) == 2
