"""The doctor's page: what the server sees, and what this browser can do."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.screenshots import screenshot

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


async def test_browser_is_examined_too(signed_in_page: Page) -> None:
    await signed_in_page.goto("/doctor/")
    browser = signed_in_page.get_by_role("region", name="This browser")
    for name in ("Secure page", "Audio", "Microphone", "Way to calls"):
        row = browser.locator("div.ok").filter(has=signed_in_page.get_by_text(name, exact=True))
        await expect(row).to_be_visible()
    programs = signed_in_page.get_by_role("region", name="Programs")
    await expect(programs).to_contain_text("WebSockets reach the transport")
    await screenshot(signed_in_page, "doctor")
