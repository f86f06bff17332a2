"""Small real programs for the supervisor's tests, and waiting for processes to end without polling."""

import asyncio
import io
import os
import select
import sys
from collections.abc import Iterable
from pathlib import Path

from meshag_site.supervisor import Ending, Program

DEADLINE = 15.0
STAY = "import signal; print('up', flush=True); signal.pause()"
"""Says that it is up and stays until a signal ends it."""
DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)
"""Cannot be asked to end."""


class Screen(io.StringIO):
    """A terminal whose reader can wait for what is written."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        """Comes from the terminal's thread."""
        written = super().write(text)
        self._loop.call_soon_threadsafe(self._written.set)
        return written

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while text not in self.getvalue():
                await self._written.wait()
                self._written.clear()


def program(name: str, code: str, logs: Path, *, ending: Ending = Ending.WORK, grace: float = 5.0) -> Program:
    """Ready when its log says `up`."""

    async def probe(pid: int) -> str | None:
        return "" if "up\n" in (logs / f"{name}.log").read_text() else None

    command = [sys.executable, "-I", "-S", "-c", code]
    return Program(name=name, command=command, environment=dict(os.environ), probe=probe, ending=ending, grace=grace)


def wait_until_gone(pids: Iterable[int], deadline: float = DEADLINE) -> None:
    """Raises TimeoutError when one of the processes is still there at the deadline."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], deadline)[0]:
                raise TimeoutError(f"process {pid} is still there")
        finally:
            os.close(handle)
