"""The pages that describe the API, and a session that a program starts, watches and ends by it."""

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PATIENCE, Site
from tests.rows import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


BRIGHT = re.compile(r"rgb\(2\d\d, 2\d\d, 2\d\d\)")
DIM = re.compile(r"rgb\(\d\d, \d\d, \d\d\)")


async def test_swagger_shows_and_tries_operations(signed_in_page: Page) -> None:
    page = signed_in_page
    await page.goto("/api/docs/")
    await page.locator("#operations-account-me .opblock-summary-control").click(timeout=PATIENCE)
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    await expect(page.locator(".live-responses-table").first).to_contain_text('"user": "admin"', timeout=PATIENCE)


async def test_redoc_shows_every_group(page: Page) -> None:
    await page.goto("/api/redoc/")
    await expect(page.get_by_role("heading", name="Start a session")).to_be_attached(timeout=PATIENCE)
    await page.get_by_placeholder("Search...").fill("transcript")
    await expect(page.locator("[data-role='search:results']")).to_contain_text("transcript", timeout=PATIENCE)


@pytest.mark.parametrize(("path", "drawn"), [("docs", "#swagger-ui .opblock"), ("redoc", "#redoc .menu-content")])
async def test_the_apis_pages_follow_the_theme(page: Page, path: str, drawn: str) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"/api/{path}/")
    title = page.locator("h1").first
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        await expect(page.locator(drawn).first).to_be_visible(timeout=PATIENCE)
        await expect(title).to_have_css("color", BRIGHT if scheme == "dark" else DIM)


async def test_the_documented_commands_do_what_they_say(site: Site) -> None:
    """As printed, but for the key and the port: start a session, watch it, end it."""
    begin, end = re.findall(r"```sh\n(.+?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    begin = begin.replace("KEY=…", f"KEY={site.api_key}").replace("http://localhost:8000", site.url)
    assert site.api_key in begin and site.url in begin
    variables = "\n".join(begin.splitlines()[:2])
    async with asyncio.timeout(30):
        watching = await run(begin)
        assert watching.stdout and watching.stderr
        started = await read_json(watching.stderr)
        async for line in watching.stdout:
            if b"session.created" in line:
                break
        ending = await run(f"{variables}\nID={started['id']}\n{end}")
        assert await ending.communicate() == (b"", b"")
        seen, complaints = await watching.communicate()
    assert (watching.returncode, ending.returncode, complaints) == (0, 0, b"")
    assert started["agent"] == "demo" and "event: session.ended" in seen.decode()


async def read_json(stream: asyncio.StreamReader) -> Any:
    text = b""
    while chunk := await stream.read(4096):
        text += chunk
        with suppress(json.JSONDecodeError):  # there is more to come
            return json.loads(text)
    raise AssertionError(text.decode())


async def run(script: str) -> Process:
    return await asyncio.create_subprocess_exec("bash", "-c", script, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
