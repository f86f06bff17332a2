"""Opening a session: what it needs is checked first, and then everything is there or nothing is."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors_app import registry
from connectors_app.base.connector import Door, Role
from mesh.config.document import AgentConfig
from mesh.config.problems import ConfigError, Problem
from mesh.config.reading import parse
from mesh.sessions import Record
from workers.answers import Refusal, unprocessable
from workers.desk import Desk, SessionSpec
from workers.wishes import DAILY

__all__ = ["DAILY", "TWILIO", "WEBSOCKET"]

WEBSOCKET: Final = "websocket"
TWILIO: Final = "twilio"
TRANSPORTS: Final = (WEBSOCKET, TWILIO, DAILY)

TRANSPORT_PATH: Final = "config.connectors.transport.primary"
"""Where a request that has a document names the transport."""

OVER: Final = {"ending", "ended", "failed"}
"""States of a session's record in which it takes no caller; before them are `created` and `live`."""
OVER_NOW: Final = "The session is over; nobody would hear it."


def check_transport(name: str, path: str) -> None:
    """Whether sessions of this transport are made by request; raises Refusal."""
    if name == TWILIO:
        why = "sessions of twilio begin with a phone call: point the number's webhook at POST /twilio"
        raise unprocessable(Problem(path, why))
    if name not in TRANSPORTS:
        raise unprocessable(Problem(path, f"unknown transport {name[:64]!r}; allowed: {', '.join(TRANSPORTS)}"))


def parse_document(document: object) -> AgentConfig:
    """With its providers, their options and who of them has credentials; raises ConfigError."""
    config = parse(document, check_provider)
    if problems := registry.check_credentials(config.credentials):
        raise ConfigError(Problem(problem.path, problem.message) for problem in problems)
    return config


def check_provider(service: str, provider: str, options: Mapping[str, Any]) -> list[Problem]:
    """The names and options of a document's providers. Transport names are checked where sessions are opened."""
    if service not in {*Role, *Door}:
        return []
    found = registry.check_connectors({service: {"primary": provider, "config": {provider: dict(options)}}})
    prefixes = (f"connectors.{service}.config.{provider}.", f"connectors.{service}.config.{provider}")
    return [Problem(_below(problem.path, *prefixes), problem.message) for problem in found]


def _below(path: str, *prefixes: str) -> str:
    for prefix in prefixes:
        if path.startswith(prefix):
            return path[len(prefix) :]
    return ""


def providers_of(config: AgentConfig, transport: str) -> set[str]:
    """Those that the flow may ask, and the one that has the session's room."""
    asked = {name for role in Role if role in config.roles() for name in config.chain(role)}
    return asked | ({transport} & {DAILY})


async def provided(desk: Desk, spec: SessionSpec) -> SessionSpec:
    """The session with its workspace's credentials; raises Unavailable, and Refusal when a provider is missing."""
    providers = providers_of(spec.config, spec.transport)
    credentials = await desk.own_credentials(spec.workspace, providers, spec.config.credentials)
    if spec.transport == DAILY:
        _check_room(desk, credentials)
    check_providers(desk, spec.config, credentials)
    notices = (*spec.notices, *_notices(credentials))
    details = {**spec.details, "notices": list(notices)} if notices else spec.details
    return replace(spec, credentials=credentials, notices=notices, details=details)


def _notices(credentials: Mapping[str, str]) -> list[str]:
    """For those who ask for the session, in a header too: plain letters only."""
    gone = sorted(name for name, sealed in credentials.items() if not sealed)
    return [f"{name} is passed over: the workspace has no credential of the name that the agent gives" for name in gone]


def _check_room(desk: Desk, credentials: Mapping[str, str]) -> None:
    """Raises Refusal with the settings that a room needs."""
    missing = registry.get(Door.TRANSPORT, DAILY).missing_settings(desk.environ)
    if credentials.get(DAILY) == "":
        raise Refusal(503, "The workspace has no credential for daily of the name that the agent gives.")
    if missing and DAILY not in credentials:
        needed = f"A daily session needs {' and '.join(missing)} or a credential of the workspace"
        raise Refusal(503, f"{needed}; set it, or use websocket as transport.")


def check_providers(desk: Desk, config: AgentConfig, credentials: Mapping[str, str]) -> None:
    """At least one provider of each role must be usable now, by the environment or by the workspace's credentials.

    Raises Refusal with what is missing.
    """
    lacking = [
        f"{role}: {_why(desk, role, config.chain(role), credentials)}"
        for role in Role
        if role in config.roles() and _usable(desk, role, credentials).isdisjoint(config.chain(role))
    ]
    if lacking:
        raise Refusal(503, "No provider can be used. " + "; ".join(lacking))


