"""What every media wire over a WebSocket shares: the handshake's deadline, the outbox and one honest end."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import ClassVar, Self

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from workers.media.outbox import PATIENCE, Kind, Outbox
from workers.media.wire import Fact, HungUp, Opened, Reason, Wire

HANDSHAKE = 10.0
"""Seconds in which a socket has to introduce itself."""
HEARTBEAT = 10.0
"""Seconds without a byte before a ping; half of them more without an answer, and the socket is lost."""
GOODBYE = 2.0
"""Seconds for the other side to answer our close."""
FAREWELLS = {WSCloseCode.OK, WSCloseCode.GOING_AWAY, 1005}
"""Close codes of somebody who meant it; 1005 is a close without a code."""


class BadFrame(ValueError):
    """The other side sent something that cannot be read. It is counted and ignored."""


class SocketWire(Wire):
    """`async with` upgrades the request and closes the socket. A subclass speaks the protocol."""

    max_message: ClassVar[int]

    def __init__(self, request: web.BaseRequest, *, handshake: float = HANDSHAKE, patience: float = PATIENCE) -> None:
        super().__init__()
        self._request = request
        self._handshake = handshake
        self._ended: Reason | None = None
        # No compression: audio does not shrink, and each socket would hold its windows.
        self.response = web.WebSocketResponse(
            timeout=GOODBYE, heartbeat=HEARTBEAT, max_msg_size=self.max_message, compress=False, decode_text=False
        )
        self._outbox = Outbox(self.response.send_frame, self.lose, self.counts, patience=patience)

    async def __aenter__(self) -> Self:
        await self.response.prepare(self._request)
        self._outbox.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._outbox.stop()
        await self.response.close()

    @abstractmethod
    def _read(self, opcode: WSMsgType, data: bytes) -> Iterable[Fact]:
        """The facts of one frame; raises BadFrame."""

    def _explain(self, error: BadFrame) -> None:
        """Tell the other side what was wrong with its frame, where the protocol has words for it."""

    async def receive(self) -> AsyncIterator[Fact]:
        deadline: float | None = asyncio.get_running_loop().time() + self._handshake
        while True:
            fact: Fact
            for fact in await self._next(deadline):
                if isinstance(fact, Opened):
                    deadline = None
                yield fact
                if isinstance(fact, HungUp):
                    return

    async def _next(self, deadline: float | None) -> Iterable[Fact]:
        try:
            message = await self._message(deadline)
        except TimeoutError:
            return (HungUp(Reason.NEVER_OPENED),)
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return (HungUp(self._ended or self._why(message.type, message.data)),)
        try:
            return self._read(message.type, message.data)
        except BadFrame as error:
            self.counts["garbage"] += 1
            self._explain(error)
            return ()

    async def _message(self, deadline: float | None) -> WSMessage:
        if deadline is None:
            return await self.response.receive()
        async with asyncio.timeout_at(deadline):
            return await self.response.receive()

    @staticmethod
    def _why(opcode: WSMsgType, data: object) -> Reason:
        return Reason.HANGUP if opcode is WSMsgType.CLOSE and data in FAREWELLS else Reason.LOST

    def _put(self, kind: Kind, opcode: WSMsgType, data: bytes) -> None:
        self._outbox.put(kind, opcode, data)

    def lose(self) -> None:
        """Cut the socket, so that the reading side sees the end at once."""
        self._ended = self._ended or Reason.LOST
        self.counts["lost"] += 1
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, reason: str = "") -> None:
        self._ended = self._ended or Reason.CLOSED
        await self._outbox.finish()
        await self.response.close(code=WSCloseCode.OK, message=reason.encode()[:120])
