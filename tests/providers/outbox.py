"""What a socket's server still has to say: each message in its time, and with its fault."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.providers.backstage import break_socket, send_text
from tests.providers.steering import PROMPT, Behaviour, Fault, Faulted, forever, paced


@dataclass(frozen=True, slots=True)
class _Post:
    text: str
    due: float
    behaviour: Behaviour


class Outbox:
    """`run` sends what was posted, one after the other, until `close`.

    `refuse` says no in the provider's form and ends the socket; a stand-in without it posts its refusals. `in_order`:
    without a message, none of those comes that follow it.
    """

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        refuse: Callable[[int], Awaitable[None]] | None = None,
        *,
        in_order: bool = False,
    ) -> None:
        self._request = request
        self._socket = socket
        self._refuse = refuse
        self._in_order = in_order
        self._posts: asyncio.Queue[_Post | None] = asyncio.Queue()

    def post(self, message: str | Mapping[str, Any], behaviour: Behaviour = PROMPT) -> None:
        """A text as it is, anything else as JSON."""
        text = message if isinstance(message, str) else json.dumps(message)
        due = asyncio.get_running_loop().time() + behaviour.first_ms / 1000
        self._posts.put_nowait(_Post(text, due, behaviour))

    def close(self) -> None:
        self._posts.put_nowait(None)

    async def run_while(self, reading: Awaitable[bool]) -> None:
        """What is still due when that ends is sent if it says so."""
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self.run())
            if await reading:
                self.close()
            else:
                writer.cancel()

    async def run(self) -> None:
        held: list[_Post] = []
        while post := await self._posts.get():
            await asyncio.sleep(post.due - asyncio.get_running_loop().time())
            if post.behaviour.fault is Fault.REFUSE and self._refuse:
                await self._refuse(post.behaviour.status)
                return
            if post.behaviour.fault is Fault.NEVER:
                if self._in_order:
                    await forever()
                continue
            if post.behaviour.fault is Fault.SWAPPED:
                held.append(post)
                continue
            for one in (post, *held):
                await self._send(one)
            held.clear()
        await self._socket.close()

    async def _send(self, post: _Post) -> None:
        try:
            async for text in paced(post.behaviour, (post.text,)):
                for _ in range(2 if post.behaviour.fault is Fault.TWICE else 1):
                    await send_text(self._socket, text)
        except Faulted as faulted:
            if faulted.fault is Fault.ERROR and self._refuse:
                await self._refuse(post.behaviour.status)
            else:
                await break_socket(self._request, self._socket, faulted.fault)
