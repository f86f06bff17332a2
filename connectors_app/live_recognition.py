"""What recognisers that keep one WebSocket for a whole session have in common."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import msgspec

from connectors_app.base.errors import ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.failures import garbage
from connectors_app.lasting import LastingLine
from connectors_app.line import Line, Socket


class SocketRecognition(Recognition):
    """Opens its socket before the caller speaks, and hears what it tells. Its end fails an utterance, and nothing else.

    `line` makes it a Line or a LastingLine, of what it is to be told.
    """

    _line: Line | LastingLine

    def __init__(
        self, by: Recognizer, on_interim: Callable[[str], None], line: Callable[..., Line | LastingLine]
    ) -> None:
        self._by = by
        self._on_interim = on_interim
        self._line = line(on_message=self._hear, on_end=self._end, on_open=self._restart)
        self._changed = asyncio.Event()
        self._busy = False
        """There is an utterance, which `_error` fails."""
        self._error: ProviderError | None = None

    async def __aenter__(self) -> Self:
        self._line.open()
        return self

    async def close(self) -> None:
        await self._line.close()

    @abstractmethod
    def _take(self, message: bytes) -> None:
        """Raises MsgspecError or ValueError for what the protocol does not have."""

    @abstractmethod
    def _restart(self) -> None:
        """A new socket is open. What the old one lost stays lost until the next utterance begins."""

    def _hear(self, message: bytes) -> None:
        try:
            self._take(message)
        except (msgspec.MsgspecError, ValueError):
            self._end(garbage(self._by))
        self._changed.set()

    def _end(self, error: ProviderError) -> None:
        """The first error says why; the end of the socket, which follows it, says nothing more."""
        if self._busy:
            self._error = self._error or error
            self._changed.set()

    def _raise_lost(self) -> None:
        if self._error:
            raise self._error

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._raise_lost()
            self._changed.clear()
            await self._changed.wait()


class LiveRecognition(SocketRecognition):
    """Sends an utterance as it comes, hears what is told of it, and waits for its end.

    A socket that ends within an utterance fails it. Between two of them it is opened anew, with a clock of its own.
    """

    _line: Line

    def __init__(
        self,
        by: Recognizer,
        rate: int,
        on_interim: Callable[[str], None],
        dial: Callable[[], Awaitable[Socket]],
        *,
        keepalive: Callable[[], str] | None = None,
        keepalive_seconds: float = 0.0,
    ) -> None:
        line = partial(Line, by, dial, keepalive=keepalive, keepalive_seconds=keepalive_seconds)
        super().__init__(by, on_interim, line)
        self._rate = rate
        self._sent = 0
        """Samples that this socket got; `_start` of them are of earlier utterances."""
        self._reset()

    async def begin(self) -> None:
        abandoned, self._busy = self._busy and self._sent > self._start, True
        self._reset()
        if abandoned:
            await self._ask_for_end()

    async def send(self, pcm: bytes) -> None:
        self._raise_lost()
        await self._put(pcm)
        self._sent += len(pcm) // 2

    async def finish(self) -> Transcript:
        self._raise_lost()
        if self._sent > self._start:
            self._asked = True
            await self._ask_for_end()
            while not self._is_over():
                if not await self._news(self._patience()):
                    break
        self._busy = False
        return self._transcript()

    # -- what each protocol has its own way for --------------------------------------------------------------

    async def _put(self, pcm: bytes) -> None:
        await self._line.send(pcm)

    @abstractmethod
    async def _ask_for_end(self) -> None:
        """Ask for the final text of all that was sent."""

    @abstractmethod
    def _is_complete(self) -> bool:
        """Whether all that was asked for has come."""

    def _patience(self) -> float | None:
        """Seconds to wait for what is not promised; None for what is."""
        return None

    @abstractmethod
    def _transcript(self) -> Transcript: ...

    def _reset(self) -> None:
        """An utterance begins, maybe on a new socket."""
        self._error = None
        self._start = self._sent
        self._asked = False

    # -- the socket ------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """A new socket, a new clock. What the old one lost stays lost until the next utterance begins."""
        lost = self._error
        self._sent = 0
        self._reset()
        self._error = lost

    def _is_over(self) -> bool:
        self._raise_lost()
        return self._is_complete()

    async def _news(self, seconds: float | None) -> bool:
        """Whether something came in time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _seconds(self, samples: int) -> float:
        return samples / self._rate
