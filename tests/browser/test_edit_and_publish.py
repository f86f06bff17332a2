"""An operator changes an agent in the admin and publishes it; the next call runs what was published."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Dialog, Page, expect

from tests.browser.conftest import Site
from tests.browser.screenshots import screenshot
from tests.world import make_document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


@pytest.fixture
def shop(site: Site, tmp_path: Path) -> None:
    """A published agent that runs without a key, with a second model to fall back on."""
    connectors = {"stt": "pocketsphinx", "llm": "script", "tts": "espeak", "transport": "websocket"}
    document = make_document(connectors={role: {"primary": name} for role, name in connectors.items()})
    document["connectors"]["llm"]["fallback"] = ["openai"]
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(document))
    site.system.manage("agents", "import", str(file), "--slug", "shop", "--name", "Shop", "--publish")


@pytest.mark.usefixtures("shop")
async def test_the_next_call_greets_anew(signed_in_page: Page) -> None:
    page = signed_in_page
    await page.goto("/admin/pipelines_app/agent/")
    await page.get_by_role("link", name="Shop", exact=True).click()
    await page.get_by_label("System prompt").fill("You sell bicycles.")
    await page.get_by_text("Context and template").click()
    await page.get_by_label("Context instructions").fill("The shop is open {opening_hours}.")
    await page.get_by_label("Variables").fill('{"opening_hours": "from 9 to 5"}')
    await page.get_by_label("Greeting").fill("Good morning from the bicycle shop.")
    await page.get_by_role("button", name="Move OpenAI up").click()
    await page.get_by_label("Note for this version").fill("A friendlier start")
    await screenshot(page, "agent-edited")
    await page.get_by_role("button", name="Save and publish").click()
    await expect(page.get_by_text("Published. New calls of Shop run version 2.")).to_be_visible()
    await page.get_by_role("link", name="Call", exact=True).click()
    await page.get_by_role("button", name="Call Shop").click()
    await expect(page.locator("li.agent").first).to_contain_text("Good morning from the bicycle shop")


async def test_leaving_asks_when_something_changed(signed_in_page: Page) -> None:
    page, asked = signed_in_page, list[str]()

    async def leave_anyway(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", leave_anyway)
    for name, expected in (("Voice loop", []), ("Another name", ["beforeunload"])):
        await page.goto("/admin/pipelines_app/pipeline/")
        await page.get_by_role("link", name="Voice loop", exact=True).click()
        await page.get_by_label("Name").fill(name)
        await page.get_by_role("link", name="Overview").click()
        await expect(page).to_have_title(re.compile("^Overview"))
        assert asked == expected
