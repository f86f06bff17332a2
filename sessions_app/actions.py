"""What is done to sessions from outside their transport."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from django.conf import settings
from django.utils import timezone

from accounts_app.models import Workspace
from mesh import events, subjects
from mesh.asking import JOIN_SECONDS, Opened, Person
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, Fenced, NobodyThere
from mesh.config.problems import ConfigError
from mesh.config.templates import with_variables
from mesh.sessions import SessionStore
from mesh.store import DEFAULT_TTL, ConfigStorage, StoreUnavailable, Valkey
from mesh.subjects import Stage
from pipelines_app.models import AgentVersion
from sessions_app import switchboard
from sessions_app.models import Session, State
from sessions_app.switchboard import NobodyAnswers, Refused, TransportAway

APPEND_WITHIN = 5.0
BROWSER = "websocket"
"""The transport of whoever talks to an agent from a page, whatever the agent's document is made for."""
ROOMS = "daily"
"""The transport of people who meet in a room."""


def start_session(
    *,
    workspace: Workspace,
    version: AgentVersion | None = None,
    document: Any = None,
    name: str = "",
    caller: str = "",
    captions: bool = True,
    join_within: int = JOIN_SECONDS,
    transport: str = "",
    max_participants: int | None = None,
    recording: bool = False,
    transcription: bool = False,
    variables: Mapping[str, Any] | None = None,
) -> Opened:
    """A session of a published version, or of a document of its own; raises switchboard.TransportAway and .Refused.

    `variables` stand beside those of the version, or in their place.
    Without a transport a version's caller comes by WebSocket, and a document's as the document says.
    """
    if (version is None) == (document is None):
        raise TypeError("give a version or a document")
    if version is not None and version.agent.workspace_id != workspace.pk:
        raise ValueError(f"{version} is of another workspace")
    who: dict[str, Any] = {"transport": transport}
    if version is not None:
        who = {"transport": transport or BROWSER, "agent": version.agent.slug, "agent_version": version.number}
    return async_to_sync(switchboard.open_session)(
        workspace=workspace.slug,
        config=document if version is None else with_variables(version.config, variables or {}),
        name=name,
        caller=caller,
        captions=captions,
        join_within=join_within,
        max_participants=max_participants,
        recording=recording,
        transcription=transcription,
        **who,
    )


def carrier(*, version: AgentVersion) -> str:
    """The transport of who starts a session of this version for others: its room, where its document has one."""
    match version.config:
        case {"connectors": {"transport": {"primary": str(named)}}} if named == ROOMS:
            return ROOMS
    return BROWSER


def people_in(*, session: Session) -> tuple[Person, ...]:
    """Who is in the session's room now; raises switchboard.TransportAway and .Refused."""
    if session.transport != ROOMS or session.is_over:
        return ()
    return async_to_sync(switchboard.look_in)(workspace=session.workspace.slug, session=session.id)


def say_in_session(*, session: Session, text: str) -> None:
    """The agent says it as soon as nobody has the floor; raises switchboard.TransportAway and .Refused."""
    async_to_sync(switchboard.say)(workspace=session.workspace.slug, session=session.id, text=text)


def current_config(*, session: Session) -> dict[str, Any]:
    """What holds from the session's next turn on; the row learns it with that turn.

    What the row has, where Valkey cannot be asked or has forgotten the session.
    """
    return async_to_sync(_stored_config)(session.id) or session.config


async def _stored_config(session: str) -> dict[str, Any] | None:
    valkey = Valkey(settings.VALKEY_URL)
    try:
        return await ConfigStorage(valkey).get_document(session)
    except (StoreUnavailable, ConfigError):
        return None
    finally:
        await valkey.close()


def change_session_config(*, session: Session, config: Any) -> str:
    """The revision that holds from the next turn on; raises switchboard.TransportAway and .Refused."""
    return async_to_sync(switchboard.change_config)(workspace=session.workspace.slug, session=session.id, config=config)


def end_session(*, session: Session, reason: str = "ended") -> None:
    """Also when it is over, or nobody has it any more; raises switchboard.TransportAway and .Refused."""
    try:
        async_to_sync(switchboard.end)(workspace=session.workspace.slug, session=session.id, reason=reason)
    except NobodyAnswers:
        pass
    except Refused as refused:
        if refused.status != 404:  # Valkey has forgotten a session that the rows still have
            raise
    else:
        return
    if not session.is_over:
        async_to_sync(_end_without_transport)(session, reason)


async def _end_without_transport(session: Session, reason: str) -> None:
    try:
        async with await Bus.connect(settings.NATS_URL, "web") as bus:
            if await _holder_ends(bus, session.id, reason):
                return
            is_ended = await end_in_place_of_its_transport(
                bus=bus,
                session=session.id,
                by="web",
                epoch=session.epoch,
                reason=reason,
                failed=False,
                media_ms=session.duration // timedelta(milliseconds=1),
            )
    except (BusError, TimeoutError):
        raise TransportAway("NATS does not take the session's end. Try again; see /doctor/.") from None
    if not is_ended:
        raise TransportAway("A transport has taken the session up in this moment. Try again.")
    await _forget_in_valkey(session.id, reason)


async def _holder_ends(bus: Bus, session: str, reason: str) -> bool:
    """A transport that is being stopped takes no questions, but it has its calls still."""
    command = msgspec.json.encode({"verb": "end", "reason": reason})
    try:
        await bus.request(subjects.session_command(session), command, within=switchboard.END_WITHIN)
    except NobodyThere:
        return False
    return True


async def _forget_in_valkey(session: str, reason: str) -> None:
    """What a transport that ends a session leaves there: its record, and no configuration."""
    valkey = Valkey(settings.VALKEY_URL)
    try:
        await note_end(SessionStore(valkey), session, reason, State.ENDED)
        with suppress(StoreUnavailable):
            await ConfigStorage(valkey).delete_config(session)
    finally:
        await valkey.close()


async def note_end(records: SessionStore, session: str, reason: str, state: State) -> None:
    """What the transports tell about the session. While Valkey is away the record is left to expire."""
    with suppress(StoreUnavailable):
        if record := await records.get(session):
            now = timezone.now().isoformat()
            ended = {"state": state.value, "reason": reason, "participants": [], "updated_at": now}
            await records.put(session, record | ended, DEFAULT_TTL)


async def end_in_place_of_its_transport(
    *, bus: Bus, session: str, by: str, epoch: int, reason: str, failed: bool, media_ms: int = 0
) -> bool:
    """Take the session's fence and write its end; False when somebody else has taken it first.

    `epoch` is the largest one seen. Raises Unreachable and TimeoutError; it may be tried again.
    """
    try:
        async with asyncio.timeout(APPEND_WITHIN):
            writer = await bus.take_fence(session, Stage.SESSION, owner=by, epoch=epoch + 1)
            await writer.append(events.SessionEnded(reason=reason, failed=failed, media_ms=media_ms))
    except Fenced:
        return False
    return True