def _usable(desk: Desk, role: Role, credentials: Mapping[str, str]) -> frozenset[str]:
    by_environment = desk.usable_providers().get(role, frozenset())
    if not by_environment:
        return by_environment  # no worker runs
    gone = {name for name, sealed in credentials.items() if not sealed}
    return (by_environment | credentials.keys()) - gone


def _why(desk: Desk, role: Role, chain: tuple[str, ...], credentials: Mapping[str, str]) -> str:
    settings, wrong = registry.missing(role, desk.environ), registry.wrong(role, desk.environ)
    known = registry.names(role)
    reasons = []
    for name in chain:
        if name not in known:
            reasons.append(f"this version has no {name}")
        elif credentials.get(name) == "":
            reasons.append(f"the workspace has no credential for {name} of the name that the agent gives")
        elif name in settings and name not in credentials:
            reasons.append(f"{name} needs {' and '.join(settings[name])} or a credential of the workspace")
        elif name in wrong and name not in credentials:
            reasons.append(f"{name} cannot be used: {wrong[name]}")
        else:
            reasons.append(f"no running {role} worker can use {name}")
    return ", ".join(reasons)


def read_config(desk: Desk, document: object, path: str) -> AgentConfig:
    """The document that a request has at `path`; raises Refusal, with paths from the request's top."""
    try:
        return desk.parse_config(document)
    except ConfigError as error:
        raise unprocessable(*error.below(path)) from None


def transport_of(config: AgentConfig) -> str:
    """The document's own; raises Refusal. `config` is what the request calls the document."""
    entry = config.connectors.get("transport")
    if entry is None:
        raise unprocessable(Problem("config.connectors.transport", "is missing: a session needs a transport"))
    return entry.primary


# -- records ---------------------------------------------------------------------------------------------


def new_record(spec: SessionSpec, room_url: str, token_ttl: int) -> Record:
    """What `session:<id>` holds; at `join_by` its first token expires.

    The call changes `state`, `participants`, `updated_at` and at the end `reason`.
    """
    moment = datetime.now(UTC)
    now = moment.isoformat()
    return {
        "session_id": spec.id,
        "workspace": spec.workspace,
        "transport": spec.transport,
        "state": "created",
        "session_name": spec.name,
        "agent": spec.agent,
        "agent_version": spec.agent_version,
        "caller": spec.caller,
        "called": spec.called,
        "call_id": spec.call_id,
        "room_name": spec.id,
        "room_url": room_url,
        "participants": [],
        "max_participants": spec.max_participants,
        "recording": spec.recording,
        "transcription": spec.captions,
        "notices": list(spec.notices),
        "reason": "",
        "join_by": (moment + timedelta(seconds=token_ttl)).isoformat(),
        "created_at": now,
        "updated_at": now,
    }


# -- opening ---------------------------------------------------------------------------------------------


def media_path(session: str) -> str:
    """Of a browser's socket, without its token."""
    return f"/media/websocket/{session}"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where the caller comes in, with which token, and for how many seconds."""

    url: str
    token: str
    seconds: int


async def open_session(desk: Desk, spec: SessionSpec, room_url: str, token_ttl: int) -> str:
    """Store, create and issue the token that lets the caller in. What fails takes everything before it along."""
    async with AsyncExitStack() as undo:
        await keep_session(desk, spec, room_url, token_ttl, ttl=desk.settings.config_ttl_seconds, undo=undo)
        undo.push_async_callback(desk.end, spec.id, "failed")
        token = await desk.tokens.issue(spec.id, spec.transport, token_ttl)
        undo.pop_all()
    return token


async def keep_session(
    desk: Desk, spec: SessionSpec, room_url: str, join_within: int, *, ttl: int, undo: AsyncExitStack
) -> None:
    """Store it for `ttl` seconds and create it. Who fails with it takes it back by `undo`."""
    undo.push_async_callback(desk.configs.delete_config, spec.id)
    await desk.configs.store_config(spec.id, spec.config, ttl, credentials=spec.credentials)
    undo.push_async_callback(desk.sessions.delete, spec.id)
    await desk.sessions.put(spec.id, new_record(spec, room_url, join_within), ttl)
    await desk.create(spec)
