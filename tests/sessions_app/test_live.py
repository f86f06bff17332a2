"""The socket of a session's page: history once, then the live end once."""

import asyncio
import re
from typing import Self

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from accounts_app.models import Membership, User
from meshag_site.asgi import application
from sessions_app.nudges import group
from tests.sessions_app.stories import Story, Write, created, played, tell_a_call
from tests.world import signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels_on_valkey")]


class Page:
    """A browser's page as htmx keeps it: `innerHTML` replaces the transcript, `beforeend` adds to it."""

    def __init__(self, user: User | None, session: str = "s1", origin: str = "http://localhost") -> None:
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        if user is not None:
            cookie = signed_in(user).cookies["sessionid"]
            headers.append((b"cookie", f"sessionid={cookie.value}".encode()))
        self.socket = WebsocketCommunicator(application, f"/live/sessions/{session}/", headers=headers)
        self.transcript: list[str] = []
        self.state = ""

    async def open(self) -> bool:
        accepted, _ = await self.socket.connect(timeout=5)
        return bool(accepted)

    async def take(self) -> Self:
        html = await self.socket.receive_from(timeout=5)
        swap, entries = re.findall(r'hx-swap-oob="(innerHTML|beforeend):#transcript">(.*)</ol>', html, re.DOTALL)[0]
        said = re.findall(r"<p>([^<]*?)\s*<", entries)
        self.transcript = said if swap == "innerHTML" else self.transcript + said
        self.state = re.findall(r'class="badge (\w+)"', html)[0]
        return self


async def nudge(sequence: int) -> None:
    await get_channel_layer().group_send(group("s1"), {"type": "session.nudge", "sequence": sequence})


async def opened(page: Page) -> Page:
    assert await page.open()
    return await page.take()


async def test_a_late_joiner_sees_all_once(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(tell_a_call(story))
    page = await opened(await sync_to_async(Page)(owner))
    assert page.transcript == ["Hello.", "A table for two.", "When?", "I have"]
    assert page.state == "ended"
    await page.socket.disconnect()


async def test_the_live_end_follows_once(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(1, "Hello.")))
    page = await opened(await sync_to_async(Page)(owner))
    for number in (2, 3):
        await sync_to_async(write)(story.tell(played(number, f"Sentence {number}.")))
        await nudge(story.sequence)
        await page.take()
    assert page.transcript == ["Hello.", "Sentence 2.", "Sentence 3."]
    await page.socket.disconnect()


async def test_lost_and_doubled_nudges_do_no_harm(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(played(1, "One.")))
    await sync_to_async(write)(story.tell(played(2, "Two.")))
    await nudge(2)
    await nudge(1)
    await (await page.take()).take()
    assert page.transcript == ["One.", "Two."]
    await page.socket.disconnect()


async def test_a_socket_that_returns_shows_all_once(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(1, "One.")))
    page = await opened(await sync_to_async(Page)(owner))
    await page.socket.disconnect()
    await sync_to_async(write)(story.tell(played(2, "Two.")))
    page.socket = (await sync_to_async(Page)(owner)).socket
    assert (await opened(page)).transcript == ["One.", "Two."]
    await page.socket.disconnect()


async def test_a_stranger_is_refused(stranger: User, workspace: object, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    assert not await (await sync_to_async(Page)(stranger)).open()


async def test_signed_out_is_refused(workspace: object, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    assert not await Page(None).open()


@pytest.mark.parametrize("name", ["nothing", "a b", "x" * 65])
async def test_an_unknown_session_is_refused(name: str, owner: User) -> None:
    assert not await (await sync_to_async(Page)(owner, name)).open()


async def test_a_foreign_page_is_refused(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    assert not await (await sync_to_async(Page)(owner, origin="https://elsewhere.example")).open()


async def test_who_leaves_the_workspace_sees_no_more(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await Membership.objects.all().adelete()
    await nudge(2)
    async with asyncio.timeout(5):
        assert (await page.socket.receive_output(timeout=5))["type"] == "websocket.close"
    await page.socket.disconnect()
