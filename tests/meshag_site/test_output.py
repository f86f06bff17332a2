"""What a person sees of the programs, and what is kept."""

import io
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from meshag_site import output
from meshag_site.output import Lines, Log, Terminal


class Held(io.StringIO):
    """A terminal that somebody has stopped with Ctrl-S, until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.go.wait(10)
        return super().write(text)


def test_held_terminal_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "WAITING_LINES", 2)
    terminal = Terminal(screen := Held())
    terminal.line("first")
    screen.reached.wait(10)
    for number in range(5):
        terminal.line(str(number))
    screen.go.set()
    terminal.close()
    assert screen.getvalue().splitlines() == ["first", "0", "1", "(3 lines are not shown; they are in the logs)"]


def test_reader_that_went_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        terminal = Terminal(stream)
        terminal.line("nobody reads this")
        terminal.close()


async def test_lines_are_cut_wherever_pieces_end() -> None:
    received: list[str] = []
    lines = Lines(received.append)
    for piece in (b"on", b"e\r\ntwo\nthr", b"ee"):
        lines.data_received(piece)
    lines.connection_lost(None)
    assert received == ["one", "two", "three"] and lines.closed.done()


async def test_endless_line_is_cut() -> None:
    received: list[str] = []
    lines = Lines(received.append)
    lines.data_received(b"x" * (Lines.LONGEST + 1))
    assert len(received) == 1


@pytest.mark.parametrize(
    ("line", "loud"),
    [
        ("2026-01-01 INFO workers worker is up", False),
        ("2026-01-01 WARNING workers provider is slow", True),
        ("[7] 2026/01/01 [ERR] cannot write", True),
        ('{"level": "error"}', True),
        ("no ERRORS here", False),
    ],
)
def test_warnings_are_loud(tmp_path: Path, line: str, loud: bool) -> None:
    with closing(Log(tmp_path / "log")) as log:
        assert log.add(line) is loud


def test_full_log_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LOG_BYTES", 10)
    with closing(Log(tmp_path / "web.log")) as log:
        log.add("the first line")
        log.add("second")
    assert (tmp_path / "web.log.1").read_text() == "the first line\n"
    assert (tmp_path / "web.log").read_text() == "second\n"


def test_closed_log_takes_no_offence(tmp_path: Path) -> None:
    log = Log(tmp_path / "web.log")
    log.close()
    log.add("late")
    assert list(log.tail) == ["late"]
