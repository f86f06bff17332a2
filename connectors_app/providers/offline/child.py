"""A child process that answers requests, several at a time: started when needed, replaced when it dies."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.offline.pipe import HEADER, Kind, frame

START_SECONDS = 20
CLOSE_SECONDS = 1
ANSWER_SECONDS = 5.0
"""A process that owes an answer and says nothing to anybody for so long is stuck, and replaced."""
MODEL_SECONDS = 20.0
"""The same, where an answer may be the load of a model, or a long calculation on a busy machine."""
STEADY_SECONDS = 1
"""A process that did not live so long is replaced only when it is needed."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "LANG")
"""Of the environment; the rest, keys among it, is none of the child's business."""
_ENDED = (Kind.DONE, Kind.FAILED)
_ROOT = Path(__file__).parents[3]


class ChildGone(Exception):
    """The process ended before it had answered."""


class ChildRefused(Exception):
    """The process says why it cannot do what was asked."""


class Child:
    """`module` is run with the parent's process id and `arguments`; it speaks by `pipe.Pipe`.

    The answers of a request wait in a queue of their own, so that a slow reader delays nobody. Its bound is the
    request: callers ask for no more at once than they are willing to hold.

    How long somebody waits for an answer is their own business. Whether the process is stuck is told from what it owes
    to all of them, also to those who wait no more: else one that sticks would stay, where nobody waits for long.
    """

    def __init__(self, module: str, *arguments: str, patience: float | None = None) -> None:
        self._command = ("-S", "-P", "-m", module, str(os.getpid()), *arguments)
        self._patience = patience or ANSWER_SECONDS
        self._process: Process | None = None
        self._ready: asyncio.Future[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Queue[tuple[Kind, bytes]]] = {}
        self._owed: set[int] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._last = 0
        self._is_closed = False

    @property
    def pid(self) -> int:
        """0 while no process runs."""
        return self._process.pid if self._process else 0

    async def warm(self) -> None:
        """The process runs and is ready. Raises ChildGone."""
        if self._ready is None:
            self._begin()
        assert self._ready
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self._kill()
            raise ChildGone from None

    async def ask(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The parts of the answer; closing it early cancels the request. Raises ChildGone, ChildRefused."""
        await self.warm()
        if not self._process:
            raise ChildGone
        self._last += 1
        number, answers = self._last, asyncio.Queue[tuple[Kind, bytes]]()
        self._answers[number] = answers
        kind = Kind.ASK
        self._owes(number)
        try:
            self._write(frame(Kind.ASK, number, body))
            while kind not in _ENDED:
                kind, part = await answers.get()
                if kind is Kind.PART or kind is Kind.DONE and part:
                    yield part
        finally:
            if self._answers.pop(number, None) is not None and kind not in _ENDED:
                self._write(frame(Kind.CANCEL, number))
        if kind is Kind.FAILED:
            raise ChildRefused(part.decode()) if part else ChildGone

    async def close(self) -> None:
        self._is_closed = True
        if self._reading is None:
            return
        if self._process and self._process.stdin:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._reading)
        except TimeoutError:
            self._kill()
            await self._reading

    def _owes(self, number: int) -> None:
        self._owed.add(number)
        if len(self._owed) == 1:
            self._watch()

    def _said(self, number: int, kind: Kind) -> None:
        """Whatever it says shows that it works."""
        if kind in _ENDED:
            self._owed.discard(number)
        self._watch()

    def _watch(self) -> None:
        if self._watching:
            self._watching.cancel()
        loop = asyncio.get_running_loop()
        self._watching = loop.call_later(self._patience, self._kill) if self._owed else None

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()

    def _write(self, data: bytes) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.write(data)

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """One process from its start to its end, and its replacement when it had lived well."""
        clock = asyncio.get_running_loop().time
        began = clock()
        with suppress(OSError):
            self._process = process = await self._start()
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._read(process, ready)
            await process.wait()
        self._process = self._ready = None
        if not ready.done():
            ready.set_exception(ChildGone())
            ready.exception()  # seen, also when nobody waits
        for answers in self._answers.values():
            answers.put_nowait((Kind.FAILED, b""))
        self._answers.clear()
        self._owed.clear()
        self._watch()
        if clock() - began >= STEADY_SECONDS and not self._is_closed:
            self._begin()

    def _begin(self) -> None:
        self._ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._run(self._ready))

    async def _start(self) -> Process:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join((str(_ROOT), *filter(None, sys.path)))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, stdin=PIPE, stdout=PIPE, env=environment
        )
        if self._is_closed and process.stdin:
            process.stdin.close()
        return process

    async def _read(self, process: Process, ready: asyncio.Future[None]) -> None:
        assert process.stdout
        while True:
            kind, number, length = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
            body = await process.stdout.readexactly(length)
            self._said(number, Kind(kind))
            if kind == Kind.READY:
                ready.set_result(None)
            elif answers := self._answers.get(number):
                answers.put_nowait((Kind(kind), body))


@contextmanager
def told_by_child(by: Connector) -> Iterator[None]:
    """What happens to the process, in the words of the contract."""
    try:
        yield
    except ChildRefused as refusal:
        raise ProviderError(ErrorKind.REQUEST, str(refusal)) from None
    except ChildGone:
        raise ProviderError(ErrorKind.BROKEN, f"the process of {by.label} ended; it is started again") from None


async def asked(child: Child, request: bytes) -> AsyncGenerator[bytes, None]:
    """Asks again when the process ended before it had said anything."""
    is_silent = True
    with suppress(ChildGone):
        async with aclosing(child.ask(request)) as parts:
            async for pcm in parts:
                is_silent = False
                yield pcm
        return
    if not is_silent:
        raise ChildGone
    async with aclosing(child.ask(request)) as parts:
        async for pcm in parts:
            yield pcm
