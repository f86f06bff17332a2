"""Runs programs as child processes: keeps them up, keeps their logs, tells when they are ready, ends them in order."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from meshag_site.tether import Tether, die_with, kill_group

ROOT = Path(__file__).resolve().parent.parent
QUICK = 10.0
"""Seconds: who ends sooner than this after a start ended quickly."""
DELAYS = (0.1, 0.5, 5.0)
"""Seconds before the next start after the first, second, and every further quick end in a row."""
LOG_BYTES = 10_000_000
TAIL_LINES = 8
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

    @property
    def gives_up_hurry(self) -> bool:
        """True at the one end at which a person should be told."""
        return self.quick_ends == len(DELAYS)


class Terminal:
    """What the person who started us sees: plain lines, in colour only on a terminal."""

    RED, GREEN, YELLOW, GREY = "31", "32", "33", "90"

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self.verbose = verbose

    def line(self, text: str, colour: str = "") -> None:
        if colour and self._colour:
            text = f"\033[{colour}m{text}\033[0m"
        # Whoever read us may be gone (`make up | head`): that is no reason to stop.
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def ready(self, name: str, text: str) -> None:
        self.line(f"  {name:<12} {text}")

    def warn(self, text: str) -> None:
        self.line(text, self.YELLOW)

    def log(self, name: str, line: str) -> None:
        self.line(f"{name} | {line}", self.GREY)


class Lines(asyncio.Protocol):
    """Cuts what a child writes into lines; an endless line is cut too."""

    LONGEST = 65_536

    def __init__(self, receive: Callable[[str], None]) -> None:
        self._receive = receive
        self._rest = b""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._receive(line.decode(errors="replace").rstrip("\r"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._rest:
            self._receive(self._rest.decode(errors="replace"))
        if not self.closed.done():
            self.closed.set_result(None)


class Log:
    """A child's log file, its last lines, and which of them a person should see."""

    _LOUD = re.compile(
        r'\b(WARN|WARNING|ERROR|CRITICAL|FATAL)\b|\[(WRN|ERR|FTL)\]|"level": ?"(warning|error|critical)"'
    )
    _TRACEBACK = "Traceback (most recent call last):"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._in_traceback = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def _open(self) -> TextIO:
        if self.path.exists() and self.path.stat().st_size > LOG_BYTES:
            self.path.replace(self.path.with_suffix(".log.1"))
        return self.path.open("a", encoding="utf-8", buffering=1)

    def add(self, line: str) -> bool:
        """Write a line; True when it is a warning, an error, or part of a traceback."""
        self.tail.append(line)
        self._file.write(f"{line}\n")
        if self._file.tell() > LOG_BYTES:
            self._file.close()
            self._file = self._open()
        return self._is_loud(line)

    def _is_loud(self, line: str) -> bool:
        if line.startswith(self._TRACEBACK):
            self._in_traceback = True
        elif self._in_traceback and line and not line[0].isspace():
            self._in_traceback = False
            return True
        return self._in_traceback or bool(self._LOUD.search(line))

    def close(self) -> None:
        self._file.close()


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
        if self._stopping.is_set():
            process.terminate()
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
        if not self._patience.gives_up_hurry:
            self._terminal.warn(f"{self.program.name} {how}; it is started again")
            return
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
            await self.until_ready(child)
        finally:
            del self._returning[child]

    async def until_ready(self, child: Child, *, first_run_only: bool = False) -> None:
        """Wait for its probe and say so. With `first_run_only` an end of the program raises StartFailed."""
        started = told = time.monotonic()
        pause, longest = PROBE_EVERY
        while True:
            if first_run_only and child.runs > 1:
                raise StartFailed(child.last_words())
            lacks = await child.probe()
            now = time.monotonic()
            if lacks == "" or (lacks and now - started > LACKING_FOR):
                break
            if now - told > STILL_WAITING:
                told = now
                self._terminal.warn(f"Still waiting for {child.program.name}. {lacks or child.last_words()}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, longest)
        self._tell_ready(child, lacks)

    def _tell_ready(self, child: Child, lacks: str) -> None:
        name = child.program.name
        if lacks:
            self._terminal.warn(f"  {name:<12} is up, but not ready: {lacks}")
        elif child in self._ready:
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
