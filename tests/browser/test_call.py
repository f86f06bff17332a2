"""The call page with the demo agent: from the button to the agent's voice, and what can go wrong on the way."""

import asyncio
import json
import re
import urllib.request

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.conftest import API_KEY, PATIENCE, Site, watched
from tests.browser.screenshots import screenshot

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SOCKETS = """
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
        constructor(url) { super(window.isCut ? `${url}-nothing` : url); window.sockets.push(this); }
        send(data) {
            if (typeof data !== "string") window.lastFrame = new Int16Array(data, 16);
            super.send(data);
        }
    };
"""
"""Keeps the page's sockets, and the last audio that left."""

CUT = "() => { window.isCut = true; sockets.at(-1).close(4000); }"
MEND = "() => { window.isCut = false; }"

TONE = """
    navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext(), tone = context.createOscillator();
        const stream = context.createMediaStreamDestination();
        tone.connect(stream);
        tone.start();
        return stream.stream;
    };
"""
"""A microphone that never pauses."""

ASKED_LATE = """
    const question = new Promise((resolve) => { window.allow = async () => resolve(new MediaStream()); });
    navigator.mediaDevices.getUserMedia = () => question;
"""
"""A visitor who takes time to allow the microphone."""

DELAYS = """
    window.delay = 0.25;
    window.delays = [];
    Object.defineProperty(AudioContext.prototype, "outputLatency", { get: () => window.delay });
    const post = MessagePort.prototype.postMessage;
    MessagePort.prototype.postMessage = function (message, ...others) {
        if (message?.latency !== undefined) delays.push(message.latency);
        return post.call(this, message, ...others);
    };
"""
"""What the page tells its player of a loudspeaker, whose delay the test sets."""

CLOSED = """
    const close = AudioContext.prototype.close;
    AudioContext.prototype.close = function () {
        this.addEventListener("statechange", () => setTimeout(() => { window.isClosed = this.state === "closed"; }));
        return close.call(this);
    };
"""
"""Says when the call's sound is over, and everybody who listens for that was told."""

IS_LOUD = "() => window.lastFrame?.some((sample) => Math.abs(sample) > 1000)"
IS_SILENT = "() => window.lastFrame?.every((sample) => sample === 0)"


async def call(page: Page, button: str = "Call Demo") -> None:
    await page.goto("/call/")
    await page.get_by_role("button", name=button).click()
    await expect(page.locator("#call")).to_have_attribute("data-session", re.compile("."))


async def is_in_touch(page: Page) -> None:
    await expect(page.get_by_label("Type instead of speaking")).to_be_enabled()


async def type_in(page: Page, text: str) -> None:
    await is_in_touch(page)
    await page.get_by_label("Type instead of speaking").fill(text)
    await page.get_by_role("button", name="Send").click()


async def hears_more(page: Page) -> None:
    """Wait until another second of the agent was played, and not as silence."""
    heard = int(await page.locator("#call").get_attribute("data-heard") or 0)
    await page.wait_for_function("() => document.querySelector('[data-part=voice]').value > 0.2")
    await page.wait_for_function(f"() => Number(document.getElementById('call').dataset.heard) > {heard + 24_000}")


async def session_url(site: Site, page: Page) -> str:
    return f"{site.transport_url}/sessions/{await page.locator('#call').get_attribute('data-session')}"


