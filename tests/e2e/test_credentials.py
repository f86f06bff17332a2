"""Keys that only the database has, on the whole system: each workspace calls with its own, and nobody reads them."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.callers import WebsocketCaller
from tests.providers import tones
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT
from tests.unsupervised import System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SECRETS = {"boats": f"sk-boats-{uuid4().hex}", "trains": f"sk-trains-{uuid4().hex}"}
MAKE = """
import json
from accounts_app.actions import create_api_key
from accounts_app.models import Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
keys = {{}}
for slug, secret in {secrets!r}.items():
    workspace = Workspace.objects.create(slug=slug, name=slug)
    credential = Credential(workspace=workspace, provider="custom", name="Main", base_url={address!r})
    keep_credential(credential=credential, key=secret)
    keys[slug] = create_api_key(workspace=workspace, name="tests")[1]
print(json.dumps(keys))
"""


def chat() -> dict[str, object]:
    """An agent whose model only those reach who have a credential: the environment has neither address nor key."""
    config = document(flow=("transport llm text", "llm transport text"))
    config["connectors"]["llm"] = {"primary": "custom", "config": {"custom": {"model": "any"}}}
    return config


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def keys(running: System) -> AsyncIterator[dict[str, str]]:
    """The API key of each workspace, which has a credential of its own."""
    address = running.standins.env["OPENAI_BASE_URL"]
    said = running.manage("shell", "-v", "0", "-c", MAKE.format(secrets=SECRETS, address=address))
    yield json.loads(said.splitlines()[-1])


async def opened(system: System, key: str) -> aiohttp.ClientResponse:
    headers = {"X-API-Key": key} if key else {}
    return await system.client.post(f"{system.url}/sessions/with-config", json={"config": chat()}, headers=headers)


async def ask_typed(system: System, key: str, question: str) -> str:
    """A session of the key's workspace, in which this is asked and answered."""
    made = await (await opened(system, key)).json()
    async with WebsocketCaller(system.client, made["room_url"], made["token"]) as caller:
        await caller.type(question)
        await caller.until("reply", text=tones.sentences(reply_for(question))[-1])
    return str(made["session_id"])


async def test_workspaces_call_with_their_own_keys(system: System, keys: dict[str, str]) -> None:
    for workspace, key in keys.items():
        question = f"Question {uuid4().hex[:8]} please"
        await ask_typed(system, key, question)
        asked = [one for one in await system.standins.requests_to(OPENAI_CHAT) if question in one["text"]]
        assert [one["headers"]["authorization"] for one in asked] == [f"Bearer {SECRETS[workspace]}"]


async def test_a_workspace_without_a_credential_is_told(system: System, keys: dict[str, str]) -> None:
    answer = await opened(system, "")
    assert answer.status == 503
    assert "custom needs CUSTOM_BASE_URL or a credential of the workspace" in await answer.text()


def on_disk(system: System) -> bytes:
    """Everything that its processes have written: streams, rows, logs."""
    contents = []
    for file in system.directory.rglob("*"):
        with suppress(FileNotFoundError):  # the servers tidy up
            contents.append(file.read_bytes() if file.is_file() else b"")
    return b"\n".join(contents)


async def test_nothing_that_is_kept_shows_a_key(system: System, keys: dict[str, str]) -> None:
    session = await ask_typed(system, keys["boats"], f"Question {uuid4().hex[:8]} please")
    async with Redis.from_url(system.valkey.url) as valkey:
        values = [str(await valkey.get(name)).encode() async for name in valkey.scan_iter(_type="STRING")]
        entry = json.loads(await valkey.get(f"config:{session}") or "{}")
    sealed = entry["metadata"]["credentials"]["custom"]
    kept = on_disk(system)
    assert sealed.encode() in kept  # so the streams were looked into
    assert not [secret for secret in SECRETS.values() if secret.encode() in kept + b"\n".join(values)]
