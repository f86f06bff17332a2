"""What is done to sessions from outside their transport."""

import asyncio
from typing import Any

from asgiref.sync import async_to_sync

from accounts_app.models import Workspace
from mesh import events
from mesh.asking import Opened
from mesh.bus import Bus, Fenced
from mesh.subjects import Stage
from pipelines_app.models import AgentVersion
from sessions_app import switchboard
from sessions_app.models import Session

APPEND_WITHIN = 5.0
BROWSER = "websocket"
"""The transport of whoever talks to an agent from a page, whatever the agent's document is made for."""


def start_session(
    *,
    workspace: Workspace,
    version: AgentVersion | None = None,
    document: Any = None,
    name: str = "",
    caller: str = "",
    captions: bool = True,
) -> Opened:
    """A session of a published version, or of a document of its own; raises switchboard.TransportAway and .Refused."""
    if (version is None) == (document is None):
        raise TypeError("give a version or a document")
    who: dict[str, Any] = {}
    if version is not None:
        who = {"transport": BROWSER, "agent": version.agent.slug, "agent_version": version.number}
    return async_to_sync(switchboard.open_session)(
        workspace=workspace.slug,
        config=document if version is None else version.config,
        name=name,
        caller=caller,
        captions=captions,
        **who,
    )


def say_in_session(*, session: Session, text: str) -> None:
    """The agent says it as soon as nobody has the floor; raises switchboard.TransportAway and .Refused."""
    async_to_sync(switchboard.say)(workspace=session.workspace.slug, session=session.id, text=text)


def change_session_config(*, session: Session, config: Any) -> str:
    """The revision that holds from the next turn on; raises switchboard.TransportAway and .Refused."""
    return async_to_sync(switchboard.change_config)(workspace=session.workspace.slug, session=session.id, config=config)


def end_session(*, session: Session, reason: str = "ended") -> None:
    """Also once more; raises switchboard.TransportAway and .Refused."""
    async_to_sync(switchboard.end)(workspace=session.workspace.slug, session=session.id, reason=reason)


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
