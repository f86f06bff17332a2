"""A WebSocket to a provider that stays open for a whole session."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal

import aiohttp

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.failures import closed, cut, told_by_http
from connectors_app.pool import unexpected

OPEN_SECONDS = 5.0
LIVED_SECONDS = 1.0
"""A socket that lived this long is opened again at once when it ends; another one not before it is needed."""
HEARTBEAT_SECONDS = 10.0
CLOSE_SECONDS = 0.2
"""How long the other side may take to say goodbye; a frozen one must not hold up its successor."""
LARGEST_MESSAGE = 32 * 1024**2
"""Bytes: many minutes of speech. More would take the memory of all sessions."""

_OVER = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)

Socket = aiohttp.ClientWebSocketResponse[Literal[False]]
"""One that gives text as bytes, which is what the JSON decoder wants."""


async def dial(client: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> Socket:
    return await client.ws_connect(
        url,
        headers=headers,
        compress=0,
        decode_text=False,
        heartbeat=HEARTBEAT_SECONDS,
        max_msg_size=LARGEST_MESSAGE,
        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
    )


class Line:
    """Opens its socket in the background and hands over what comes in; `send` waits until it is open.

    `on_open` and `on_end` tell of each socket, `on_message` gets each message, but those in binary go to
    `on_binary` where there is one. None of them waits. What `keepalive` says is sent every so many seconds; an empty
    text is not.
    """

    def __init__(
        self,
        by: Connector,
        dial: Callable[[], Awaitable[Socket]],
        *,
        on_message: Callable[[bytes], None],
        on_end: Callable[[ProviderError], None],
        on_open: Callable[[], None] = lambda: None,
        on_binary: Callable[[bytes], None] | None = None,
        keepalive: Callable[[], str] | None = None,
        keepalive_seconds: float = 0.0,
    ) -> None:
        self._by = by
        self._dial = dial
        self._on_message = on_message
        self._on_binary = on_binary or on_message
        self._on_end = on_end
        self._on_open = on_open
        self._keepalive = keepalive
        self._keepalive_seconds = keepalive_seconds
        self._task: asyncio.Task[None] | None = None
        self._socket: asyncio.Future[Socket] | None = None
        self._closed = False

    def open(self) -> None:
        if self._task is None and not self._closed:
            self._socket = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._live(self._socket))

    async def ready(self) -> Socket:
        """Wait until the socket is open. Raises ProviderError when it cannot be opened."""
        self.open()
        if self._socket is None:
            raise cut(self._by)
        return await asyncio.shield(self._socket)

    async def send(self, message: str | bytes) -> None:
        """Raises ProviderError when the socket cannot be opened or has broken."""
        socket = await self.ready()
        with told_by_http(self._by):
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_str(message)

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _live(self, opened: asyncio.Future[Socket]) -> None:
        began = time.monotonic()
        error = cut(self._by)
        try:
            with told_by_http(self._by):
                async with asyncio.timeout(OPEN_SECONDS):
                    socket = await self._dial()
                began = time.monotonic()
                self._on_open()
                opened.set_result(socket)
                reason = await self._read(socket)
                error = closed(self._by, socket.close_code, reason)
        except ProviderError as failure:
            error = failure
        except Exception as fault:  # noqa: BLE001  # in the handler of a message
            error = unexpected(fault)
        finally:
            self._task = None
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # nobody may be waiting for it
        self._on_end(error)
        if time.monotonic() - began > LIVED_SECONDS:
            self.open()

    async def _read(self, socket: Socket) -> str:
        """Until its end; returns the reason that the other side gave."""
        keeping = asyncio.create_task(self._keep(socket, self._keepalive)) if self._keepalive else None
        try:
            while (message := await socket.receive()).type not in _OVER:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._on_binary(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self._on_message(message.data)
            return message.extra or "" if message.type is aiohttp.WSMsgType.CLOSE else ""
        finally:
            if keeping:
                keeping.cancel()
            await socket.close()

    async def _keep(self, socket: Socket, keepalive: Callable[[], str]) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            while True:
                await asyncio.sleep(self._keepalive_seconds)
                if message := keepalive():
                    await socket.send_str(message)
