"""Runs programs as child processes: keeps them up, keeps their logs, tells when they are ready, ends them in order."""

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from meshag_site.output import Lines, Log, Terminal
from meshag_site.tether import Tether, die_with, kill_group

ROOT = Path(__file__).resolve().parent.parent
QUICK = 10.0
"""Seconds: who ends sooner than this after a start ended quickly."""
DELAYS = (0.1, 0.5, 5.0)
"""Seconds before the next start after the first, second, and every further quick end in a row."""
PROBE_EVERY = (0.03, 0.25)
LACKING_FOR = 10.0
"""Seconds for which a program may be up but lack something at its start, before that is told and no longer awaited."""
STILL_WAITING = 15.0
LAST_LINES_WITHIN = 1.0
NOT_STARTED = 127


class StartFailed(Exception):
    """A program did not come up and cannot; the message holds its last lines."""


class Ending(IntEnum):
    """When a program is ended: those of a lower number first, those of the same number together."""

    EDGE = 0  # what callers and browsers talk to
    WORK = 1
    RECORD = 2  # what writes down how it ended
    SERVER = 3


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    probe: Callable[[int], Awaitable[str | None]]
    """Given the process id: None when it is not up yet, empty when it is ready, else what it lacks."""
    ending: Ending = Ending.WORK
    address: str = ""
    identity: str = ""
    """The option that gives every run of this program a name of its own; a worker's end is told by that name."""
    pass_fds: Sequence[int] = ()
    grace: float = 5.0
    echo: bool = True
    """Whether its warnings are shown on the terminal."""


@dataclass(slots=True)
class Patience:
    """How long to wait before the next start. Time comes from outside."""

    quick_ends: int = 0

    def after(self, lived: float) -> float:
        self.quick_ends = self.quick_ends + 1 if lived < QUICK else 0
        return DELAYS[min(max(self.quick_ends, 1), len(DELAYS)) - 1]


