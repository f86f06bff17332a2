"""One running system and one Chromium for all browser tests.

Playwright's asynchronous API is used, in the package's own event loop: the synchronous one would keep a loop running in
the main thread, in which neither Django's ORM nor pytest-asyncio's other loops can work. So every module says

    pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

and its tests are coroutines. A page that writes an error to its console, throws, or breaks the content policy fails its
test when that is over; a test that provokes one clears `troubles`.
"""

import os
import wave
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, StorageState, async_playwright

from tests import speech
from tests.system import READY, System, running_system

CHROMIUM = os.environ.get("MESHAG_TEST_CHROMIUM", "/usr/bin/chromium")
USERNAME, PASSWORD = "admin", "a-password-of-the-tests"
API_KEY = "a-key-of-the-browser-tests-1234"
SAID = "I would like to book an appointment."
"""What the microphone of every page hears, once, after `SILENCE` seconds."""
RATE = 48_000
SILENCE = 1.5
PATIENCE = 10_000
"""Milliseconds that a page has for what a test waits for."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running `manage.py up`."""

    system: System
    username: str = USERNAME
    password: str = PASSWORD
    api_key: str = API_KEY

    @property
    def url(self) -> str:
        """As a newcomer opens it."""
        return f"http://localhost:{self.system.runtime()['MESHAG_WEB_PORT']}"

    @property
    def transport_url(self) -> str:
        return self.system.url("TRANSPORT_PORT")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker of each role: these tests look at pages."""
    settings = {f"MESHAG_{role}_WORKERS": "1" for role in ("STT", "LLM", "TTS")}
    credentials = {"MESHAG_ADMIN_PASSWORD": PASSWORD, "MESHAG_API_KEY": API_KEY}
    with running_system(tmp_path_factory.mktemp("site"), **settings, **credentials) as system:
        system.shows(READY)
        yield Site(system)


@pytest.fixture(scope="package")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that Chromium plays, once, into the microphone whenever a page opens it."""
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * round(SILENCE * RATE)) + speech.speak(SAID, RATE) + bytes(2 * RATE))
    return path


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser(microphone: Path) -> AsyncIterator[Browser]:
    flags = (
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
    )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(flags))
        yield browser
        await browser.close()


@pytest.fixture
def troubles() -> list[str]:
    """What the pages of a test complained about. It must be empty at the end."""
    return []


@pytest_asyncio.fixture(loop_scope="package")
async def page(browser: Browser, site: Site, troubles: list[str]) -> AsyncIterator[Page]:
    """Of a visitor whom nobody knows, and who lets pages use the microphone."""
    context = await browser.new_context(base_url=site.url, permissions=["microphone"])
    yield await watched(context, troubles)
    await context.close()
    assert not troubles


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def signed_in_state(browser: Browser, site: Site) -> StorageState:
    """The cookies of one who has signed in."""
    context = await browser.new_context(base_url=site.url)
    page = await context.new_page()
    await page.goto("/login")
    await page.get_by_label("Username").fill(site.username)
    await page.get_by_label("Password").fill(site.password)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda url: "/login" not in url)
    state = await context.storage_state()
    await context.close()
    return state


@pytest_asyncio.fixture(loop_scope="package")
async def signed_in_page(
    browser: Browser, site: Site, signed_in_state: StorageState, troubles: list[str]
) -> AsyncIterator[Page]:
    """Of the first operator, who owns the default workspace."""
    context = await browser.new_context(base_url=site.url, permissions=["microphone"], storage_state=signed_in_state)
    yield await watched(context, troubles)
    await context.close()
    assert not troubles


async def watched(context: BrowserContext, troubles: list[str]) -> Page:
    """A page that writes down what goes wrong in it."""
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    return page
