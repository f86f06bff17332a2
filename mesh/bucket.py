"""A key-value bucket of NATS, for small states that every process may change and all shall know.

No watcher: one on a memory bucket goes silent for ever when the server is started again. The stream republishes what it
stores, as the event stream does, and once a second is asked whether something was missed.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mesh.bus.client import Bus
from mesh.bus.errors import WRONG_LAST_SEQUENCE, BusError, NobodyThere

log = logging.getLogger(__name__)

WITHIN = 1.0
LOOK_EVERY = 1.0
NO_SUCH_STREAM = 10059
NO_SUCH_MESSAGE = 10037
NANOSECONDS = 1_000_000_000


class Outdated(BusError):
    """Somebody else has written the key since."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A key's last value. `age` in seconds, by the server's clock alone."""

    key: str
    value: bytes
    revision: int
    age: float


class Bucket:
    """Values in memory that are forgotten `seconds` after they were written."""

    def __init__(self, bus: Bus, name: str, *, seconds: float) -> None:
        self._bus = bus
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._copies = f"kept.{name}."
        self._seconds = seconds
        self._created = ""
        self._seen = 0
        self._servers_clock = 0.0
        """The server's time at the zero of our monotonic clock."""

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """Write if `after` is still the key's revision (0: it has none), and tell the new one.

        Raises Outdated, else BusError: then it is not known whether the value was stored.
        """
        try:
            answer = await self._put(key, value, after)
        except NobodyThere:
            await self._create()
            answer = await self._put(key, value, after)
        error = answer.get("error")
        if error is None:
            return int(answer["seq"])
        if error.get("err_code") == WRONG_LAST_SEQUENCE:
            raise Outdated(key)
        raise BusError(str(error.get("description", error)))

    async def _put(self, key: str, value: bytes, after: int) -> dict[str, Any]:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(after)}
        sent = await self._bus.request(self._prefix + key, value, within=WITHIN, headers=headers)
        answer: dict[str, Any] = json.loads(sent)
        return answer

    async def get(self, key: str) -> Kept | None:
        """Raises BusError."""
        answer = await self._call("STREAM.MSG.GET", {"last_by_subj": self._prefix + key})
        match _error_code(answer):
            case None:
                return self._kept(answer["message"])
            case code if code == NO_SUCH_MESSAGE:
                return None
        raise BusError(str(answer["error"].get("description")))

    async def everything(self) -> list[Kept]:
        """Every key's last value as of now; none of a bucket that nobody has made. Raises BusError."""
        answer = await self._call("STREAM.INFO", {"subjects_filter": f"{self._prefix}>"})
        if _error_code(answer) == NO_SUCH_STREAM:
            return []
        if "error" in answer:
            raise BusError(str(answer["error"].get("description")))
        self._set_clock(answer)
        subjects = answer["state"].get("subjects") or {}
        found = await asyncio.gather(*(self.get(subject.removeprefix(self._prefix)) for subject in subjects))
        return [kept for kept in found if kept]

    async def follow(self, under: str, receive: Callable[[Kept], None], renewed: Callable[[], None]) -> None:
        """For ever: every value below `under` as it is stored, and what was missed a little later, through all outages.

        `renewed`: the bucket is another one than was known, or the first: revisions from before it mean nothing.
        """
        copies = await self._bus.subscribe(
            f"{self._copies}{under}.>", lambda _, value, headers: receive(self._live(value, headers))
        )
        trouble = ""
        try:
            while True:
                try:
                    await self._catch_up(under, receive, renewed)
                    trouble = ""
                except BusError as error:  # the next look may find it
                    if not trouble:
                        log.warning("bucket cannot be read", extra={"bucket": self._stream, "error": repr(error)})
                    trouble = repr(error)
                await asyncio.sleep(LOOK_EVERY)
        finally:
            await copies.close()

    async def _catch_up(self, under: str, receive: Callable[[Kept], None], renewed: Callable[[], None]) -> None:
        info = await self._info(under)
        if info["created"] != self._created:
            self._created, self._seen = info["created"], 0
            renewed()
        state = info["state"]
        self._set_clock(info)
        if state["last_seq"] > self._seen:
            for subject in state.get("subjects") or {}:
                if kept := await self.get(subject.removeprefix(self._prefix)):
                    receive(kept)
            self._seen = state["last_seq"]

    def _set_clock(self, info: Mapping[str, Any]) -> None:
        self._servers_clock = _seconds(info["ts"]) - time.monotonic()

    async def _info(self, under: str) -> dict[str, Any]:
        body = {"subjects_filter": f"{self._prefix}{under}.>"}
        answer = await self._call("STREAM.INFO", body)
        if _error_code(answer) == NO_SUCH_STREAM:
            await self._create()
            answer = await self._call("STREAM.INFO", body)
        if "error" in answer:
            raise BusError(str(answer["error"].get("description")))
        return answer

    async def _create(self) -> None:
        """Of several that do so at once one makes it, and the others find it made."""
        await self._call("STREAM.CREATE", self._config())

    def _config(self) -> dict[str, Any]:
        """A bucket as every NATS client knows them, and republished."""
        return {
            "name": self._stream,
            "subjects": [f"{self._prefix}>"],
            "max_msgs_per_subject": 1,
            "max_age": round(self._seconds * NANOSECONDS),
            "max_bytes": 8 * 1024 * 1024,
            "storage": "memory",
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "duplicate_window": round(min(self._seconds, 120) * NANOSECONDS),
            "num_replicas": 1,
            "republish": {"src": f"{self._prefix}>", "dest": f"{self._copies}>"},
        }

    async def _call(self, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        subject = f"$JS.API.{verb}.{self._stream}"
        try:
            answer: dict[str, Any] = json.loads(
                await self._bus.request(subject, json.dumps(body).encode(), within=WITHIN)
            )
        except NobodyThere:
            raise BusError("JetStream is not there; is NATS started with it?") from None
        return answer

    def _live(self, value: bytes, headers: Mapping[str, str]) -> Kept:
        return Kept(headers["Nats-Subject"].removeprefix(self._prefix), value, int(headers["Nats-Sequence"]), 0.0)

    def _kept(self, message: Mapping[str, Any]) -> Kept:
        age = time.monotonic() + self._servers_clock - _seconds(message["time"]) if self._servers_clock else 0.0
        key = str(message["subject"]).removeprefix(self._prefix)
        return Kept(key, base64.b64decode(message.get("data", "")), int(message["seq"]), max(0.0, age))


def _error_code(answer: Mapping[str, Any]) -> int | None:
    error = answer.get("error")
    return int(error.get("err_code", 0)) if error else None


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()
