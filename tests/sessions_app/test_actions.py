"""What views and the API do to sessions, from threads and from the web's own loop, with and without a transport."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from accounts_app.models import Workspace
from mesh.bus.client import Bus
from mesh.events import ReplySentence, SessionCreated, SessionEnded
from mesh.roster import Beat
from pipelines_app.models import AgentVersion
from sessions_app import actions
from sessions_app.models import Session, State
from sessions_app.switchboard import Refused, TransportAway
from tests.servers import RunningServer
from tests.workers.lines import Process, transport_process
from tests.world import make_document

Away = Callable[..., Awaitable[Any]]
"""Runs a function outside the event loop."""

THREADS: list[Away] = [asyncio.to_thread, lambda act, **given: sync_to_async(act)(**given)]
"""A thread whose loops live as long as one call; one that comes back to the web's loop, as Django's views do."""


@pytest.fixture(autouse=True)
def served(own_nats: RunningServer, valkey_url: str, settings: Settings) -> None:
    settings.NATS_URL, settings.VALKEY_URL = own_nats.url, valkey_url


@pytest.fixture
async def process(own_nats: RunningServer, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(own_nats.url, valkey_url) as process:
        for role in ("stt", "llm", "tts"):
            process.transport.casting.roster.hear(Beat(id=role, role=role, providers=("openai",)), float("inf"))
        await process.meet_bridge()
        yield process


@pytest.fixture
def row(workspace: Workspace) -> Callable[[str], Session]:
    """A session as the bridge has written it."""
    return lambda session: Session(id=session, workspace=workspace, state=State.LIVE)


async def facts(bus: Bus, session: str, kind: type[Any]) -> list[Any]:
    return [stored.event for stored in await bus.history(session) if isinstance(stored.event, kind)]


# -- with a transport ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_thread", THREADS, ids=["thread", "view"])
async def test_a_version_is_started(
    process: Process, workspace: Workspace, version: AgentVersion, in_thread: Away
) -> None:
    opened = await in_thread(actions.start_session, workspace=workspace, version=version, caller="Ada")
    (created,) = await facts(process.transport.bus, opened.session, SessionCreated)
    assert (created.workspace, created.agent, created.agent_version) == ("bicycles", "shop", version.number)
    assert (created.config, created.caller) == (version.config, "Ada")


async def test_a_document_is_started_without_an_agent(process: Process, workspace: Workspace) -> None:
    document = make_document(greeting="Hello.")
    opened = await asyncio.to_thread(actions.start_session, workspace=workspace, document=document, name="Trial")
    (created,) = await facts(process.transport.bus, opened.session, SessionCreated)
    assert (created.agent, created.name, created.config) == ("", "Trial", document)


@pytest.mark.parametrize("in_thread", THREADS, ids=["thread", "view"])
async def test_a_live_session_is_talked_into_changed_and_ended(
    process: Process, workspace: Workspace, row: Callable[[str], Session], in_thread: Away
) -> None:
    opened = await in_thread(actions.start_session, workspace=workspace, document=make_document())
    wire, _ = await process.call(opened.session)
    session = row(opened.session)
    await in_thread(actions.say_in_session, session=session, text="We close soon.")
    changed = make_document(greeting="Hello.")
    assert await in_thread(actions.change_session_config, session=session, config=changed)
    await in_thread(actions.end_session, session=session, reason="ended")
    await wire.until("ended")
    assert [said.text for said in await facts(process.transport.bus, session.id, ReplySentence)] == ["We close soon."]


async def test_another_workspace_s_session_is_not_found(
    process: Process, workspace: Workspace, other_workspace: Workspace
) -> None:
    opened = await asyncio.to_thread(actions.start_session, workspace=workspace, document=make_document())
    foreign = Session(id=opened.session, workspace=other_workspace)
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(actions.say_in_session, session=foreign, text="Hello.")
    assert refused.value.status == 404


def test_another_workspace_s_version_is_not_started(other_workspace: Workspace, version: AgentVersion) -> None:
    with pytest.raises(ValueError, match="another workspace"):
        actions.start_session(workspace=other_workspace, version=version)


def test_a_session_has_one_source(workspace: Workspace, version: AgentVersion) -> None:
    with pytest.raises(TypeError):
        actions.start_session(workspace=workspace)
    with pytest.raises(TypeError):
        actions.start_session(workspace=workspace, version=version, document=make_document())


# -- without one -----------------------------------------------------------------------------------------


async def opened_and_left(nats_url: str, valkey_url: str) -> str:
    """A session whose transport has gone."""
    async with transport_process(nats_url, valkey_url) as process:
        return await process.create()


async def test_a_session_without_a_transport_is_ended(
    own_nats: RunningServer, valkey_url: str, bus: Bus, row: Callable[[str], Session]
) -> None:
    session = row(await opened_and_left(own_nats.url, valkey_url))
    await asyncio.to_thread(actions.end_session, session=session, reason="operator")
    (ended,) = await facts(bus, session.id, SessionEnded)
    assert (ended.reason, ended.failed) == ("operator", False)


async def test_nobody_joins_what_was_ended_alone(
    own_nats: RunningServer, valkey_url: str, bus: Bus, row: Callable[[str], Session]
) -> None:
    session = await opened_and_left(own_nats.url, valkey_url)
    await asyncio.to_thread(actions.end_session, session=row(session))
    async with transport_process(own_nats.url, valkey_url) as process:
        record = await process.transport.sessions.get(session)
        assert record and record["state"] == "ended"
        assert await process.transport.configs.get_document(session) is None


async def test_a_transport_that_stops_ends_its_own_call(process: Process, row: Callable[[str], Session]) -> None:
    session = await process.create()
    wire, _ = await process.call(session)
    await process.transport.take_nothing_new()
    await asyncio.to_thread(actions.end_session, session=row(session))
    await wire.until("ended")
    assert [ended.reason for ended in await facts(process.transport.bus, session, SessionEnded)] == ["ended"]


async def test_a_call_that_valkey_forgot_is_ended(process: Process, row: Callable[[str], Session]) -> None:
    session = await process.create()
    wire, _ = await process.call(session)
    await process.transport.sessions.delete(session)
    await asyncio.to_thread(actions.end_session, session=row(session))
    await wire.until("ended")
    assert len(await facts(process.transport.bus, session, SessionEnded)) == 1


async def test_a_wrong_reason_ends_nothing(
    process: Process, workspace: Workspace, row: Callable[[str], Session]
) -> None:
    opened = await asyncio.to_thread(actions.start_session, workspace=workspace, document=make_document())
    with pytest.raises(Refused, match="reason"):
        await asyncio.to_thread(actions.end_session, session=row(opened.session), reason="I say so!")
    assert await facts(process.transport.bus, opened.session, SessionEnded) == []


async def test_what_is_over_is_not_ended_alone(bus: Bus, row: Callable[[str], Session]) -> None:
    session = row("over")
    session.state = State.ENDED
    await asyncio.to_thread(actions.end_session, session=session)
    assert await facts(bus, session.id, SessionEnded) == []


def test_without_nats_nothing_is_ended(settings: Settings, row: Callable[[str], Session]) -> None:
    settings.NATS_URL = "nats://127.0.0.1:1"
    with pytest.raises(TransportAway, match="/doctor/"):
        actions.end_session(session=row("s1"))
