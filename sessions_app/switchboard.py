"""The web process's line to the transports: one request by NATS, from any event loop, however short it lives."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from mesh import asking, subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, NobodyThere, Unreachable
from mesh.config.problems import ConfigError
from mesh.config.reading import read

ANSWER_WITHIN = 5.0
END_WITHIN = 8.0
"""A transport waits up to six seconds until everything of a session's end is stored."""

OPEN_WITHIN = 8.0
"""A room may have to be made elsewhere first."""

Answer = TypeVar("Answer", asking.Opened, asking.Changed, asking.Presence, asking.Done)


class TransportAway(Exception):
    """Nobody does what is asked now; a page or the API answers with 503."""

    status = 503


class NobodyAnswers(TransportAway):
    """NATS is there, and no transport serves it."""

    def __init__(self) -> None:
        super().__init__("No transport answers; is it running? `make up` starts it; see /doctor/.")


class Refused(Exception):
    """The transport has said no; `detail` names what in a document is wrong, and where."""

    def __init__(self, status: int, message: str, detail: Iterable[asking.Detail] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = tuple(detail)


async def open_session(
    *,
    workspace: str,
    config: Any,
    transport: str = "",
    agent: str = "",
    agent_version: int = 0,
    name: str = "",
    caller: str = "",
    captions: bool = True,
    max_participants: int | None = None,
    recording: bool = False,
    transcription: bool = False,
    join_within: int = asking.JOIN_SECONDS,
) -> asking.Opened:
    """Raises TransportAway and Refused, as everything here."""
    _check(config, "config")
    question = asking.Open(
        workspace=workspace,
        config=config,
        transport=transport,
        agent=agent,
        agent_version=agent_version,
        name=name,
        caller=caller,
        captions=captions,
        max_participants=max_participants,
        recording=recording,
        transcription=transcription,
        join_within=join_within,
    )
    return await _ask(question, asking.Opened, within=OPEN_WITHIN)


async def look_in(*, workspace: str, session: str) -> tuple[asking.Person, ...]:
    """Who is in the session's room."""
    return (await _ask(asking.LookIn(workspace=workspace, session=session), asking.Presence)).people


async def say(*, workspace: str, session: str, text: str) -> None:
    await _ask(asking.Say(workspace=workspace, session=session, text=text), asking.Done)


async def end(*, workspace: str, session: str, reason: str = "ended") -> None:
    question = asking.End(workspace=workspace, session=session, reason=reason)
    await _ask(question, asking.Done, within=END_WITHIN)


async def change_config(*, workspace: str, session: str, config: Any) -> str:
    """The revision that holds from the next turn on."""
    _check(config, "")
    question = asking.ChangeConfig(workspace=workspace, session=session, config=config)
    return (await _ask(question, asking.Changed)).revision


def _check(config: Any, path: str) -> None:
    """What is no document at all might not even be written as a message."""
    try:
        read(config)
    except ConfigError as error:
        problems = error.below(path) if path else error.problems
        detail = [asking.Detail(problem.path, problem.message) for problem in problems]
        raise Refused(422, "; ".join(map(str, problems[:3])), detail) from None


async def _ask(question: asking.AnyQuestion, kind: type[Answer], *, within: float = ANSWER_WITHIN) -> Answer:
    # A connection for each question (with it 2 ms on loopback): one that is kept belongs to one event loop, and
    # `async_to_sync` may make a new loop for every call.
    try:
        async with await Bus.connect(settings.NATS_URL, "web") as bus:
            payload = await bus.request(subjects.TRANSPORT_ASK, asking.encode(question), within=within)
    except UnicodeEncodeError:
        raise Refused(422, "The text has half a character in it (a lone surrogate); take that out.") from None
    except NobodyThere:
        raise NobodyAnswers from None
    except Unreachable as error:
        raise TransportAway(f"{error}. See /doctor/.") from None
    except BusError:
        raise TransportAway(f"No transport has answered within {within:g} seconds; see /doctor/.") from None
    return _read(payload, kind)


def _read(payload: bytes, kind: type[Answer]) -> Answer:
    declined = msgspec.json.decode(payload, type=asking.Declined)
    if declined.error:
        raise Refused(declined.status, declined.error, declined.detail)
    return msgspec.json.decode(payload, type=kind)
