"""What becomes of a session's record while Valkey is frozen, and when it has lost it meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest

from mesh.sessions import SessionStore
from mesh.store import ConfigStorage, StoreUnavailable, Valkey
from tests.servers import RunningServer, running_valkey
from workers.records import Records

TTL = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_valkey(tmp_path_factory.mktemp("records")) as server:
        yield server


@pytest.fixture
async def valkey(server: RunningServer) -> AsyncIterator[Valkey]:
    valkey = await Valkey.connect(server.url)
    yield valkey
    await valkey.close()


@pytest.fixture
def store(valkey: Valkey) -> SessionStore:
    return SessionStore(valkey)


@pytest.fixture
def records(valkey: Valkey, store: SessionStore) -> Records:
    return Records(store, ConfigStorage(valkey), TTL)


@pytest.fixture
async def session(store: SessionStore, records: Records) -> str:
    """Of a call that has begun."""
    session = uuid4().hex
    await store.put(session, {"session_id": session, "state": "created"}, TTL)
    records.remember(session)
    await records.note(session, state="live")
    return session


async def note_frozen(server: RunningServer, records: Records, session: str, **changes: Any) -> None:
    server.freeze()
    try:
        await records.note(session, **changes)
    finally:
        server.thaw()


async def state(store: SessionStore, session: str) -> str | None:
    record = await store.get(session)
    return record["state"] if record else None


async def test_what_a_frozen_valkey_did_not_take_is_written_later(
    server: RunningServer, records: Records, store: SessionStore, session: str
) -> None:
    await note_frozen(server, records, session, state="ended")
    assert await state(store, session) == "live"
    await records.write_rest()
    assert await state(store, session) == "ended"


async def test_a_record_that_expired_meanwhile_is_ended(
    server: RunningServer, records: Records, store: SessionStore, session: str
) -> None:
    """Frozen while the call ended, and for longer than the record lives."""
    await note_frozen(server, records, session, state="ended")
    records.forget(session)
    await store.delete(session)
    await records.write_rest()
    assert await store.get(session) == {"session_id": session, "state": "ended", "updated_at": ANY}


async def test_a_record_is_forgotten_once_its_end_is_written(
    records: Records, store: SessionStore, session: str
) -> None:
    await records.note(session, state="ended")
    records.forget(session)
    await store.delete(session)
    await records.note(session, reason="late")
    assert await store.get(session) is None


async def test_changes_that_wait_keep_their_order(
    server: RunningServer, records: Records, store: SessionStore, session: str
) -> None:
    await note_frozen(server, records, session, state="live", participants=["Ada"])
    await note_frozen(server, records, session, state="ended")
    await records.write_rest()
    record = await store.get(session)
    assert record and (record["state"], record["participants"]) == ("ended", ["Ada"])


async def test_a_change_that_waits_for_another_outlives_its_cancellation(
    server: RunningServer, records: Records, store: SessionStore, session: str
) -> None:
    server.freeze()
    first = asyncio.create_task(records.note(session, participants=["Ada"]))
    second = asyncio.create_task(records.note(session, state="ended"))
    await asyncio.sleep(0)  # both have begun
    second.cancel()
    await asyncio.wait([first, second])
    server.thaw()
    await records.write_rest()
    assert await state(store, session) == "ended"


async def test_a_write_that_was_given_up_comes_before_the_next(
    server: RunningServer, records: Records, store: SessionStore, session: str
) -> None:
    """It lies in the frozen server's sockets, which answers nobody before it has read them all."""
    await asyncio.gather(*(store.get(session) for _ in range(8)))  # as many connections
    server.freeze()
    given_up = (store.put(session, {"state": f"given up {number}"}, TTL) for number in range(8))
    errors = await asyncio.gather(*given_up, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    server.thaw()
    await records.note(session, state="ended")
    assert await state(store, session) == "ended"


async def test_what_waits_here_is_not_written_over_another_process(
    server: RunningServer, records: Records, store: SessionStore, valkey: Valkey, session: str
) -> None:
    other = Records(store, ConfigStorage(valkey), TTL)
    await note_frozen(server, records, session, state="live")
    records.hand_over(session)
    await other.note(session, state="ended")
    await records.write_rest()
    assert await state(store, session) == "ended"
