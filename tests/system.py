"""The whole of MeshAG as `make up` runs it, in a data directory of its own and on free ports."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meshag_site.ports import DOCUMENTED
from meshag_site.supervisor import ROOT
from tests.meshag_site.programs import wait_until_gone

READY = "MeshAG is ready"
START_DEADLINE = 90.0
STOP_DEADLINE = 40.0
UP = (sys.executable, "manage.py", "up")
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


class System:
    """One `manage.py up`. What it prints is kept in `lines`."""

    def __init__(self, data_dir: Path, *, command: Sequence[str] = UP, **environ: str) -> None:
        self.data_dir = data_dir
        self.environ = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **dict.fromkeys(DOCUMENTED, "auto"),
            "MESHAG_ENV_FILE": os.devnull,
            "MESHAG_DATA_DIR": str(data_dir),
            **environ,
        }
        self.lines: list[str] = []
        self._arrived: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._arrived.put(line.rstrip("\n"))
        self._arrived.put(None)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def shows(self, text: str, within: float = START_DEADLINE) -> str:
        """Wait for a line that holds `text`. Raises AssertionError with everything that was printed."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"“{text}” was not shown within {within:.0f} s:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"it ended without “{text}”:\n{self.output}")
            self.lines.append(line)
            if text in line:
                return line

    def runtime(self) -> dict[str, Any]:
        runtime: dict[str, Any] = json.loads((self.data_dir / "runtime.json").read_text())
        return runtime

    def url(self, setting: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.runtime()[setting]}{path}"

    def manage(self, *words: str) -> str:
        """A `manage.py` command beside the running system."""
        command = (sys.executable, "manage.py", *words)
        done = subprocess.run(command, cwd=ROOT, env=self._beside(), capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def _beside(self) -> dict[str, str]:
        """As the operator's other terminal: it knows the data directory and nothing else."""
        return {name: value for name, value in self.environ.items() if name not in DOCUMENTED}

    def descendants(self) -> dict[int, str]:
        """Process id and command line of everything below us."""
        return {pid: command_line(pid) for pid in below(self.process.pid)}

    def end(self, how: signal.Signals) -> int:
        """Send the signal; returns the status when every process is gone."""
        everything = [self.process.pid, *self.descendants()]
        self.process.send_signal(how)
        wait_until_gone(everything[1:], STOP_DEADLINE)
        status = self.process.wait(STOP_DEADLINE)
        self._reader.join(STOP_DEADLINE)
        while (line := self._arrived.get(timeout=STOP_DEADLINE)) is not None:
            self.lines.append(line)
        return status

    def kill_only_the_first(self, within: float = 10.0) -> None:
        """Kill the process that was started, and wait until everything below it is gone by itself."""
        pids = list(self.descendants())
        self.process.kill()
        self.process.wait()
        wait_until_gone(pids, within)

    def close(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        if self.process.stdout:
            self.process.stdout.close()


@contextlib.contextmanager
def running_system(data_dir: Path, *, command: Sequence[str] = UP, **environ: str) -> Iterator[System]:
    """Returns at once; `shows(READY)` waits. Killed at the end, if it still runs."""
    system = System(data_dir, command=command, **environ)
    try:
        yield system
    finally:
        system.close()


def below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [found for child in map(int, children) for found in (child, *below(child))]


def command_line(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return ""
