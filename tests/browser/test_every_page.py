"""Every page of the site as its owner sees it, in both themes and at a telephone's width, for people to look at."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, StorageState

from tests.browser.conftest import Site, watched
from tests.browser.screenshots import screenshot

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

TELL = "from tests.browser.addresses import tell; tell()"
LIST = '["/'
LONG = ("/api/docs/", "/api/redoc/")
"""Many screens, written by a script after the page has loaded."""
DRAWN = "#redoc .menu-content, #swagger-ui .opblock"


async def test_every_page_fits_everywhere(
    browser: Browser, site: Site, signed_in_state: StorageState, troubles: list[str]
) -> None:
    told = await asyncio.to_thread(site.system.manage, "shell", "-c", TELL)
    assert LIST in told, told
    paths = json.loads(told[told.index(LIST) :])
    assert len(paths) > 40
    context = await browser.new_context(base_url=site.url, storage_state=signed_in_state)
    asked = set[str | None]()
    context.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    page = await watched(context, troubles)
    complaints = [complaint for path in paths if (complaint := await look_at(page, path))]
    await context.close()
    assert (complaints, troubles) == ([], [])
    assert asked <= {"localhost", None}, "nothing comes from elsewhere"


async def test_what_is_not_there_is_told(page: Page, troubles: list[str]) -> None:
    answer = await page.goto("/nowhere/")
    await screenshot(page, "page-not-found")
    troubles.clear()  # the browser's console says 404 too
    assert answer and answer.status == 404


async def look_at(page: Page, path: str) -> str:
    """What is wrong with it, or nothing."""
    answer = await page.goto(path)
    if not answer or answer.status != 200:
        return f"{path}: {answer and answer.status}"
    is_long = path in LONG
    if is_long:
        await page.locator(DRAWN).first.wait_for()
    fits = await screenshot(page, "page" + (path.replace("/", "-").rstrip("-") or "-home"), whole=not is_long)
    return "" if fits else f"{path}: wider than a telephone"
