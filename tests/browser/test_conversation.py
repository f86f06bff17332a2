"""What the call page shows of a conversation, in Chromium, without the rest of the site."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SCRIPT = Path("sessions_app/static/sessions_app/call/conversation.js")
RUN = """async (messages) => {
    const { Conversation } = await import("/conversation.js");
    const list = document.createElement("ol"), seen = [];
    const conversation = new Conversation(list, { agent: "Agent", caller: "You" });
    for (const message of messages) {
        conversation.read(message);
        seen.push(list.querySelector("p").textContent.trim());
    }
    return seen;
}"""


async def seen(browser: Browser, *messages: dict[str, Any]) -> list[str]:
    """The agent's words after each message."""
    context = await browser.new_context()
    await context.route(
        "http://localhost/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
    )
    await context.route("**/conversation.js", lambda route: route.fulfill(path=SCRIPT, content_type="text/javascript"))
    page = await context.new_page()
    await page.goto("http://localhost/")
    shown: list[str] = await page.evaluate(RUN, list(messages))
    await context.close()
    return shown


def delta(text: str, **anew: Any) -> dict[str, Any]:
    return {"type": "delta", "turn": 1, "text": text, **anew}


def reply(sentence: int, text: str) -> dict[str, Any]:
    return {"type": "reply", "turn": 1, "sentence": sentence, "text": text}


async def test_words_begun_anew_replace_the_void_ones(browser: Browser) -> None:
    """A sentence that stands may be told later than the words that follow it."""
    assert await seen(
        browser,
        delta("One. Tw"),
        delta("Second", anew=True, sentence=1),
        reply(0, "One."),
        delta(" one."),
        reply(1, "Second one."),
    ) == ["One. Tw", "Second", "One. Second", "One. Second one.", "One. Second one."]
