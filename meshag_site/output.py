"""What the programs write: into a log file each, and what a person should see onto the terminal."""

import asyncio
import contextlib
import os
import queue
import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

LOG_BYTES = 10_000_000
TAIL_LINES = 8
WAITING_LINES = 1000
LAST_LINES_WITHIN = 2.0


class Terminal:
    """Plain lines, in colour only on a terminal.

    A thread writes them: nobody may have to wait for a terminal that is held, or for a pipe that nobody reads.
    Beyond `WAITING_LINES` lines are dropped and counted.
    """

    RED, YELLOW, GREY = "31", "33", "90"

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._waiting: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()
        self.verbose = verbose

    def line(self, text: str, colour: str = "") -> None:
        if colour and self._colour:
            text = f"\033[{colour}m{text}\033[0m"
        try:
            if self._dropped:
                self._waiting.put_nowait(self._missing())
                self._dropped = 0
            self._waiting.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def _missing(self) -> str:
        return f"({self._dropped} lines are not shown; they are in the logs)"

    def _write_all(self) -> None:
        try:
            while (text := self._waiting.get()) is not None:
                self._stream.write(f"{text}\n")
                self._stream.flush()
        except BrokenPipeError:  # whoever read us is gone (`make up | head`): no reason to stop
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def ready(self, name: str, text: str) -> None:
        self.line(f"  {name:<12} {text}")

    def warn(self, text: str) -> None:
        self.line(text, self.YELLOW)

    def log(self, name: str, line: str) -> None:
        self.line(f"{name} | {line}", self.GREY)

    def close(self) -> None:
        """Show what waits, if somebody reads."""
        with contextlib.suppress(queue.Full):
            if self._dropped:
                self._waiting.put(self._missing(), timeout=LAST_LINES_WITHIN)
            self._waiting.put(None, timeout=LAST_LINES_WITHIN)
        self._thread.join(LAST_LINES_WITHIN)


class Lines(asyncio.Protocol):
    """Cuts what a program writes into lines; an endless line is cut too."""

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
    """A program's log file, its last lines, and which of them a person should see."""

    _LOUD = re.compile(
        r"\b(WARN|WARNING|ERROR|CRITICAL|FATAL)\b|\[(WRN|ERR|FTL)\]" r'|"level": ?"(warning|error|critical)"'
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
        with contextlib.suppress(OSError, ValueError):  # a full disk, or closed already: no reason to stop a program
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
        with contextlib.suppress(OSError):
            self._file.close()
