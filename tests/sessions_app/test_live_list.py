"""The socket of the list of sessions: rows change and appear."""

import asyncio
import re
from typing import Self

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from accounts_app.models import User, Workspace
from mesh import events
from meshag_site.asgi import application
from sessions_app import list_consumer
from sessions_app.nudges import workspace_group
from sessions_app.watching import SIGNED_OUT
from tests.sessions_app.conftest import refused_once
from tests.sessions_app.stories import Story, Write, created
from tests.world import signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels_on_valkey")]

ROW = re.compile(r'<tr [^>]*id="row-([\w-]+)"[^>]*>.*?class="badge (\w+)"', re.DOTALL)


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What heals by the next look does so at once."""
    monkeypatch.setattr(list_consumer, "EVERY", 0.05)
    monkeypatch.setattr(list_consumer, "LOOK_EVERY", 0.2)


class List:
    """A browser's list as htmx keeps it: all rows anew, or one by its id."""

    def __init__(self, user: User | None, query: str = "", origin: str = "http://localhost") -> None:
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        if user is not None:
            headers.append((b"cookie", f"sessionid={signed_in(user).cookies['sessionid'].value}".encode()))
        self.socket = WebsocketCommunicator(application, f"/live/sessions/{query}", headers=headers)
        self.rows: dict[str, str] = {}

    async def open(self) -> bool:
        accepted, _ = await self.socket.connect(timeout=5)
        return bool(accepted)

    async def until(self, rows: dict[str, str]) -> Self:
        async with asyncio.timeout(15):
            while self.rows != rows:
                html = await self.socket.receive_from(timeout=15)
                shown = dict(ROW.findall(html))
                self.rows = shown if "innerHTML:#sessions" in html else self.rows | shown
        return self


async def nudge(workspace: Workspace) -> None:
    message = {"type": "workspace.nudge", "sessions": ["s1"]}
    await get_channel_layer().group_send(workspace_group(workspace.pk), message)


async def test_rows_appear_and_change(owner: User, workspace: Workspace, story: Story, write: Write) -> None:
    shown = await sync_to_async(List)(owner)
    assert await shown.open()
    await sync_to_async(write)(story.tell(created()))
    await nudge(workspace)
    await shown.until({"s1": "created"})
    await sync_to_async(write)(story.tell(events.SessionLive(worker="w", rate=8000)))
    await nudge(workspace)
    await shown.until({"s1": "live"})
    await shown.socket.disconnect()


async def test_what_ends_leaves_the_live_ones(owner: User, workspace: Workspace, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), events.SessionLive(worker="w", rate=8000)))
    shown = await sync_to_async(List)(owner, "?state=live")
    assert await shown.open()
    await shown.until({"s1": "live"})
    await sync_to_async(write)(story.tell(events.SessionEnded(reason="hangup")))
    await nudge(workspace)
    await shown.until({})
    await shown.socket.disconnect()


async def test_a_lost_nudge_heals(owner: User, story: Story, write: Write) -> None:
    shown = await sync_to_async(List)(owner)
    assert await shown.open()
    await sync_to_async(write)(story.tell(created()))
    await shown.until({"s1": "created"})
    await shown.socket.disconnect()


async def test_what_is_shown_at_first_is_all(owner: User, story: Story, write: Write) -> None:
    """A page may show as live what has ended since: also when there is nothing, that is said."""
    shown = await sync_to_async(List)(owner, "?state=live")
    shown.rows = {"ended-meanwhile": "live"}
    assert await shown.open()
    await shown.until({})
    await shown.socket.disconnect()


@pytest.mark.usefixtures("looks_often")
async def test_a_database_error_stops_no_list(
    owner: User, story: Story, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = refused_once(monkeypatch, list_consumer, "render_rows")
    await sync_to_async(write)(story.tell(created()))
    shown = await sync_to_async(List)(owner)
    assert await shown.open()
    await shown.until({"s1": "created"})
    assert not errors
    await shown.socket.disconnect()


@pytest.mark.usefixtures("looks_often")
async def test_who_is_deactivated_sees_no_more(owner: User, workspace: Workspace) -> None:
    shown = await sync_to_async(List)(owner)
    shown.rows = {"unknown": "live"}
    assert await shown.open()
    await shown.until({})
    await User.objects.filter(pk=owner.pk).aupdate(is_active=False)
    message = await shown.socket.receive_output(timeout=15)
    assert (message["type"], message["code"]) == ("websocket.close", SIGNED_OUT)
    await shown.socket.disconnect()


async def test_a_stranger_sees_nothing_of_it(
    stranger: User, workspace: Workspace, other_workspace: Workspace, story: Story, write: Write
) -> None:
    await sync_to_async(write)(story.tell(created()))
    other = Story(session="theirs", sequence=story.sequence)
    await sync_to_async(write)(other.tell(created(other_workspace.slug)))
    shown = await sync_to_async(List)(stranger)
    assert await shown.open()
    await nudge(workspace)
    await shown.until({"theirs": "created"})
    await shown.socket.disconnect()


async def test_signed_out_is_refused(db: None) -> None:
    assert not await List(None).open()


async def test_a_foreign_page_is_refused(owner: User) -> None:
    assert not await (await sync_to_async(List)(owner, origin="https://elsewhere.example")).open()


async def test_a_strange_choice_is_no_failure(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    shown = await sync_to_async(List)(owner, "?page=%F0&q=%00&state=?")
    assert await shown.open()
    await shown.until({"s1": "created"})
    await shown.socket.disconnect()
