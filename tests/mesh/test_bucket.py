"""A shared state on a real NATS: compare-and-set, what others hear, and what a killed server leaves of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from mesh import bucket as module
from mesh.bucket import Bucket, Kept, Outdated
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from tests.servers import running_nats

pytestmark = pytest.mark.nats


class Ear:
    """Follows a bucket and keeps what it says."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.heard: list[Kept] = []
        self.renewals = 0
        self._stirred = asyncio.Event()

    @asynccontextmanager
    async def listening(self, bucket: Bucket, under: str = "a") -> AsyncIterator["Ear"]:
        task = asyncio.create_task(bucket.follow(under, self._receive, self._renew))
        yield self
        task.cancel()
        await asyncio.wait([task])

    def _receive(self, kept: Kept) -> None:
        self.values[kept.key] = kept.value
        self.heard.append(kept)
        self._stirred.set()

    def _renew(self) -> None:
        self.renewals += 1
        self._stirred.set()

    async def knows(self, key: str, value: bytes) -> None:
        async with asyncio.timeout(10):
            while self.values.get(key) != value:
                self._stirred.clear()
                await self._stirred.wait()

    async def has_seen(self, buckets: int) -> None:
        async with asyncio.timeout(10):
            while self.renewals < buckets:
                self._stirred.clear()
                await self._stirred.wait()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_url, "test") as bus:
        yield bus


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex}"


async def test_what_is_put_is_heard_by_others(bus: Bus, nats_url: str, name: str) -> None:
    bucket = Bucket(bus, name, seconds=60)
    async with (
        await Bus.connect(nats_url, "other") as other,
        Ear().listening(Bucket(other, name, seconds=60)) as ear,
    ):
        revision = await bucket.put("a.key", b"1", after=0)
        await ear.knows("a.key", b"1")
        await bucket.put("a.key", b"2", after=revision)
        await ear.knows("a.key", b"2")


async def test_who_comes_later_hears_the_last_value(bus: Bus, name: str) -> None:
    bucket = Bucket(bus, name, seconds=60)
    async with Ear().listening(bucket) as ear:
        await bucket.put("a.key", b"2", after=await bucket.put("a.key", b"1", after=0))
        await bucket.put("b.key", b"other", after=0)
        await ear.knows("a.key", b"2")
    async with Ear().listening(Bucket(bus, name, seconds=60)) as late:
        await late.knows("a.key", b"2")
    assert [kept.value for kept in late.heard] == [b"2"] and 0 <= late.heard[0].age < 10


async def test_of_two_writers_one_is_outdated(bus: Bus, name: str) -> None:
    bucket = Bucket(bus, name, seconds=60)
    async with Ear().listening(bucket):
        revision = await bucket.put("a.key", b"1", after=0)
        results = await asyncio.gather(
            *(bucket.put("a.key", value, after=revision) for value in (b"2", b"3")), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["Outdated", "int"]
        kept = await bucket.get("a.key")
        assert kept and kept.value in (b"2", b"3") and kept.revision in results


async def test_what_nobody_wrote_is_not_there(bus: Bus, name: str) -> None:
    bucket = Bucket(bus, name, seconds=60)
    async with Ear().listening(bucket):
        await bucket.put("a.key", b"1", after=0)
        assert await bucket.get("a.other") is None
        with pytest.raises(Outdated):
            await bucket.put("a.other", b"1", after=7)


async def test_everything_is_told_at_once(bus: Bus, name: str) -> None:
    bucket, reader = Bucket(bus, name, seconds=60), Bucket(bus, name, seconds=60)
    assert await reader.everything() == []
    await bucket.put("a.key", b"1", after=0)
    await bucket.put("b.key", b"2", after=0)
    found = await reader.everything()
    assert {kept.key: kept.value for kept in found} == {"a.key": b"1", "b.key": b"2"}
    assert all(0 <= kept.age < 10 for kept in found)


async def test_values_are_forgotten_in_time(bus: Bus, name: str) -> None:
    bucket = Bucket(bus, name, seconds=0.3)
    async with Ear().listening(bucket), asyncio.timeout(10):
        await bucket.put("a.key", b"1", after=0)
        while await bucket.get("a.key"):  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.05)
        assert await bucket.put("a.key", b"2", after=0) == 2


async def test_other_clients_know_it_as_a_bucket(bus: Bus, name: str) -> None:
    bucket = Bucket(bus, name, seconds=60)
    async with Ear().listening(bucket):
        await bucket.put("a.key", b"1", after=0)
        entry = await (await bus._client.jetstream().key_value(name)).get("a.key")
    assert entry.value == b"1"


async def test_a_started_again_server_has_a_new_bucket(tmp_path: Path, name: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url, "test") as bus:
            bucket = Bucket(bus, name, seconds=60)
            async with Ear().listening(bucket) as ear:
                for value in (b"1", b"2", b"3"):
                    await bucket.put(f"a.{value.decode()}", value, after=0)
                await ear.has_seen(1)
                server.restart()
                await ear.has_seen(2)
                assert await bucket.put("a.1", b"4", after=0) == 1
                await ear.knows("a.1", b"4")


async def test_while_nats_is_away_nothing_waits(tmp_path: Path, name: str) -> None:
    with running_nats(tmp_path) as server:
        async with await Bus.connect(server.url, "test") as bus:
            bucket = Bucket(bus, name, seconds=60)
            async with Ear().listening(bucket) as ear:
                await bucket.put("a.key", b"1", after=0)
                await ear.has_seen(1)
                server.kill()
                async with asyncio.timeout(5):
                    while bus.is_connected:  # noqa: ASYNC110  # nobody tells of it
                        await asyncio.sleep(0.02)
                with pytest.raises(BusError):
                    await bucket.put("a.key", b"2", after=1)
                server.start()
                await ear.has_seen(2)
