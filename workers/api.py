"""The transport's HTTP: the documented session API, the telephone's webhook and the media sockets."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urljoin
from uuid import uuid4

from aiohttp import web
from pydantic import Field, JsonValue

from connectors_app.base.errors import ProviderError
from mesh.asking import JOIN_SECONDS
from mesh.config.json_text import revision
from mesh.config.problems import Problem
from mesh.config.reading import read_variables
from mesh.config.templates import with_variables
from mesh.sessions import Record
from workers import steering
from workers.access import socket_url, workspace_of
from workers.answers import Body, Name, Refusal, explained, read_json, unprocessable, validated
from workers.desk import AgentAnswer, Desk, SessionSpec
from workers.meeting import open_meeting, people_in
from workers.opening import (
    DAILY,
    TRANSPORT_PATH,
    WEBSOCKET,
    Entrance,
    check_transport,
    media_path,
    open_session,
    provided,
    read_config,
    transport_of,
)
from workers.sockets import socket_routes
from workers.steering import check_not_over, find_session
from workers.telephony import telephony_routes
from workers.wishes import Wishes

log = logging.getLogger(__name__)

NOTICE = "MeshAG-Notice"

STATUS = {"created": "Created", "live": "Active", "ending": "Active", "ended": "Ended", "failed": "Error"}
"""The documented words for a session's states."""
SHOWN = (
    "room_name",
    "room_url",
    "participants",
    "created_at",
    "updated_at",
    "session_name",
    "transport",
    "agent",
    "agent_version",
    "max_participants",
    "recording",
    "transcription",
    "notices",
    "reason",
)

Act = Callable[[Desk, web.Request, str], Awaitable[web.StreamResponse]]
"""An answer to a request in a workspace."""


