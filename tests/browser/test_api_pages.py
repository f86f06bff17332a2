"""The pages that describe the API, and a session that a program starts, watches and ends by it."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PATIENCE, Site

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


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


async def test_a_program_starts_watches_and_ends_a_session(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.api_key}"}
    async with aiohttp.ClientSession(f"{site.url}/api/v1/", headers=headers) as client, asyncio.timeout(30):
        async with client.post("sessions", json={"agent": "demo"}) as answer:
            assert answer.status == 201, await answer.text()
            started = await answer.json()
        async with client.get(f"sessions/{started['id']}/events") as stream:
            assert (await _next(stream))["event"] == "session.created"
            async with client.delete(f"sessions/{started['id']}") as answer:
                assert answer.status == 204
            told = [event async for event in _events(stream)]
        assert "session.ended" in [event["event"] for event in told]
        assert json.loads(told[-1]["data"])["session"] == started["id"]


async def _next(stream: aiohttp.ClientResponse) -> dict[str, str]:
    return await anext(_events(stream))


async def _events(stream: aiohttp.ClientResponse) -> Any:
    fields: dict[str, str] = {}
    async for raw in stream.content:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields
            fields = {}