class Child:
    """One program, started again whenever it ends, until `stop()`."""

    def __init__(
        self,
        program: Program,
        *,
        log: Log,
        terminal: Terminal,
        tether: Tether,
        on_end: Callable[["Child"], Awaitable[None]],
    ) -> None:
        self.program = program
        self.log = log
        self.runs = 0
        self.identity = ""
        self._terminal = terminal
        self._tether = tether
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._patience = Patience()

    @property
    def pid(self) -> int | None:
        """The running process; None between two runs."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            delay = self._patience.after(time.monotonic() - begun)
            self._tell_end(status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _run_once(self) -> int:
        """One run from start to end; its exit status, negative for a signal."""
        self.runs += 1
        lines, output = await self._open_pipe()
        try:
            process = await self._spawn(output)
        except OSError as error:
            self._receive(f"cannot be started: {error}")
            return NOT_STARTED
        finally:
            os.close(output)
        if self._stopping.is_set():  # since before it was there to be asked
            kill_group(process.pid)
        status = await process.wait()
        self._process = None
        kill_group(process.pid)  # what it started and left behind
        self._tether.release(process.pid)
        await self._on_end(self)
        with contextlib.suppress(TimeoutError):  # a process that left the group may still hold the pipe
            async with asyncio.timeout(LAST_LINES_WITHIN):
                await lines.closed
        return status

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self.program.environment,
            pass_fds=self.program.pass_fds,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
        self._tether.hold(process.pid)
        self._process = process
        return process

    async def _open_pipe(self) -> tuple[Lines, int]:
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        _, lines = await loop.connect_read_pipe(lambda: Lines(self._receive), os.fdopen(reading, "rb"))
        return lines, writing

    def _command(self) -> list[str]:
        if not self.program.identity:
            return list(self.program.command)
        self.identity = f"{self.program.name}-{os.urandom(3).hex()}"
        return [*self.program.command, self.program.identity, self.identity]

    def _receive(self, line: str) -> None:
        loud = self.log.add(line)
        if self._terminal.verbose or (loud and self.program.echo):
            self._terminal.log(self.program.name, line)

    def _tell_end(self, status: int) -> None:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self.log.add(f"-- {self.program.name} {how}; it is started again")
        if self._patience.quick_ends < len(DELAYS):
            self._terminal.warn(f"{self.program.name} {how}; it is started again")
        elif self._patience.quick_ends == len(DELAYS):
            self._terminal.warn(
                f"{self.program.name} {how}, as the {len(DELAYS) - 1} times before. It is tried again every "
                f"{DELAYS[-1]:.0f} s. {self.last_words()}"
            )

    async def probe(self) -> str | None:
        """As `Program.probe`, for the process that runs now."""
        pid = self.pid
        if pid is None:
            return None
        answer = await self.program.probe(pid)
        return answer if pid == self.pid else None

    def last_words(self) -> str:
        lines = "\n".join(f"  {line}" for line in self.log.tail) or "  (it has written nothing)"
        return f"{self.program.name}'s last lines, from {self.log.path}:\n{lines}"

    async def stop(self) -> bool:
        """Ask it to end, and after its grace time kill it. False when it had to be killed."""
        self._stopping.set()
        process = self._process
        if process is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.program.grace):
                await process.wait()
        except TimeoutError:
            kill_group(process.pid)
            await process.wait()
            return False
        return True

    def kill(self) -> None:
        self._stopping.set()
        if self._process is not None:
            kill_group(self._process.pid)


class Supervisor:
    """All children of one start. Use it with `async with`: whatever happens inside, nothing is left running."""

    def __init__(self, *, logs: Path, terminal: Terminal) -> None:
        self.children: list[Child] = []
        self.on_worker_end: Callable[[str], Awaitable[None]] = _tell_nobody
        self._logs = logs
        self._terminal = terminal
        self._tether = Tether()
        self._runs: dict[Child, asyncio.Task[None]] = {}
        self._ready: set[Child] = set()
        self._returning: dict[Child, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._tether.close()

    def start(self, program: Program) -> Child:
        child = Child(
            program,
            log=Log(self._logs / f"{program.name}.log"),
            terminal=self._terminal,
            tether=self._tether,
            on_end=self._ended,
        )
        self.children.append(child)
        self._runs[child] = asyncio.create_task(child.run(), name=program.name)
        return child

    async def _ended(self, child: Child) -> None:
        if child.identity:
            await self.on_worker_end(child.identity)
        if child in self._ready and child not in self._returning:
            self._returning[child] = asyncio.create_task(self._until_ready_again(child))

    async def _until_ready_again(self, child: Child) -> None:
        try:
            if not await self.until_ready(child):
                await self.until_complete(child)
        finally:
            del self._returning[child]

    async def until_complete(self, child: Child) -> None:
        """As `until_ready`, however long it lacks something."""
        await self.until_ready(child, patience=math.inf)

    async def until_ready(self, child: Child, *, first_run_only: bool = False, patience: float = LACKING_FOR) -> bool:
        """Wait for its probe and say so; False when it is up, but lacks something for longer than `patience`.

        With `first_run_only` an end of the program raises StartFailed.
        """
        started = told = time.monotonic()
        pause, longest = PROBE_EVERY
        while True:
            if first_run_only and child.runs > 1:
                raise StartFailed(child.last_words())
            lacks = await child.probe()
            now = time.monotonic()
            if lacks == "" or (lacks and not first_run_only and now - started > patience):
                break
            if now - told > STILL_WAITING:
                told = now
                self._terminal.warn(f"Still waiting for {child.program.name}: {lacks or f'see {child.log.path}'}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, longest)
        self._tell_ready(child, lacks)
        return not lacks

    def _tell_ready(self, child: Child, lacks: str) -> None:
        name = child.program.name
        if lacks:
            self._terminal.warn(f"  {name:<12} is up, but not ready: {lacks}")
            return
        if child in self._ready:
            self._terminal.line(f"{name} is ready again")
        else:
            self._terminal.ready(name, child.program.address)
        self._ready.add(child)

    async def stop(self) -> None:
        """End everything, callers' side first, servers last."""
        for waiting in self._returning.values():
            waiting.cancel()
        for ending in Ending:
            stage = [child for child in self.children if child.program.ending is ending and child in self._runs]
            for child, gently in zip(stage, await asyncio.gather(*(child.stop() for child in stage)), strict=True):
                await self._runs.pop(child)
                child.log.close()
                self._terminal.line(f"  {child.program.name:<12} {'stopped' if gently else 'killed'}")

    def kill(self) -> None:
        """At once, without asking."""
        for child in self.children:
            child.kill()


async def _tell_nobody(identity: str) -> None:
    """Before there is a bus."""
