"""What no provider should send, and a socket that may go dead."""

import asyncio
import io
import wave

from aiohttp import WSMessage, web

PAGE = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Please sign in to this network.</body></html>\n"
FLOOD = b'{"a": "' + b"a" * 10 * 1024**2 + b'"}'
NOT_UTF8 = b'{"a": "\xff\xfe\xc3\x28"}'
ODD_BYTES = 1001


class Socket(web.WebSocketResponse):
    """Dead after so many messages, or once it is told so: it takes and tells nothing, and stays open."""

    def __init__(self, dead_after: int | None = None) -> None:
        super().__init__(compress=False, autoping=dead_after != 0)
        self._left = dead_after
        self._frozen = asyncio.Event()

    def freeze(self) -> None:
        self._frozen.set()

    async def receive(self, timeout: float | None = None) -> WSMessage:  # noqa: ASYNC109 - as aiohttp has it
        if self._left == 0:
            self.freeze()
        await self._stay_if_dead()
        message = await super().receive(timeout)
        await self._stay_if_dead()
        if self._left:
            self._left -= 1
        return message

    async def pong(self, message: bytes = b"") -> None:
        if not self._frozen.is_set():
            await super().pong(message)

    async def send_str(self, data: str, compress: int | None = None) -> None:
        await self._stay_if_dead()
        await super().send_str(data, compress)

    async def _stay_if_dead(self) -> None:
        if self._frozen.is_set():
            await asyncio.Event().wait()


def wav_header(rate: int = 24_000) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, rate, 0, "NONE", ""))
            sound.writeframes(b"")
        return file.getvalue()


def cut_up(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
