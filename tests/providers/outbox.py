"""What a socket's server still has to say: each message in its time, and with its fault."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.providers.backstage import break_socket, send_text
from tests.providers.steering import PROMPT, Behaviour, Fault, Faulted, paced


@dataclass(frozen=True, slots=True)
class _Post:
    payload: dict[str, Any]
    due: float
    behaviour: Behaviour


class Outbox:
    """`run` sends what was posted, one after the other, until `close`. `refuse` says no in the provider's form."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, refuse: Callable[[int], Awaitable[None]]
    ) -> None:
        self._request = request
        self._socket = socket
        self._refuse = refuse
        self._posts: asyncio.Queue[_Post | None] = asyncio.Queue()

    def post(self, payload: dict[str, Any], behaviour: Behaviour = PROMPT) -> None:
        due = asyncio.get_running_loop().time() + behaviour.first_ms / 1000
        self._posts.put_nowait(_Post(payload, due, behaviour))

    def close(self) -> None:
        self._posts.put_nowait(None)

    async def run(self) -> None:
        held: list[_Post] = []
        while post := await self._posts.get():
            await asyncio.sleep(post.due - asyncio.get_running_loop().time())
            if post.behaviour.fault is Fault.REFUSE:
                await self._refuse(post.behaviour.status)
                return
            if post.behaviour.fault is Fault.NEVER:
                continue  # what else there is to say is said
            if post.behaviour.fault is Fault.SWAPPED:
                held.append(post)
                continue
            for one in (post, *held):
                await self._send(one)
            held.clear()
        await self._socket.close()

    async def _send(self, post: _Post) -> None:
        try:
            async for payload in paced(post.behaviour, (post.payload,)):
                for _ in range(2 if post.behaviour.fault is Fault.TWICE else 1):
                    await send_text(self._socket, json.dumps(payload))
        except Faulted as faulted:
            if faulted.fault is Fault.ERROR:
                await self._refuse(post.behaviour.status)
            else:
                await break_socket(self._request, self._socket, faulted.fault)
