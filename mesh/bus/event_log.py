"""The stored events, read by batched direct gets: no consumer to create, keep or repair on the server."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from mesh import events, subjects
from mesh.bus.errors import Unreachable
from mesh.events import Stored

log = logging.getLogger(__name__)

READ_TIMEOUT = 2.0


class EventLog:
    """Reads the event stream."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, *, after: int = 0, subject: str = ">", limit: int = 256) -> list[Stored]:
        """Up to `limit` stored events past sequence `after`, in order; raises Unreachable."""
        body = {"seq": after + 1, "next_by_subj": subject, "batch": limit}
        return [_stored(message) for message in await self._direct_get(body)]

    async def history(self, session: str, *, after: int = 0) -> list[Stored]:
        """All canonical events of a session past `after`, in order."""
        result: list[Stored] = []
        while batch := await self.read(after=after, subject=f"*.*.{session}"):
            result += [stored for stored in batch if stored.session == session]
            after = batch[-1].sequence
        return result

    async def last(self, subject: str) -> Stored | None:
        """The newest event of a subject."""
        body = {"last_by_subj": subject}
        for message in await self._direct_get(body):
            return _stored(message)
        return None

    async def _direct_get(self, body: Mapping[str, Any]) -> list[Msg]:
        """Messages of the event stream by one request, without a consumer."""
        if not self._client.is_connected:
            raise Unreachable("NATS is away")
        inbox = self._client.new_inbox()
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._client.subscribe(inbox, cb=arrived.put)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                subject = f"$JS.API.DIRECT.GET.{subjects.EVENTS}"
                await self._client.publish(subject, json.dumps(body).encode(), reply=inbox)
                return await _collect(arrived, single="batch" not in body)
        except (TimeoutError, NatsError):
            raise Unreachable("the event stream does not answer") from None
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()


async def _collect(arrived: "asyncio.Queue[Msg]", *, single: bool) -> list[Msg]:
    messages: list[Msg] = []
    while True:
        message = await arrived.get()
        status = (message.headers or {}).get("Status", "")
        if status == "503":
            raise Unreachable("the event stream is not there")
        if status:  # 204: end of batch; 404: nothing there
            return messages
        messages.append(message)
        if single:
            return messages


def _stored(message: Msg) -> Stored:
    headers = message.headers or {}
    return read_stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data)


def read_stored(subject: str, sequence: int, payload: bytes) -> Stored:
    """An event as stored; what cannot be read becomes an event of unknown type, so that readers go past it."""
    try:
        return events.decode(payload, sequence=sequence, subject=subject)
    except events.BadEvent as error:
        log.warning("unreadable event", extra={"error": str(error)})
        return Stored(
            sequence=sequence, subject=subject, id="", session="", stage="", epoch=0, at=0, type="", event=None
        )
