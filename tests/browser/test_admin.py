"""The admin in a browser: what its scripts do. How its pages look is seen with all the others."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.screenshots import screenshot
from tests.providers.nowhere import NO_PORT

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


async def test_the_admins_filters_open(signed_in_page: Page) -> None:
    await signed_in_page.goto("/admin/sessions_app/session/")
    await signed_in_page.get_by_text("Filters").locator("visible=true").first.click()
    await expect(signed_in_page.get_by_text("Live now")).to_be_visible()


async def test_a_new_key_is_copied(signed_in_page: Page) -> None:
    await signed_in_page.goto("/admin/accounts_app/apikey/add/")
    await signed_in_page.get_by_label("Name").fill("Booking system")
    await signed_in_page.get_by_role("button", name="Save", exact=True).click()
    key = await signed_in_page.get_by_label("The new key").input_value()
    assert key.startswith("mag_")
    await signed_in_page.get_by_role("button", name="Copy").click()
    await expect(signed_in_page.get_by_role("button", name="Copied")).to_be_visible()
    await signed_in_page.get_by_text("back to the keys").click()
    assert key not in await signed_in_page.content()


async def test_a_region_is_asked_for_with_its_provider(signed_in_page: Page) -> None:
    await signed_in_page.goto("/admin/connectors_app/credential/add/")
    region = signed_in_page.get_by_label("Region")
    for provider, is_shown in (("deepgram", False), ("azure", True), ("openai", False)):
        await signed_in_page.get_by_label("Provider").select_option(provider)
        await expect(region).to_be_visible(visible=is_shown)


async def test_a_credential_is_tested_before_it_is_saved(signed_in_page: Page) -> None:
    await signed_in_page.goto("/admin/connectors_app/credential/add/")
    await signed_in_page.get_by_label("Provider").select_option("deepgram")
    await signed_in_page.get_by_label("Key").fill("dg-key-of-the-browser-tests")
    await signed_in_page.get_by_label("Address").fill(NO_PORT)
    await signed_in_page.get_by_role("button", name="Test").click()
    await expect(signed_in_page.get_by_text("No connection to Deepgram")).to_be_visible()
    await screenshot(signed_in_page, "admin-credential-tested")
    await signed_in_page.get_by_label("Name").fill("Of the browser tests")
    await signed_in_page.get_by_role("button", name="Save", exact=True).click()
    await signed_in_page.get_by_role("button", name="Test Of the browser tests").click()
    await expect(signed_in_page.get_by_text("No connection to Deepgram")).to_be_visible()
    await screenshot(signed_in_page, "admin-credential-list")
