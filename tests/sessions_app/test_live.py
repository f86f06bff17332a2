"""The socket of a session's page: history once, then the live end once."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session as SignedIn
from pytest_django import Settings

from accounts_app.models import Membership, User
from mesh import events
from mesh.store import Valkey
from mesh.subjects import Stage
from meshag_site.asgi import application
from sessions_app import consumers, rendering
from sessions_app.nudges import group
from sessions_app.scene import Phase, Scene
from sessions_app.scene_store import SceneStore
from sessions_app.watching import SIGNED_OUT
from tests.servers import running_valkey
from tests.sessions_app.conftest import on_valkey, refused_once
from tests.sessions_app.stories import Story, Write, created, final, interrupted, played, tell_a_call
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


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What heals by the next look does so at once."""
    monkeypatch.setattr(consumers, "LOOK_EVERY", 0.2)


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
    assert not page.entries and (page.state, page.phase) == ("ended", "over")
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


async def closed(page: Page) -> int:
    """The code of the close that ends what else is shown."""
    async with asyncio.timeout(15):
        while (message := await page.socket.receive_output(timeout=15))["type"] != "websocket.close":
            pass
    await page.socket.disconnect()
    return int(message["code"])


@pytest.mark.usefixtures("looks_often")
async def test_who_is_deactivated_sees_no_more(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await User.objects.filter(pk=owner.pk).aupdate(is_active=False)
    assert await closed(page) == SIGNED_OUT


@pytest.mark.usefixtures("looks_often")
async def test_who_signs_out_sees_no_more(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await SignedIn.objects.all().adelete()  # as signing out does
    assert await closed(page) == SIGNED_OUT


@pytest.mark.usefixtures("looks_often")
async def test_a_database_error_stops_no_page(
    owner: User, story: Story, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    errors = refused_once(monkeypatch, rendering, "render_news")
    await sync_to_async(write)(story.tell(played(0, "One.")))
    await page.until(lambda page: page.transcript == ["One."])
    assert not errors
    await page.socket.disconnect()


async def show(scene: Scene, sequence: int | None = None) -> None:
    """As the bridge does between two events, or with one."""
    message = {"type": "session.scene", "scene": msgspec.to_builtins(scene)}
    if sequence is not None:
        message |= {"type": "session.nudge", "sequence": sequence}
    await get_channel_layer().group_send(group("s1"), message)


async def test_words_pass_by_until_they_are_rows(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await show(Scene(phase=Phase.LISTENING, sequence=story.sequence, caller="A table"))
    await page.until(lambda page: page.passing == {"caller": "A table"} and page.phase == "listening")
    await sync_to_async(write)(story.tell(final("A table for two."), stage=Stage.STT))
    await show(Scene(phase=Phase.THINKING, sequence=story.sequence), story.sequence)
    await page.until(lambda page: page.transcript == ["A table for two."] and not page.passing)
    await page.socket.disconnect()


async def test_words_that_may_be_rows_are_not_shown(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await show(Scene(sequence=story.sequence, caller="A table for two"))
    await page.until(lambda page: bool(page.passing))
    before = story.sequence
    await sync_to_async(write)(story.tell(final("A table for two."), stage=Stage.STT))
    await show(Scene(sequence=before + 1, caller=""), before + 1)
    await page.until(lambda page: bool(page.entries) and not page.passing)
    await show(Scene(sequence=before, caller="A table for two"))
    await show(Scene(sequence=before + 1, phase=Phase.THINKING))
    await page.until(lambda page: page.phase == "thinking")
    assert not page.passing
    await page.socket.disconnect()


async def test_who_comes_in_mid_sentence_sees_it(owner: User, story: Story, write: Write, valkey_url: str) -> None:
    await sync_to_async(write)(story.tell(created(), played(0, "Hello.")))
    await keep(valkey_url, Scene(phase=Phase.SPEAKING, sequence=story.sequence, agent="How can", coming="I help"))
    page = await opened(await sync_to_async(Page)(owner))
    assert page.transcript == ["Hello."] and page.phase == "speaking"
    assert page.passing == {"agent": 'How can <span class="coming">I help</span>'}
    await page.socket.disconnect()


async def test_an_older_scene_waits_for_the_next(owner: User, story: Story, write: Write, valkey_url: str) -> None:
    await sync_to_async(write)(story.tell(created(), played(0, "How can I help?")))
    await keep(valkey_url, Scene(phase=Phase.SPEAKING, sequence=1, agent="How can I help?"))
    page = await opened(await sync_to_async(Page)(owner))
    assert page.transcript == ["How can I help?"] and not page.passing
    await page.socket.disconnect()


async def test_nothing_passes_by_after_the_end(owner: User, story: Story, write: Write, valkey_url: str) -> None:
    await sync_to_async(write)(tell_a_call(story))
    await keep(valkey_url, Scene(phase=Phase.SPEAKING, sequence=story.sequence, agent="Left behind"))
    page = await opened(await sync_to_async(Page)(owner))
    assert page.phase == "over" and not page.passing
    await page.socket.disconnect()


async def test_two_visitors_see_the_same(owner: User, teammate: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(0, "One.")))
    pages = [await opened(await sync_to_async(Page)(person)) for person in (owner, teammate)]
    await sync_to_async(write)(story.tell(played(1, "Two.")))
    await show(Scene(sequence=story.sequence, agent="Three."), story.sequence)
    for page in pages:
        await page.until(lambda page: page.transcript == ["One.", "Two."] and page.passing == {"agent": "Three."})
        await page.socket.disconnect()


@pytest.mark.usefixtures("looks_often")
async def test_a_lost_nudge_heals_by_itself(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(played(0, "One."), events.SessionEnded(reason="hangup")))
    await page.until(lambda page: page.transcript == ["One."] and page.state == "ended")
    await page.socket.disconnect()


async def test_failures_stand_at_their_place(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), played(0, "One.")))
    page = await opened(await sync_to_async(Page)(owner))
    switched = events.ProviderSwitched(role="tts", before="elevenlabs", after="openai")
    await sync_to_async(write)(story.tell(switched, stage=Stage.TTS))
    await sync_to_async(write)(story.tell(played(1, "Two.")))
    await show(Scene(sequence=story.sequence), story.sequence)
    await page.until(lambda page: "incident" in page.html)
    assert page.html.index("goes on with openai") < page.html.index("Two.")
    await page.socket.disconnect()


async def test_what_is_spoken_over_stands_first(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    page = await opened(await sync_to_async(Page)(owner))
    await sync_to_async(write)(story.tell(final("Stop!"), stage=Stage.STT))
    await show(Scene(sequence=story.sequence), story.sequence)
    await page.until(lambda page: page.transcript == ["Stop!"])
    await sync_to_async(write)(story.tell(interrupted(1, "Let me tell you all", samples=24_000)))
    await show(Scene(sequence=story.sequence), story.sequence)
    await page.until(lambda page: page.transcript == ["Let me tell you all", "Stop!"])
    await page.socket.disconnect()


async def test_a_late_word_is_put_in_its_place(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created()))
    early = story.tell(final("Early."), stage=Stage.STT)
    await sync_to_async(write)(story.tell(played(0, "Late.")))
    page = await opened(await sync_to_async(Page)(owner))
    late = [msgspec.structs.replace(one, sequence=story.sequence + 5) for one in early]
    await sync_to_async(write)(late)
    await show(Scene(), story.sequence + 5)
    await page.until(lambda page: page.transcript == ["Early.", "Late."])
    await page.socket.disconnect()


async def test_a_turn_shows_where_its_time_went(owner: User, story: Story, write: Write) -> None:
    await sync_to_async(write)(story.tell(created(), events.TurnStarted(turn=1)))
    page = await opened(await sync_to_async(Page)(owner))
    timed = events.TurnTimed(turn=1, generation=1, marks={"transcript": 210, "first_sample": 640})
    await sync_to_async(write)(story.tell(timed))
    await show(Scene(sequence=story.sequence), story.sequence)
    await page.until(lambda page: "640 ms" in page.html)
    assert 'id="turn-1"' in page.html and 'hx-swap-oob="true"' in page.html
    await page.socket.disconnect()


@pytest.mark.usefixtures("looks_often")
async def test_a_restarted_channel_layer_loses_nothing(
    owner: User, story: Story, write: Write, settings: Settings, tmp_path: Path
) -> None:
    with running_valkey(tmp_path) as valkey:
        settings.VALKEY_URL = valkey.url
        settings.CHANNEL_LAYERS = on_valkey(valkey.url)
        await sync_to_async(write)(story.tell(created(), played(0, "One.")))
        page = await opened(await sync_to_async(Page)(owner))
        valkey.kill()
        await sync_to_async(write)(story.tell(played(1, "Two.")))
        await page.until(lambda page: page.transcript == ["One.", "Two."])
        valkey.start()
        await sync_to_async(write)(story.tell(played(2, "Three.")))
        await page.until(lambda page: page.transcript == ["One.", "Two.", "Three."])
        await page.socket.disconnect()


async def keep(valkey_url: str, scene: Scene) -> None:
    valkey = Valkey(valkey_url)
    await SceneStore(valkey).put({"s1": scene})
    await valkey.close()
