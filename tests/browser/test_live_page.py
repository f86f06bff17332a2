"""A session's page while a call goes on."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Dialog, Page, expect

from tests import speech
from tests.browser.conftest import PATIENCE, SAID, watched
from tests.browser.screenshots import screenshot
from tests.callers import WebsocketCaller

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

COLLECT = """() => {
  const look = (item) => window.pass(item.className, item.innerText);
  new MutationObserver(() => document.querySelectorAll("#scene li").forEach(look))
    .observe(document.body, { subtree: true, childList: true });
}"""
ADD_LINES = """(count) => {
  const line = '<li class="agent"><span class="speaker">Agent</span><p>Another sentence.</p></li>';
  document.getElementById("said").insertAdjacentHTML("beforeend", line.repeat(count));
}"""
AT_START = """() => document.getElementById("follow").scrollTop === 0"""
AT_END = """() => {
  const box = document.getElementById("follow");
  return box.scrollHeight - box.scrollTop - box.clientHeight < 2;
}"""


class Passing:
    """Words that are not final pass by: what was ever shown of them is kept."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, str]] = []
        self._stirred = asyncio.Event()

    def take(self, who: str, words: str) -> None:
        self._seen.append((who, words))
        self._stirred.set()

    async def until(self, who: str, words: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE / 1000):
                while not any(who == speaker and words in text for speaker, text in self._seen):
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} of the {who} was not among {self._seen}") from None


@pytest_asyncio.fixture(loop_scope="package")
async def passing(signed_in_page: Page) -> Passing:
    passing = Passing()
    await signed_in_page.expose_function("pass", passing.take)
    return passing


@pytest_asyncio.fixture(loop_scope="package")
async def caller(signed_in_page: Page, passing: Passing) -> AsyncIterator[WebsocketCaller]:
    """In the room of a session that the page has started; the page shows that session."""
    page = signed_in_page
    await page.goto("/agents/")
    await page.get_by_role("link", name="Start a session of Demo").click()
    await page.get_by_role("button", name="Start").click()
    room, token = [await page.get_by_label(name).input_value() for name in ("Room URL", "Token")]
    await screenshot(page, "session-started")
    await page.get_by_role("link", name="Watch the session").click()
    await expect(page.locator("#scene")).to_contain_text("Waiting for the caller")
    await page.evaluate(COLLECT)
    async with aiohttp.ClientSession() as client, WebsocketCaller(client, room, token) as caller:
        yield caller


async def said(page: Page) -> list[str]:
    return await page.locator("#said li p").all_inner_texts()


async def test_everybody_sees_the_same_call(
    signed_in_page: Page, caller: WebsocketCaller, passing: Passing, troubles: list[str]
) -> None:
    page = signed_in_page
    await expect(page.locator("#said li.agent").first).to_be_visible()  # the greeting was heard
    await caller.say(speech.speak(SAID, caller.rate))
    await expect(page.locator("#said li.caller")).to_contain_text("appointment")
    late = await watched(page.context, troubles)
    await late.goto(page.url)
    await passing.until("caller", "appointment")
    await passing.until("agent", "day")
    await screenshot(late, "session-live")

    await page.get_by_label("Let the agent say").fill("Please hold the line.")
    await page.get_by_role("button", name="Say").click()
    for shown in (page, late):
        await expect(shown.locator("#said li.agent").last).to_contain_text("Please hold the line.")
    assert await said(late) == await said(page)
    await late.reload()
    assert await said(late) == await said(page)
    await expect(late.locator("#turns .waterfall")).to_contain_text("First sound sent")

    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="End the session").click()
    await expect(late.locator("#state .badge")).to_have_text("ended")
    await expect(late.get_by_role("button", name="Say")).to_have_count(0)
    await screenshot(late, "session-over")


async def watching_a_new_session(page: Page) -> Page:
    await page.goto("/sessions/new/")
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("link", name="Watch the session").click()
    await expect(page.locator("#scene")).to_contain_text("Waiting for the caller")
    return page


async def test_a_reader_further_up_stays_there(signed_in_page: Page) -> None:
    page = await watching_a_new_session(signed_in_page)
    box, jump = page.get_by_role("region", name="Transcript"), page.get_by_role("button", name="Jump to live")
    await page.evaluate(ADD_LINES, 40)
    await page.wait_for_function(AT_END)
    await expect(jump).to_be_hidden()

    await box.press("Home")
    await page.wait_for_function(AT_START)
    await expect(jump).to_have_text("Jump to live")
    await page.evaluate(ADD_LINES, 2)
    await expect(jump).to_have_text("Jump to live (2 new lines)")
    assert await page.evaluate(AT_START)
    await screenshot(page, "session-read-back")

    await jump.press("Enter")
    await page.wait_for_function(AT_END)
    await expect(jump).to_be_hidden()
    await expect(box).to_be_focused()
    await page.evaluate(ADD_LINES, 1)
    await page.wait_for_function(AT_END)
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="End the session").click()


async def test_a_change_is_not_lost_unasked(signed_in_page: Page) -> None:
    page = await watching_a_new_session(signed_in_page)
    asked: list[str] = []
    await page.get_by_role("link", name="Change the configuration").click()

    async def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", leave)
    await page.reload()
    assert asked == []
    await page.get_by_label("Greeting").press_sequentially("Good day. ")
    await screenshot(page, "session-config")
    await page.reload()
    assert asked == ["beforeunload"]
    await page.get_by_label("Greeting").press_sequentially("Good day. ")
    await page.get_by_role("button", name="Change the configuration").click()
    await expect(page.get_by_text("holds from the next turn on")).to_be_visible()
    assert asked == ["beforeunload"]
