"""One session's story, a bridge's place, and servers that a test has for itself."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import Error
from pytest_django import Settings
from redis import Redis

from accounts_app.models import Workspace
from mesh.bus.client import Bus
from sessions_app.fold import fold
from sessions_app.models import BridgeCursor, Session
from tests.servers import RunningServer, running_nats
from tests.sessions_app.stories import START, Story, Write


@pytest.fixture
def cursor(db: None) -> BridgeCursor:
    return BridgeCursor.at("EVENTS", created="today")


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def write(cursor: BridgeCursor) -> Write:
    """Fold events as the bridge does."""
    return lambda batch: fold(batch, cursor)


@pytest.fixture
def session(workspace: Workspace) -> Session:
    """One that waits for its caller."""
    moment = datetime.fromtimestamp(START, UTC)
    return Session.objects.create(id="s1", workspace=workspace, transport="websocket", owner="t", created_at=moment)


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[RunningServer]:
    """A bridge writes all that is in the stream, so its tests share none."""
    directory = tmp_path / "nats"
    directory.mkdir()
    with running_nats(directory) as server:
        yield server


@pytest.fixture
async def bus(own_nats: RunningServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(own_nats.url, "test") as bus:
        await bus.ensure_streams()
        yield bus


def refused_once(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[Error]:
    """The database fails the next call of that function; the list is empty from then on."""
    function, errors = getattr(module, name), [Error("the connection is gone")]

    def call(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return function(*args)

    monkeypatch.setattr(module, name, call)
    return errors


def on_valkey(url: str) -> dict[str, Any]:
    """CHANNEL_LAYERS as the site has them."""
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [url], "prefix": "test"}}}


@pytest.fixture
def channels_on_valkey(settings: Settings, valkey_url: str) -> None:
    """Of the sessions of other tests nothing is left there."""
    with Redis.from_url(valkey_url) as valkey:
        valkey.delete("scene:s1")
    settings.VALKEY_URL = valkey_url
    settings.CHANNEL_LAYERS = on_valkey(valkey_url)
