"""Home looks again by itself."""

import pytest
from playwright.async_api import Page, Route, expect

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

LOOK = 5_000
GONE = "(element) => !element.isConnected"


async def as_if_all_were_new(route: Route) -> None:
    await route.continue_(url=route.request.url.partition("?")[0] + "?shown=other")


async def test_looking_again_leaves_the_reader_alone(signed_in_page: Page) -> None:
    page = signed_in_page
    await page.clock.install()
    await page.route("**/now/?shown=*", as_if_all_were_new)
    await page.goto("/")
    link = page.get_by_role("link", name="All sessions")
    await link.focus()
    before = await page.locator("#now").element_handle()
    await page.clock.fast_forward(LOOK)
    await page.wait_for_function(GONE, arg=before)
    await expect(link).to_be_focused()


async def test_home_says_that_the_sign_in_ended(signed_in_page: Page) -> None:
    page = signed_in_page
    await page.clock.install()
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Live now")).to_be_visible()
    await page.context.clear_cookies()
    await page.clock.fast_forward(LOOK)
    await expect(page.get_by_role("alert")).to_contain_text("no longer signed in")
    await expect(page.locator("[hx-trigger]")).to_have_count(0)
    await page.get_by_role("link", name="Sign in again").click()
    await page.wait_for_url("**/login?next=/")