def routes(desk: Desk) -> list[web.RouteDef]:
    def scoped(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        @explained
        async def answer(request: web.Request) -> web.StreamResponse:
            return await act(desk, request, await workspace_of(desk, request))

        return answer

    return [
        web.post("/sessions/with-config", scoped(create_with_config)),
        web.post("/sessions", scoped(create)),
        web.get("/sessions", scoped(list_sessions)),
        web.get("/sessions/{session}", scoped(show)),
        web.delete("/sessions/{session}", scoped(end)),
        web.get("/sessions/{session}/config", scoped(show_config)),
        web.put("/sessions/{session}/config", scoped(change_config)),
        *telephony_routes(desk),
        *socket_routes(desk),
    ]


# -- bodies ----------------------------------------------------------------------------------------------


class Room(Body):
    """What may be wished for a session's room."""

    max_participants: int | None = Field(default=None, ge=1, le=1000)
    enable_recording: bool = False
    enable_transcription: bool = True

    def wishes(self) -> Wishes:
        """Transcripts are for captions; a room's provider, who is paid for them, makes some when they are asked for."""
        return Wishes(
            max_participants=self.max_participants,
            recording=self.enable_recording,
            captions=self.enable_transcription,
            transcription=self.enable_transcription and "enable_transcription" in self.model_fields_set,
        )


class WithConfig(Room):
    config: JsonValue
    session_name: Name = ""


class RoomConfig(Room):
    name: Name = ""


class ParticipantConfig(Body):
    name: Name = ""


class NoOptions(Body):
    """Documented as an object; no transport of this version has any."""


class ForAgent(Body):
    agent: Annotated[str, Field(max_length=64)] = ""
    provider: Annotated[str, Field(max_length=64)] = ""
    room_config: RoomConfig = RoomConfig()
    participant_config: ParticipantConfig = ParticipantConfig()
    options: NoOptions = NoOptions()
    variables: JsonValue = Field(default_factory=dict)
    """For the agent's templates, beside its own or in their place."""


# -- creating --------------------------------------------------------------------------------------------


async def create_with_config(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    body = validated(WithConfig, await read_json(request))
    config = read_config(desk, body.config, "config")
    transport = transport_of(config)
    check_transport(transport, TRANSPORT_PATH)
    spec = SessionSpec(
        id=str(uuid4()),
        workspace=workspace,
        transport=transport,
        config=config,
        name=body.session_name,
        **body.wishes().granted(transport),
    )
    entrance = await _open(desk, request, spec)
    answer = {"session_id": spec.id, "room_url": entrance.url, "token": entrance.token, "config_stored": True}
    return web.json_response(answer, headers=_headers(spec))


async def create(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    body = validated(ForAgent, await read_json(request))
    agent = await desk.bridge_agent(workspace, body.agent, "")
    if agent is None:
        raise unprocessable(Problem("agent", _no_agent(body.agent)))
    spec = _agent_spec(desk, body, agent)
    check_transport(spec.transport, "provider")
    entrance = await _open(desk, request, spec)
    expires = datetime.now(UTC) + timedelta(seconds=entrance.seconds)
    answer = {
        "session_id": spec.id,
        "room_url": entrance.url,
        "room_name": spec.id,
        "meeting_token": entrance.token,
        "expires_at": expires.isoformat(),
        "provider_metadata": {"provider": spec.transport, "agent": agent.slug, "agent_version": agent.version},
    }
    return web.json_response(answer, headers=_headers(spec))


def _agent_spec(desk: Desk, body: ForAgent, agent: AgentAnswer) -> SessionSpec:
    config = read_config(desk, with_variables(agent.config, read_variables(body.variables)), "agent")
    entry = config.connectors.get("transport")
    transport = body.provider or (entry.primary if entry else WEBSOCKET)
    return SessionSpec(
        id=str(uuid4()),
        workspace=agent.workspace,
        transport=transport,
        config=config,
        agent=agent.slug,
        agent_version=agent.version,
        name=body.room_config.name,
        caller=body.participant_config.name,
        **body.room_config.wishes().granted(transport),
    )


async def _open(desk: Desk, request: web.Request, spec: SessionSpec) -> Entrance:
    spec = await provided(desk, spec)
    if spec.transport == DAILY:
        return await open_meeting(desk, spec)
    room_url = socket_url(request, desk.settings) + media_path(spec.id)
    return Entrance(room_url, await open_session(desk, spec, room_url, JOIN_SECONDS), JOIN_SECONDS)


def _no_agent(slug: str) -> str:
    return f"there is no published agent {slug!r}" if slug else "is missing, and the workspace has no default agent"


def _headers(spec: SessionSpec) -> dict[str, str]:
    return {NOTICE: "; ".join(spec.notices)} if spec.notices else {}


# -- sessions --------------------------------------------------------------------------------------------


async def list_sessions(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    wanted = request.query.get("status", "").lower()
    if wanted and wanted not in {status.lower() for status in STATUS.values()}:
        raise unprocessable(Problem("status", f"must be one of {', '.join(dict.fromkeys(STATUS.values()))}"))
    records = [record for record in (await desk.sessions.list()).values() if record["workspace"] == workspace]
    records.sort(key=lambda record: (record["created_at"], record["session_id"]), reverse=True)
    origin = socket_url(request, desk.settings)
    shown = [_shown(record, origin) for record in records]
    matching = [session for session in shown if wanted in ("", session["status"].lower())]
    return web.json_response({"sessions": matching, "total": len(matching)})


async def show(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    record = await _asked_for(desk, request, workspace)
    shown = _shown(record, socket_url(request, desk.settings))
    return web.json_response(shown | await _participants(desk, record))


async def end(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    session = (await _asked_for(desk, request, workspace))["session_id"]
    await steering.end(desk, session, "ended")
    return web.json_response({"message": "Session ended successfully", "session_id": session})


async def _participants(desk: Desk, record: Record) -> dict[str, Any]:
    """In a room, those who are there now, and null where nobody can tell; else as the record says."""
    if record["transport"] != DAILY:
        return {}
    try:
        return {"participants": [person.name for person in await people_in(desk, record)]}
    except ProviderError as error:
        log.warning("nobody tells who is in a room", extra={"session": record["session_id"], "error": error.message})
        return {"participants": None}


def _shown(record: Record, origin: str) -> dict[str, Any]:
    """A room that was not opened by HTTP has only a path: it is where we are asked."""
    shown = {"session_id": record["session_id"], "status": STATUS[record["state"]]}
    shown |= {key: record.get(key) for key in SHOWN}
    return shown | {"room_url": urljoin(origin, record["room_url"])}


async def _asked_for(desk: Desk, request: web.Request, workspace: str) -> Record:
    return await find_session(desk, request.match_info["session"], workspace)


# -- configuration ---------------------------------------------------------------------------------------


async def show_config(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    session = (await _asked_for(desk, request, workspace))["session_id"]
    document = await desk.configs.get_document(session)
    if document is None:
        raise Refusal(404, "The session has no configuration any more.")
    ttl = await desk.configs.get_config_ttl(session)
    answer = {"session_id": session, "revision": revision(document), "ttl_seconds": ttl, "config": document}
    return web.json_response(answer)


async def change_config(desk: Desk, request: web.Request, workspace: str) -> web.StreamResponse:
    """Takes effect on the session's next turn."""
    record = await _asked_for(desk, request, workspace)
    check_not_over(record)
    stored = await steering.change_config(desk, record, await read_json(request))
    return web.json_response({"session_id": record["session_id"], "revision": stored, "config_stored": True})