def status(url: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-API-Key": API_KEY}), timeout=5) as answer:
        return str(json.load(answer)["status"])


async def has_ended(url: str) -> None:
    async with asyncio.timeout(PATIENCE / 1000):
        while await asyncio.to_thread(status, url) != "Ended":  # noqa: ASYNC110  # another process ends it
            await asyncio.sleep(0.05)


# -- talking ---------------------------------------------------------------------------------------------


async def test_a_first_call_is_heard_and_answered(page: Page) -> None:
    """Who speaks into the greeting stops it; the words appear, the answer is written and sounds."""
    await page.goto("/call/")
    await screenshot(page, "call-before")
    await page.get_by_role("button", name="Call Demo").click()
    await expect(page.locator("li.caller p")).to_have_text("i would like to book an appointment")
    await expect(page.locator("li.agent").first.locator(".cut")).to_contain_text("Hello")
    await expect(page.locator("li.agent").last).to_contain_text("Which day suits you")
    await hears_more(page)
    await screenshot(page, "call-talking")


async def test_an_agent_can_be_called_by_typing(page: Page) -> None:
    await call(page, "Type only")
    await type_in(page, "I would like an appointment on Monday")
    await expect(page.locator("li.caller p")).to_have_text("I would like an appointment on Monday")
    await expect(page.locator("li.agent").last).to_contain_text("At what time?")
    await hears_more(page)
    await page.get_by_role("button", name="Start over").click()
    await expect(page.locator("li.agent").last).to_contain_text("We start again")


async def test_an_example_begins_a_typed_call(page: Page) -> None:
    await page.goto("/call/")
    await page.get_by_role("button", name="I would like to book an appointment").click()
    await expect(page.locator("li.caller p")).to_have_text("I would like to book an appointment")
    await expect(page.locator("li.agent").last).to_contain_text("Which day suits you")


async def test_the_loudspeakers_delay_is_followed(page: Page) -> None:
    """A browser measures it while it plays."""
    await page.add_init_script(DELAYS)
    await call(page, "Type only")
    await page.wait_for_function("() => delays.at(-1) === 0.25")
    await page.evaluate("window.delay = 0.5")
    await page.wait_for_function("() => delays.at(-1) === 0.5")


async def test_mute_sends_silence(page: Page) -> None:
    await page.add_init_script(SOCKETS + TONE)
    await call(page)
    await page.wait_for_function(IS_LOUD)
    await page.wait_for_function("() => document.querySelector('[data-part=level]').value > 0.5")
    await page.get_by_role("button", name="Mute").click()
    await page.wait_for_function(IS_SILENT)
    await expect(page.locator("[data-part=level]")).to_have_js_property("value", 0)
    await page.get_by_role("button", name="Unmute").click()
    await page.wait_for_function(IS_LOUD)


async def test_hanging_up_ends_the_session(page: Page, site: Site) -> None:
    await page.add_init_script(CLOSED)
    await call(page)
    await is_in_touch(page)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_role("status")).to_have_text("You have hung up.")
    await page.wait_for_function("() => window.isClosed")
    await expect(page.get_by_role("button", name="Turn the sound on")).to_be_hidden()
    await has_ended(await session_url(site, page))
    await page.get_by_role("button", name="Call again").click()
    await is_in_touch(page)


async def test_a_newcomer_goes_on_from_the_call(page: Page, site: Site) -> None:
    """By way of the sign-in to the call that was just made."""
    await call(page, "Type only")
    async with page.expect_popup() as popup:
        await page.get_by_role("link", name="Watch this call").click()
    watching = await popup.value
    await watching.get_by_label("Username").fill(site.username)
    await watching.get_by_label("Password").fill(site.password)
    await watching.get_by_role("button", name="Sign in").click()
    session = await page.locator("#call").get_attribute("data-session")
    await expect(watching).to_have_url(f"{site.url}/sessions/{session}/")


async def test_leaving_the_page_ends_the_session(page: Page, site: Site) -> None:
    await call(page, "Type only")
    await is_in_touch(page)
    url = await session_url(site, page)
    await page.goto("/login")
    await has_ended(url)


# -- what goes wrong -------------------------------------------------------------------------------------


async def test_a_denied_microphone_leaves_typing(browser: Browser, site: Site, troubles: list[str]) -> None:
    context = await browser.new_context(base_url=site.url, permissions=[])
    page = await watched(context, troubles)
    await call(page)
    await expect(page.get_by_role("alert")).to_contain_text("may not use the microphone. You can go on by typing")
    await screenshot(page, "call-denied")
    await type_in(page, "help")
    await expect(page.locator("li.agent").last).to_contain_text("I am a demo with a fixed script")
    await context.close()
    assert not troubles


async def test_a_missing_microphone_leaves_typing(page: Page) -> None:
    await page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError'); }"
    )
    await call(page)
    await expect(page.get_by_role("alert")).to_contain_text("There is no microphone. You can go on by typing")
    await is_in_touch(page)


