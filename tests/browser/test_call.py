"""The call page with the demo agent: from the button to the agent's voice."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.screenshots import screenshot

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


async def test_first_call_is_heard_and_answered(page: Page) -> None:
    await page.goto("/call/")
    await screenshot(page, "call-before")
    await page.get_by_role("button", name="Call Demo").click()
    await expect(page.locator("li.caller")).to_contain_text("appointment")
    await expect(page.locator("li.agent").last).to_contain_text("Which day suits you")
    await screenshot(page, "call-talking")
