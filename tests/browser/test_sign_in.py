"""Signing in by the form."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.screenshots import screenshot

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


async def test_the_first_operator_signs_in(signed_in_page: Page) -> None:
    await signed_in_page.goto("/sessions/")
    await expect(signed_in_page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_a_wrong_password_is_explained(page: Page) -> None:
    await page.goto("/login")
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("not the password")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    await screenshot(page, "login")
