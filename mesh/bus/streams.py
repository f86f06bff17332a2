"""The streams: one canonical, kept on disk, and those that hold media in memory for some seconds."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from mesh import subjects
from mesh.bus.errors import BusError, Unreachable
from mesh.bus.messages import request
from mesh.cancelling import cancellable
from mesh.subjects import Stage

MEDIA_SECONDS = 10.0
"""How long the memory streams keep media where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A NATS server as the doctor sees it."""

    id: str
    version: str
    has_jetstream: bool
    streams: Mapping[str, str]
    """What is wrong with each of our streams; empty when nothing is."""
    last_sequence: int
    """Of the event stream."""


class Streams:
    """Makes and inspects the server's streams."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ensure(self, *, media_seconds: float | None, replicas: int) -> None:
        """Create what is missing; raises Unreachable when JetStream does not answer.

        Without `media_seconds` a media stream that is there keeps its own.
        """
        for config in _stream_configs(media_seconds or MEDIA_SECONDS, replicas):
            await self._ensure_stream(config, keeps_age=media_seconds is None)

    async def _ensure_stream(self, config: StreamConfig, *, keeps_age: bool) -> None:
        js = self._client.jetstream(timeout=2)
        assert config.name
        try:
            with cancellable():
                have = (await js.stream_info(config.name)).config
                if keeps_age:
                    config.max_age, config.duplicate_window = have.max_age, have.duplicate_window
                if (have.max_age or 0, have.num_replicas) != (config.max_age or 0, config.num_replicas):
                    await js.update_stream(config)
        except NotFoundError:
            with contextlib.suppress(APIError), cancellable():  # another process created it in the same moment
                await js.add_stream(config)
        except (TimeoutError, NatsError) as error:
            raise Unreachable(f"JetStream does not answer ({error}); is NATS started with JetStream?") from None

    async def created(self) -> str:
        """When the event stream was created: with a sequence, the whole place of a reader."""
        info = await self._jetstream_call("STREAM.INFO." + subjects.EVENTS)
        return str(info["created"])

    async def inspect(self) -> ServerState:
        """What the server is and what of ours it has; raises Unreachable. For people who look for a fault."""
        info = self._client._server_info
        streams, last = {}, 0
        for want in _stream_configs(MEDIA_SECONDS, 1) if info.get("jetstream") else []:
            assert want.name
            try:
                found = await self._client.jetstream(timeout=1).stream_info(want.name)
            except NotFoundError:
                streams[want.name] = "is missing"
            except (TimeoutError, NatsError) as error:
                raise Unreachable(f"JetStream does not answer ({error})") from None
            else:
                streams[want.name] = _differences(found.config, want)
                last = found.state.last_seq if want.name == subjects.EVENTS else last
        return ServerState(
            id=str(info.get("server_id", "")),
            version=str(info.get("version", "")),
            has_jetstream=bool(info.get("jetstream")),
            streams=streams,
            last_sequence=last,
        )

    async def purge(self, session: str) -> None:
        """Forget a session's canonical events and fences. Its rows are the archive."""
        prefixes = [*(subjects.canonical(stage, session) for stage in Stage), f"fence.{session}.*"]
        for subject in prefixes:
            await self._jetstream_call("STREAM.PURGE." + subjects.EVENTS, {"filter": subject})

    async def _jetstream_call(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body else b""
        answer: dict[str, Any] = json.loads(await request(self._client, "$JS.API." + verb, payload, within=2))
        if "error" in answer:
            raise BusError(str(answer["error"].get("description", answer["error"])))
        return answer


def _stream_configs(media_seconds: float, replicas: int) -> list[StreamConfig]:
    canonical = StreamConfig(
        name=subjects.EVENTS,
        subjects=list(subjects.EVENT_SUBJECTS),
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=replicas,
        allow_direct=True,
        duplicate_window=120,
        republish=RePublish(src=">", dest="live.>"),
    )
    media = [
        StreamConfig(
            name=name,
            subjects=list(captured),
            storage=StorageType.MEMORY,
            num_replicas=1,
            max_age=media_seconds,
            max_bytes=256 * 1024 * 1024,
            no_ack=True,
            duplicate_window=min(media_seconds, 2.0),
        )
        for name, captured in subjects.MEDIA_STREAMS.items()
    ]
    return [canonical, *media]


def _differences(have: StreamConfig, want: StreamConfig) -> str:
    """What of a stream would lose events or keep them from their readers; empty when nothing does."""
    lacking = sorted({*(want.subjects or [])} - {*(have.subjects or [])})
    found = [f"does not take {', '.join(lacking)}"] if lacking else []
    if have.storage != want.storage:
        found.append(f"is kept in {have.storage}, not {want.storage}")
    if (have.republish and have.republish.dest) != (want.republish and want.republish.dest):
        found.append("does not republish what it has stored")
    if want.storage == StorageType.FILE and have.max_age:
        found.append(f"forgets after {have.max_age:.0f} s")
    return " and ".join(found)