async def test_a_lost_connection_comes_back(page: Page, site: Site, troubles: list[str]) -> None:
    await page.add_init_script(SOCKETS)
    await call(page, "Type only")
    await type_in(page, "I would like an appointment on Monday")
    await expect(page.locator("li.agent").last).to_contain_text("At what time?")
    await page.evaluate(CUT)
    await expect(page.get_by_role("status")).to_contain_text("Reconnecting")
    await page.evaluate(MEND)
    await type_in(page, "at ten o'clock")
    await expect(page.locator("li.agent").last).to_contain_text("Monday at ten o'clock. Is that right?")
    assert await asyncio.to_thread(status, await session_url(site, page)) == "Active"
    troubles.clear()  # of the tries in between


async def test_a_call_that_cannot_come_back_is_over(page: Page, troubles: list[str]) -> None:
    await page.add_init_script(SOCKETS)
    await page.clock.install()
    await call(page, "Type only")
    await is_in_touch(page)
    await page.evaluate(CUT)
    await expect(page.get_by_role("status")).to_contain_text("Reconnecting")
    await page.clock.run_for(25_000)
    await expect(page.get_by_role("status")).to_contain_text("could not be made again")
    await expect(page.get_by_role("button", name="Call again")).to_be_visible()
    troubles.clear()


async def test_a_site_that_is_gone_is_told(page: Page, troubles: list[str]) -> None:
    await page.goto("/call/")
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Call Demo").click()
    await expect(page.get_by_role("status")).to_have_text("The site does not answer. Is it still running?")
    troubles.clear()


async def test_a_refusal_is_shown_as_it_is(page: Page, troubles: list[str]) -> None:
    refusal = {"message": "No provider can be used. llm: openai needs OPENAI_API_KEY"}
    await page.route("**/start/", lambda route: route.fulfill(status=503, json=refusal))
    await page.goto("/call/")
    await page.get_by_role("button", name="Call Demo").click()
    await expect(page.get_by_role("status")).to_have_text(refusal["message"])
    troubles.clear()


@pytest.mark.parametrize(("code", "words"), [(403, "Reload this page"), (404, "Reload this page"), (500, "error 500")])
async def test_a_page_for_an_answer_is_told(page: Page, code: int, words: str, troubles: list[str]) -> None:
    await page.route("**/start/", lambda route: route.fulfill(status=code, content_type="text/html", body="<p>No"))
    await page.goto("/call/")
    await page.get_by_role("button", name="Type only").click()
    await expect(page.get_by_role("status")).to_contain_text(words)
    troubles.clear()


async def test_hanging_up_at_the_question_opens_nothing(page: Page) -> None:
    await page.add_init_script(ASKED_LATE)
    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if request.method == "POST" else None)
    await page.goto("/call/")
    await page.get_by_role("button", name="Call Demo").click()
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_role("status")).to_have_text("You have hung up.")
    await page.evaluate("allow().then(() => new Promise(requestAnimationFrame))")
    assert opened == []


async def test_a_session_nobody_waits_for_is_ended(page: Page, site: Site) -> None:
    hung_up = asyncio.Event()
    opened: list[str] = []

    async def answer_late(route: Route) -> None:
        response = await route.fetch()
        opened.append((await response.json())["session"])
        await hung_up.wait()
        await route.fulfill(response=response)

    await page.route("**/start/", answer_late)
    await page.goto("/call/")
    await page.get_by_role("button", name="Type only").click()
    await page.get_by_role("button", name="Hang up").click()
    async with page.expect_response("**/start/"):
        hung_up.set()
    await has_ended(f"{site.transport_url}/sessions/{opened[0]}")


async def test_an_insecure_address_is_explained(page: Page, site: Site, troubles: list[str]) -> None:
    async def pass_on(route: Route) -> None:
        path = route.request.url.removeprefix("http://agents.example")
        await route.fulfill(response=await route.fetch(url=f"{site.url}{path}"))

    await page.route("http://agents.example/**", pass_on)
    await page.goto("http://agents.example/call/")
    await expect(page.get_by_role("alert")).to_contain_text(f"open {site.url}/call/ on this machine")
    await screenshot(page, "call-insecure")
    assert all("Cross-Origin-Opener-Policy" in trouble for trouble in troubles)  # which such an address cannot have
    troubles.clear()
