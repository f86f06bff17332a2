"""Appends on their way to the stream: sent in order, and again under the same id until they are acknowledged."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from mesh.bus.counters import Counters
from mesh.bus.errors import WRONG_LAST_SEQUENCE, Fenced, Refused, Unreachable

BAD_REQUEST = 400
RESEND_AFTER = 1.0
WAITING_APPENDS = 20_000
"""Events of a process that may wait for NATS. Beyond that it is of no use to keep more."""


@dataclass(slots=True)
class _Append:
    token: str
    subject: str
    payload: bytes
    headers: dict[str, str]
    acknowledged: "asyncio.Future[int]"
    sent_at: float = 0.0


class Outbox:
    """The appends of a process that nobody has acknowledged yet."""

    def __init__(self, client: Client, counters: Counters) -> None:
        self._client = client
        self._counters = counters
        self._inbox = ""
        self._tokens = itertools.count(1)
        self._appends: dict[str, _Append] = {}
        self._held_back = False
        """After a loss: new appends wait until the older ones have been sent again."""
        self._stalled: set[str] = set()
        """Subjects of which an append was not taken: newer ones wait for its turn to be sent again."""

    async def open(self) -> None:
        """Listen for acknowledgements."""
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._acknowledge)

    def hold_back(self) -> None:
        """After a loss: nothing goes until `release`."""
        self._held_back = True

    async def release(self) -> None:
        """After a reconnect: send again what waits, then let new appends go."""
        await self._resend(lambda _: True)
        self._held_back = False

    def close(self) -> None:
        for append in self._appends.values():
            append.acknowledged.cancel()

    async def append(self, subject: str, payload: bytes, headers: dict[str, str]) -> "asyncio.Future[int]":
        """Send an event on its way, in order; the future tells its sequence or raises Fenced or Refused."""
        if len(self._appends) >= WAITING_APPENDS:
            raise Unreachable(f"{WAITING_APPENDS} events wait for NATS")
        token = f"{self._inbox}.{next(self._tokens)}"
        append = _Append(token, subject, payload, headers, asyncio.get_running_loop().create_future())
        self._appends[token] = append
        append.acknowledged.add_done_callback(lambda _: self._appends.pop(token, None))
        if not self._held_back and subject not in self._stalled:
            await self._send(append)
        return append.acknowledged

    async def _send(self, append: _Append) -> None:
        append.sent_at = time.monotonic()
        if self._client.is_connected:
            await self._client.publish(append.subject, append.payload, reply=append.token, headers=append.headers)

    async def _resend(self, wanted: Callable[[_Append], bool]) -> None:
        """Send again what waits, oldest first, and with it whatever is added meanwhile, so that the order holds."""
        sent: set[str] = set()
        while waiting := [a for a in self._appends.values() if a.token not in sent and wanted(a)]:
            for append in waiting:
                sent.add(append.token)
                if not append.acknowledged.done():
                    self._counters.resent += 1
                    await self._send(append)

    async def _acknowledge(self, message: Msg) -> None:
        append = self._appends.get(message.subject)
        if append is None or append.acknowledged.done():
            return
        # Nothing in it: no stream is there.
        answer: dict[str, Any] = json.loads(message.data) if message.data else {"error": {"code": 503}}
        error = answer.get("error")
        if error is None:
            self._counters.appended += 1
            append.acknowledged.set_result(int(answer["seq"]))
        elif error.get("err_code") == WRONG_LAST_SEQUENCE:
            self._counters.fenced += 1
            append.acknowledged.set_exception(Fenced(append.subject))
        elif error.get("code") == BAD_REQUEST:
            append.acknowledged.set_exception(Refused(f"{append.subject}: {error.get('description', 'refused')}"))
        else:
            self._stalled.add(append.subject)

    async def resend_late(self) -> None:
        """Appends that nobody acknowledged in time go again."""
        while True:
            await asyncio.sleep(RESEND_AFTER / 2)
            late = time.monotonic() - RESEND_AFTER
            overdue = {a.subject for a in self._appends.values() if a.sent_at < late} | self._stalled
            if overdue and self._client.is_connected and not self._held_back:
                self._stalled = overdue
                await self._resend(lambda append: append.subject in self._stalled)
                self._stalled = set()
