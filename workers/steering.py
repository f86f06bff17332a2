"""What is asked of a session that is there, by whichever door: say something, change its configuration, end it."""

from collections.abc import Mapping
from contextlib import suppress

from pydantic import JsonValue

from mesh.asking import MAX_SAY
from mesh.config.document import AgentConfig, dump
from mesh.config.json_text import revision
from mesh.config.problems import ConfigError, Problem
from mesh.sessions import Record
from mesh.store import Entry
from workers.answers import Refusal, not_found, unprocessable
from workers.desk import Desk, Unavailable
from workers.opening import OVER, OVER_NOW, check_providers, providers_of


async def find_session(desk: Desk, session: str, workspace: str) -> Record:
    """The record, for its own workspace; raises Refusal and BadSessionId."""
    record = await desk.sessions.get(session)
    if record is None or record["workspace"] != workspace:
        raise not_found()
    return record


async def say(desk: Desk, record: Record, text: str) -> None:
    """The agent says it as soon as nobody has the floor; raises Refusal."""
    words = text.strip()
    if not words:
        raise unprocessable(Problem("text", "is empty; write what the agent is to say"))
    if len(words) > MAX_SAY:
        raise unprocessable(Problem("text", f"is longer than {MAX_SAY} characters"))
    if record["state"] in OVER:
        raise Refusal(409, OVER_NOW)
    if record["state"] != "live":
        raise Refusal(409, "The session has no caller yet; nobody would hear it.")
    if why := await desk.say(record["session_id"], words):
        raise Refusal(409, why)


async def end(desk: Desk, session: str, reason: str) -> None:
    """End it, once or twice, and take its configuration away; the record stays until it expires."""
    await desk.end(session, reason)
    await desk.configs.delete_config(session)


# -- configuration ---------------------------------------------------------------------------------------


def check_not_over(record: Record) -> None:
    if record["state"] in OVER:
        raise Refusal(409, "The session is over; its configuration can no longer change.")


async def change_config(desk: Desk, record: Record, document: object) -> str:
    """Holds from the next turn on. The stored revision; raises Refusal and ConfigError."""
    check_not_over(record)
    config = desk.parse_config(document)
    session, entry = record["session_id"], None
    with suppress(ConfigError):  # broken by hand: this is how it is mended
        entry = await desk.configs.get_entry(session)
    credentials = await _credentials(desk, record, config, entry)
    check_providers(desk, config, credentials or {})
    if entry:
        _check_same_transport(entry.document, config)
    ttl = await desk.configs.get_config_ttl(session) or desk.settings.config_ttl_seconds
    await desk.configs.store_config(session, config, ttl, credentials=credentials)
    return revision(dump(config))


async def _credentials(
    desk: Desk, record: Record, config: AgentConfig, entry: Entry | None
) -> Mapping[str, str] | None:
    """While nobody can tell them, a session that asks and names no others keeps those it has; raises Unavailable."""
    transport = record["transport"]
    providers = providers_of(config, transport)
    try:
        return await desk.own_credentials(record["workspace"], providers, config.credentials)
    except Unavailable:
        with suppress(ConfigError):
            before = desk.parse_config(entry.document) if entry else None
            if before and providers <= providers_of(before, transport) and config.credentials == before.credentials:
                return entry.credentials if entry else None
        raise


def _check_same_transport(stored: Mapping[str, JsonValue], config: AgentConfig) -> None:
    """The caller may be connected by now; raises Refusal."""
    match stored:
        case {"connectors": {"transport": {"primary": str(before)}}} if config.chain("transport") != (before,):
            path = "connectors.transport.primary"
            raise unprocessable(Problem(path, f"must stay {before!r}: a session cannot change its transport"))
