"""Sessions whose transport is gone, callers who never came, and what the stream forgets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from mesh.bus.client import Bus
from mesh.bus.errors import Fenced
from mesh.config.reading import parse
from mesh.events import SessionEnded, Stored
from mesh.roster import Beat
from mesh.sessions import SessionStore
from mesh.store import ConfigStorage, Valkey
from mesh.subjects import Stage
from sessions_app.database import DatabaseThread
from sessions_app.models import Session, State
from sessions_app.upkeep import Upkeep
from tests.world import make_document

pytestmark = pytest.mark.django_db(transaction=True)


async def caught_up() -> bool:
    return True


async def lagging() -> bool:
    return False


@pytest.fixture
async def database() -> AsyncIterator[DatabaseThread]:
    async with DatabaseThread() as thread:
        yield thread


@pytest.fixture
async def configs(valkey_url: str) -> AsyncIterator[ConfigStorage]:
    storage = await ConfigStorage.new(valkey_url)
    await storage.store_config("s1", parse(make_document()))
    yield storage
    await storage.delete_config("s1")
    await storage.close()


Make = Callable[..., Awaitable[Upkeep]]


@pytest.fixture
async def upkeep(
    bus: Bus, database: DatabaseThread, valkey_url: str, configs: ConfigStorage, session: Session
) -> AsyncIterator[Make]:
    """Makes one, by itself without patience: whoever was not heard is gone."""
    place = {"bus": bus, "database": database, "valkey_url": valkey_url}
    usual: dict[str, Any] = {"name": "bridge", **place, "caught_up": caught_up, "silence": 0, "keep": 600}
    async with AsyncExitStack() as stack:
        yield lambda **changes: stack.enter_async_context(Upkeep(**usual | changes))


async def go_live(**values: Any) -> None:
    await Session.objects.aupdate(**{"state": State.LIVE, "live_at": timezone.now(), **values})


def beat(worker: str) -> bytes:
    return msgspec.json.encode(Beat(id=worker, role="transport"))


async def ends(bus: Bus) -> list[Stored]:
    return [stored for stored in await bus.history("s1") if isinstance(stored.event, SessionEnded)]


async def test_a_lost_transport_is_replaced(upkeep: Make, bus: Bus) -> None:
    await go_live()
    writer = await bus.take_fence("s1", Stage.SESSION, owner="t")
    await (await upkeep()).look()
    (stored,) = await ends(bus)
    assert isinstance(stored.event, SessionEnded)
    assert (stored.event.reason, stored.event.failed, stored.epoch) == ("transport_lost", True, 2)
    with pytest.raises(Fenced):
        await writer.append(SessionEnded(reason="hangup"))


async def test_its_record_says_so_too(upkeep: Make, valkey_url: str) -> None:
    await go_live()
    valkey = await Valkey.connect(valkey_url)
    records = SessionStore(valkey)
    await records.put("s1", {"session_id": "s1", "state": "live", "participants": ["caller"]}, 60)
    await (await upkeep()).look()
    record = await records.get("s1")
    await valkey.close()
    assert record and (record["state"], record["reason"]) == ("failed", "transport_lost")


async def test_a_session_without_caller_needs_no_transport(upkeep: Make, bus: Bus) -> None:
    await (await upkeep()).look()
    assert not await ends(bus)


async def test_a_call_is_billed_to_the_last_sign_of_life(upkeep: Make, bus: Bus) -> None:
    await go_live(live_at=timezone.now() - timedelta(seconds=60))
    await (await upkeep()).look()
    (stored,) = await ends(bus)
    assert isinstance(stored.event, SessionEnded)
    assert 59_000 < stored.event.media_ms < 62_000


async def test_a_transport_that_is_heard_keeps_its_sessions(upkeep: Make, bus: Bus) -> None:
    await go_live()
    watch = await upkeep(silence=60)
    watch.hear("worker.beat.transport", beat("t"), {})
    await watch.look()
    assert not await ends(bus)


async def test_the_stream_knows_the_owner_better(upkeep: Make, bus: Bus) -> None:
    await go_live(owner="")
    await bus.take_fence("s1", Stage.SESSION, owner="t")
    watch = await upkeep(silence=0.2)
    while not watch.is_gone(""):
        await asyncio.sleep(0)
        watch.hear("worker.beat.transport", beat("t"), {})
    await watch.look()
    assert not await ends(bus)


async def test_nothing_is_ended_while_rows_lag(upkeep: Make, bus: Bus) -> None:
    await go_live()
    await (await upkeep(caught_up=lagging)).look()
    assert not await ends(bus)


async def test_an_epoch_is_above_every_one_seen(upkeep: Make, bus: Bus) -> None:
    await go_live(epoch=7)
    await (await upkeep()).look()
    assert [stored.epoch for stored in await ends(bus)] == [8]


async def test_a_caller_who_never_came_is_waited_for_no_more(upkeep: Make, bus: Bus, configs: ConfigStorage) -> None:
    watch = await upkeep(silence=60)
    await watch.look()
    await configs.delete_config("s1")
    await watch.look()
    assert not await ends(bus)
    await watch.look()
    (stored,) = await ends(bus)
    assert isinstance(stored.event, SessionEnded)
    assert (stored.event.reason, stored.event.failed) == ("never_connected", False)


@pytest.fixture
async def records(valkey_url: str) -> AsyncIterator[SessionStore]:
    valkey = await Valkey.connect(valkey_url)
    store = SessionStore(valkey)
    yield store
    await store.delete("s1")
    await valkey.close()


NEVER = ["never_connected"]


@pytest.mark.parametrize(
    ("transport", "seconds", "reasons"),
    [
        ("websocket", -6, NEVER),
        ("websocket", 30, []),
        ("twilio", -61, NEVER),
        ("twilio", -30, []),
        ("daily", -6, ["time_limit"]),
    ],
)
async def test_an_expired_invitation_ends_the_wait(
    transport: str, seconds: int, reasons: list[str], upkeep: Make, bus: Bus, records: SessionStore
) -> None:
    join_by = (timezone.now() + timedelta(seconds=seconds)).isoformat()
    await records.put("s1", {"session_id": "s1", "state": "created", "transport": transport, "join_by": join_by}, 60)
    watch = await upkeep(silence=60)
    await watch.look()
    await watch.look()
    assert [stored.event.reason for stored in await ends(bus) if isinstance(stored.event, SessionEnded)] == reasons


async def test_who_joined_in_time_may_stay(upkeep: Make, bus: Bus, records: SessionStore) -> None:
    await go_live()
    join_by = timezone.now() - timedelta(seconds=500)
    await records.put("s1", {"session_id": "s1", "state": "live", "join_by": join_by.isoformat()}, 60)
    watch = await upkeep(silence=60)
    await watch.look()
    await watch.look()
    assert not await ends(bus)


async def test_a_live_session_needs_no_stored_config(upkeep: Make, bus: Bus, configs: ConfigStorage) -> None:
    await go_live()
    await configs.delete_config("s1")
    watch = await upkeep(silence=60)
    await watch.look()
    await watch.look()
    assert not await ends(bus)


async def end_session(*, ago: timedelta) -> None:
    await Session.objects.aupdate(state=State.ENDED, ended_at=timezone.now() - ago)


async def test_the_stream_forgets_what_is_over(upkeep: Make, bus: Bus) -> None:
    writer = await bus.take_fence("s1", Stage.SESSION, owner="t")
    await writer.append(SessionEnded(reason="hangup"))
    await end_session(ago=timedelta(minutes=11))
    await (await upkeep()).look()
    assert await bus.history("s1") == []
    assert (await Session.objects.aget()).purged_at


@pytest.mark.parametrize("change", [{"keep": 700}, {"caught_up": lagging}])
async def test_the_stream_keeps_what_may_be_needed(change: dict[str, Any], upkeep: Make, bus: Bus) -> None:
    await (await bus.take_fence("s1", Stage.SESSION, owner="t")).append(SessionEnded(reason="hangup"))
    await end_session(ago=timedelta(minutes=11))
    await (await upkeep(**change)).look()
    assert len(await bus.history("s1")) == 1


async def test_an_unreadable_heartbeat_is_passed_over(upkeep: Make) -> None:
    (await upkeep()).hear("worker.beat.transport", b"no", {})
