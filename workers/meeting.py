"""Sessions whose people meet in a room at a provider: such a room lives and ends with its session."""

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Final

from connectors_app.base.connector import Sealed
from connectors_app.base.doors import Present, RoomWishes
from connectors_app.base.errors import ErrorKind, ProviderError
from mesh.config.problems import ConfigError, Problem
from mesh.sessions import Record
from mesh.store import StoreUnavailable
from workers.answers import Refusal, unprocessable
from workers.desk import Desk, SessionSpec, Unavailable
from workers.opening import DAILY, Entrance, keep_session
from workers.rooms import RoomKey

KEPT_LONGER: Final = 300
"""Seconds for which a session outlives its room, so that it is ended and not forgotten."""
ROOM_PATH: Final = "connectors.transport"
"""What a room provider's own refusal is about."""


async def open_meeting(desk: Desk, spec: SessionSpec) -> Entrance:
    """Room, token and session, or none of them; raises Refusal, Unavailable and StoreUnavailable.

    Nobody comes by our own socket, so the session lasts as long as its limit, counted from here.
    """
    lasts = spec.config.limits.max_duration_s
    key = RoomKey(spec.id, spec.transport, sealed_of(spec.workspace, spec.credentials))
    wishes = RoomWishes(int(time.time()) + lasts, spec.max_participants, spec.recording, spec.transcription)
    options = spec.config.options("transport", spec.transport)
    try:
        room, token = await desk.rooms.make(key, options, wishes, caller=spec.caller)
    except ProviderError as error:
        raise refused(error) from None
    async with AsyncExitStack() as undo:
        undo.callback(desk.rooms.delete, key)
        spec = replace(spec, details={**spec.details, "room_url": room.url})
        ttl = max(desk.settings.config_ttl_seconds, lasts + KEPT_LONGER)
        await keep_session(desk, spec, room.url, lasts, ttl=ttl, undo=undo)
        undo.pop_all()
    return Entrance(room.url, token, lasts)


async def key_of(desk: Desk, record: Record) -> RoomKey | None:
    """Of a session's room, with the credentials that made it, as far as they are known; None where it has none."""
    if record["transport"] != DAILY:
        return None
    session, workspace = record["session_id"], record["workspace"]
    entry = None
    with suppress(ConfigError, StoreUnavailable):
        entry = await desk.configs.get_entry(session)
    credentials = entry.credentials if entry else None
    if credentials is None:
        with suppress(Unavailable, ConfigError):
            names = desk.parse_config(entry.document).credentials if entry else {}
            credentials = dict(await desk.own_credentials(workspace, {DAILY}, names))
    return RoomKey(session, DAILY, sealed_of(workspace, credentials or {}))


async def people_in(desk: Desk, record: Record) -> tuple[Present, ...]:
    """Nobody, where the session has no room or is over; raises ProviderError."""
    if record["state"] != "created" or (key := await key_of(desk, record)) is None:
        return ()
    return await desk.rooms.people(key)


def sealed_of(workspace: str, credentials: Mapping[str, str]) -> Sealed:
    return Sealed(workspace, {DAILY: credentials[DAILY]} if DAILY in credentials else {})


def refused(error: ProviderError, what: str = "There is no room for the session") -> Refusal:
    """What the provider's failure is to who asked for the room."""
    if error.kind is ErrorKind.REQUEST:
        return unprocessable(Problem(ROOM_PATH, error.message))
    wait = {} if error.retry_after is None else {"Retry-After": str(max(1, round(error.retry_after)))}
    return Refusal(503, f"{what}: {error.message}.", headers=wait or None)
