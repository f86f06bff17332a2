"""The socket of a session's page: history once, then the live end once."""

import asyncio
import re
from collections.abc import Callable
from typing import Self

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from accounts_app.models import Membership, User
from mesh import events
from mesh.subjects import Stage
from meshag_site.asgi import application
from sessions_app.nudges import group
from tests.sessions_app.stories import Story, Write, created, interrupted, played, tell_a_call
from tests.world import signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels_on_valkey")]


LIST = re.compile(r'hx-swap-oob="(innerHTML|beforeend):#said">(.*?)</ol>', re.DOTALL)
ENTRY = re.compile(r'<li id="(entry-\d+)"([^>]*)>.*?<p>([^<]*?)\s*<', re.DOTALL)
PASSING = re.compile(r'<li class="(caller|agent)">.*?<p>(.*?)</p>', re.DOTALL)


class Page:
    """A browser's page as htmx keeps it: `innerHTML` replaces the transcript, `beforeend` adds, an id is swapped."""

    def __init__(
        self, user: User | None, session: str = "s1", origin: str = "http://localhost", shown: str = ""
    ) -> None:
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        if user is not None:
            cookie = signed_in(user).cookies["sessionid"]
            headers.append((b"cookie", f"sessionid={cookie.value}".encode()))
        query = f"?shown={shown}" if shown else ""
        self.socket = WebsocketCommunicator(application, f"/live/sessions/{session}/{query}", headers=headers)
        self.entries: dict[str, str] = {}
        self.passing: dict[str, str] = {}
        self.state = self.phase = self.html = ""

    @property
    def transcript(self) -> list[str]:
        return list(self.entries.values())

    async def open(self) -> bool:
        accepted, _ = await self.socket.connect(timeout=5)
        return bool(accepted)

    async def take(self) -> Self:
        """The next message."""
        self.html = await self.socket.receive_from(timeout=5)
        if 'id="scene"' in self.html:
            self.passing = dict(PASSING.findall(self.html))
            self.phase = re.findall(r'data-phase="(\w+)"', self.html)[0]
            return self
        for swap, entries in LIST.findall(self.html):
            said = {key: text for key, _, text in ENTRY.findall(entries)}
            assert swap == "innerHTML" or not said.keys() & self.entries.keys()
            self.entries = said if swap == "innerHTML" else self.entries | said
        for key, attributes, text in ENTRY.findall(LIST.sub("", self.html)):
            assert 'hx-swap-oob="true"' in attributes and key in self.entries
            self.entries[key] = text
        self.state = re.findall(r'class="badge (\w+)"', self.html)[0] if 'id="state"' in self.html else self.state
        return self

    async def until(self, shown: Callable[[Self], bool]) -> Self:
        async with asyncio.timeout(15):
            while not shown(self):
                await self.take()
        return self


async def nudge(sequence: int) -> None:
    await get_channel_layer().group_send(group("s1"), {"type": "session.nudge", "sequence": sequence})


async def opened(page: Page) -> Page:
    """With everything that it shows at first."""
    page.phase = ""
    assert await page.open()
    return await page.until(lambda page: bool(page.phase))


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
        await page.until(lambda page, number=number: len(page.entries) == number)  # type: ignore[misc]
    assert page.transcript == ["Hello.", "Sentence 2.", "Sentence 3."]
    await page.socket.disconnect()


async def test_lost_and_doubled_nudges_do_no_harm(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(played(1, "One.")))
    await sync_to_async(write)(story.tell(played(2, "Two.")))
    await nudge(story.sequence)
    await nudge(1)
    await page.until(lambda page: len(page.entries) == 2)
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


async def test_a_sentence_that_goes_on_is_shown_again(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(1, "One."), played(2, "Two", samples=800)))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(played(2, "Two and a half.", samples=9000), played(3, "Three.")))
    await nudge(story.sequence)
    await page.until(lambda page: len(page.entries) == 3)
    assert page.transcript == ["One.", "Two and a half.", "Three."]
    await page.socket.disconnect()


async def test_an_interruption_is_shown_later(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(1, "One.")))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(interrupted(1, "One.", samples=9000)))
    await nudge(story.sequence)
    assert "The caller broke in here" in (await page.take()).html
    assert page.transcript == ["One."]
    await page.socket.disconnect()


async def test_incidents_follow_live(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    failed = events.ProviderFailed(role="llm", provider="openai", kind="timeout", detail="too slow", ms=2000)
    await sync_to_async(write)(story.tell(failed, stage=Stage.LLM))
    await nudge(story.sequence)
    assert "too slow" in (await page.take()).html
    await page.socket.disconnect()


async def test_a_page_that_has_all_is_left_alone(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(tell_a_call(story))
    html = await sync_to_async(lambda: signed_in(owner).get("/sessions/s1/").content.decode())()
    (shown,) = re.findall(r'ws-connect="/live/sessions/s1/\?shown=(\w+)"', html)
    page = await opened(await sync_to_async(Page)(owner, shown=shown))
    assert not page.entries and (page.state, page.phase) == ("ended", "waiting")
    await page.socket.disconnect()


async def test_a_page_that_missed_something_shows_all(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(1, "One.")))
    page = await opened(await sync_to_async(Page)(owner, shown="0123456789abcdef"))
    assert page.transcript == ["One."]
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
