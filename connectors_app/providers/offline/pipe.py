"""Messages over the pipes of a child process, and the child's side of them. Imports little: children start with it."""

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO

HEADER = struct.Struct("<BII")
"""Kind, number of the request, length of what follows."""


class Kind(IntEnum):
    READY = 0
    ASK = 1
    CANCEL = 2
    PART = 3
    DONE = 4
    FAILED = 5


def frame(kind: Kind, number: int = 0, body: bytes = b"") -> bytes:
    return HEADER.pack(kind, number, len(body)) + body


class Pipe:
    """The child's end: requests one after another; a thread reads ahead, so that a cancelled one is known at once."""

    def __init__(self, parent: int) -> None:
        _die_with(parent)
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)  # what a library prints must not get between the messages
        self._asked: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._finished = 0

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Says that the child is ready, then waits for work until the process ends. Each gets its DONE or FAILED."""
        Thread(target=self._read, args=(sys.stdin.buffer,), daemon=True).start()
        self.send(Kind.READY)
        while True:
            number, body = self._asked.get()
            if self.is_cancelled(number):
                self.send(Kind.DONE, number)
            else:
                yield number, body
            self._finished = number
            self._cancelled.discard(number)

    def is_cancelled(self, number: int) -> bool:
        return number in self._cancelled

    def send(self, kind: Kind, number: int = 0, body: bytes = b"") -> None:
        rest = memoryview(frame(kind, number, body))
        try:
            while rest:
                rest = rest[self._out.write(rest) or 0 :]
        except BrokenPipeError:
            os._exit(0)

    def _read(self, source: BinaryIO) -> None:
        while header := source.read(HEADER.size):
            kind, number, length = HEADER.unpack(header)
            body = source.read(length)
            if kind == Kind.ASK:
                self._asked.put((number, body))
            elif number > self._finished:
                self._cancelled.add(number)
        os._exit(0)


def _die_with(parent: int) -> None:
    """Ends this process when its parent ends, even while it works; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
