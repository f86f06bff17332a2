"""Configurations in a real Valkey: their keys, their end, and a Valkey that is away."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from mesh.store import DEADLINE, BadSessionId, ConfigStorage, Entry, StoreUnavailable, Valkey
from tests.mesh.documents import example, with_flow
from tests.servers import RunningServer, running_valkey

CONFIG = parse(example())


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator["Redis"]:
    """The server's own view; empty, so that counts are exact."""
    client = Redis.from_url(valkey_url, decode_responses=True)
    await client.delete("config:keys")
    yield client
    await client.aclose()


@pytest.fixture
async def storage(valkey_url: str, valkey: "Redis") -> AsyncIterator[ConfigStorage]:
    opened = await ConfigStorage.new(valkey_url)
    yield opened
    await opened.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def session() -> str:
    return str(uuid.uuid4())


async def expire(valkey: "Redis", session: str) -> None:
    """What time does: the value ends at once, and the index says so."""
    await valkey.delete(f"config:{session}")
    await valkey.zadd("config:keys", {session: 1})


@pytest.mark.accepts("M22")
async def test_nobody_there_is_an_error_at_once() -> None:
    with pytest.raises(StoreUnavailable, match=r"Valkey at 127\.0\.0\.1:1: "):
        await ConfigStorage.new("redis://127.0.0.1:1")


@pytest.mark.accepts("M22")
async def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        await ConfigStorage.new("http://127.0.0.1:6379")


async def test_the_error_keeps_the_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await ConfigStorage.new("redis://:sesame@127.0.0.1:1")
    assert "sesame" not in str(caught.value)


@pytest.mark.accepts("M23", "M36")
async def test_a_config_is_stored_as_documented(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    stored = json.loads(str(await valkey.get(f"config:{session}")))
    created_at = stored["metadata"].pop("created_at")
    assert created_at.endswith("+00:00")
    assert stored == {
        "metadata": {"session_id": session, "version": "1.0", "ttl_seconds": 3600},
        "config": example(),
    }


@pytest.mark.accepts("M23", "M36")
async def test_value_end_and_place_come_together(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG, ttl=60)
    expires = await valkey.pexpiretime(f"config:{session}")
    assert await valkey.zscore("config:keys", session) == expires


@pytest.mark.accepts("M36")
async def test_storing_is_one_command(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    """A crash between a value and its TTL would leave it for ever, so there must be nothing between them."""
    await storage.store_config("warm", CONFIG, credentials={})
    before = await valkey.info("commandstats")
    await storage.store_config(session, CONFIG, credentials={})
    after = await valkey.info("commandstats")
    changed = {name for name in after if after[name]["calls"] != before.get(name, {}).get("calls")}
    assert changed == {"cmdstat_evalsha", "cmdstat_time", "cmdstat_set", "cmdstat_zadd", "cmdstat_info"}


async def test_sealed_credentials_are_beside_the_document(storage: ConfigStorage, session: str) -> None:
    await storage.store_config(session, CONFIG, credentials={"deepgram": "sealed"})
    assert await storage.get_entry(session) == Entry(example(), {"deepgram": "sealed"})
    assert await storage.get_document(session) == example()


async def test_a_changed_config_keeps_its_credentials(storage: ConfigStorage, session: str) -> None:
    await storage.store_config(session, CONFIG, credentials={"deepgram": "sealed"})
    await storage.store_config(session, CONFIG)
    assert await storage.get_entry(session) == Entry(example(), {"deepgram": "sealed"})


@pytest.mark.parametrize("metadata", [None, [], {"credentials": "sealed"}, {"credentials": {"deepgram": 1}}])
async def test_metadata_by_hand_does_no_harm(
    storage: ConfigStorage, valkey: "Redis", session: str, metadata: object
) -> None:
    await valkey.set(f"config:{session}", json.dumps({"metadata": metadata, "config": example()}))
    entry = await storage.get_entry(session)
    assert entry is not None and not entry.credentials
    await storage.store_config(session, CONFIG)


@pytest.mark.accepts("M24", "M38")
async def test_a_config_comes_back_equal(storage: ConfigStorage, session: str) -> None:
    await storage.store_config(session, CONFIG)
    assert await storage.get_config(session) == CONFIG
    assert await storage.get_document(session) == example()


@pytest.mark.accepts("M24")
async def test_an_unknown_session_has_none(storage: ConfigStorage, session: str) -> None:
    assert await storage.get_config(session) is None
    assert await storage.get_config_ttl(session) is None
    assert await storage.extend_config_ttl(session, 60) is False


@pytest.mark.accepts("M25")
async def test_only_live_sessions_are_listed(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    await storage.store_config("gone", CONFIG)
    await valkey.delete("config:gone")
    assert await storage.list_configs() == [session]


@pytest.mark.accepts("M26")
async def test_the_ttl_counts_down_from_the_default(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    first = await valkey.pttl(f"config:{session}")
    assert await storage.get_config_ttl(session) in (3599, 3600)
    assert 0 < await valkey.pttl(f"config:{session}") <= first <= 3_600_000


@pytest.mark.accepts("M26")
async def test_the_default_ttl_is_the_callers(valkey_url: str, session: str) -> None:
    storage = await ConfigStorage.new(valkey_url, default_ttl=120)
    await storage.store_config(session, CONFIG)
    assert await storage.get_config_ttl(session) in (119, 120)
    await storage.close()


@pytest.mark.accepts("M27", "M118")
async def test_two_more_hours(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG, ttl=1)
    assert await storage.extend_config_ttl(session, 7200)
    assert await storage.get_config_ttl(session) in (7199, 7200)
    assert await valkey.zscore("config:keys", session) == await valkey.pexpiretime(f"config:{session}")


@pytest.mark.accepts("M27")
async def test_an_extended_config_outlives_its_first_end(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG, ttl=1)
    await storage.store_config("witness", CONFIG, ttl=1)
    await storage.extend_config_ttl(session, 60)
    await until_gone(valkey, "config:witness")
    assert await storage.get_config(session) == CONFIG
    assert await storage.list_configs() == [session]


async def until_gone(valkey: "Redis", key: str) -> None:
    """Valkey says when the key ends: its keyspace notification is the event that we wait for."""
    await valkey.config_set("notify-keyspace-events", "Ex")
    async with asyncio.timeout(5), valkey.pubsub() as events:
        await events.subscribe("__keyevent@0__:expired")
        while await valkey.exists(key):
            await events.get_message(ignore_subscribe_messages=True, timeout=0.5)


async def test_extending_never_shortens(storage: ConfigStorage, session: str) -> None:
    await storage.store_config(session, CONFIG, ttl=7200)
    assert await storage.extend_config_ttl(session, 60)
    assert await storage.get_config_ttl(session) in (7199, 7200)


@pytest.mark.accepts("M28", "M70")
async def test_cleanup_counts_exactly_and_once(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    for n in range(3):
        await expire(valkey, f"old-{n}")
    assert await storage.cleanup_expired_configs() == 3
    assert await storage.cleanup_expired_configs() == 0
    assert await valkey.zrange("config:keys", 0, -1) == [session]


@pytest.mark.accepts("M28")
async def test_cleanup_takes_any_number(storage: ConfigStorage, valkey: "Redis") -> None:
    await valkey.zadd("config:keys", {f"old-{n}": n for n in range(1201)})
    assert await storage.cleanup_expired_configs() == 1201


async def test_cleanup_keeps_what_was_extended_by_hand(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG, ttl=60)
    await valkey.expire(f"config:{session}", 900)
    await valkey.zadd("config:keys", {session: 1})
    assert await storage.cleanup_expired_configs() == 0
    assert await valkey.zscore("config:keys", session) == await valkey.pexpiretime(f"config:{session}")


async def test_cleanup_keeps_what_has_no_end(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    await valkey.persist(f"config:{session}")
    await valkey.zadd("config:keys", {session: 1})
    assert await storage.cleanup_expired_configs() == 0
    assert await storage.list_configs() == [session]
    assert await storage.extend_config_ttl(session, 60)
    assert await storage.get_config_ttl(session) is None
    await storage.delete_config(session)


@pytest.mark.accepts("M29")
async def test_a_deleted_config_is_gone(storage: ConfigStorage, session: str) -> None:
    await storage.store_config(session, CONFIG)
    assert await storage.delete_config(session)
    assert await storage.get_config(session) is None
    assert await storage.list_configs() == []
    assert await storage.delete_config(session) is False


async def test_a_second_config_replaces_the_first(storage: ConfigStorage, session: str) -> None:
    other = parse(with_flow("transport>llm", "llm>transport"))
    await storage.store_config(session, CONFIG)
    await storage.store_config(session, other)
    assert await storage.get_config(session) == other
    assert await storage.list_configs() == [session]


async def test_a_config_changed_by_hand_is_read(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    await valkey.set(f"config:{session}", json.dumps({"config": example() | {"greeting": "Hi."}}), keepttl=True)
    config = await storage.get_config(session)
    assert config is not None
    assert config.greeting == "Hi."


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": 3}', '{"config": {}}'])
async def test_a_wrong_config_by_hand_is_told(storage: ConfigStorage, valkey: "Redis", session: str, text: str) -> None:
    await valkey.set(f"config:{session}", text, ex=60)
    with pytest.raises(ConfigError):
        await storage.get_config(session)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "x" * 65, "keys", "a\n"])
async def test_other_names_are_no_session(storage: ConfigStorage, name: str) -> None:
    with pytest.raises(BadSessionId):
        await storage.store_config(name, CONFIG)
    with pytest.raises(BadSessionId):
        await storage.get_config(name)


@pytest.mark.parametrize("ttl", [0, -1, 10**12])
async def test_a_time_to_live_has_bounds(storage: ConfigStorage, session: str, ttl: int) -> None:
    with pytest.raises(ValueError, match="a time to live is 1 to 31622400 seconds"):
        await storage.store_config(session, CONFIG, ttl=ttl)


async def answer(storage: ConfigStorage) -> tuple[float, str]:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await storage.get_config("any")
    return time.monotonic() - began, str(caught.value)


async def test_a_frozen_valkey_is_an_error_in_time(own_server: RunningServer) -> None:
    storage = await ConfigStorage.new(own_server.url)
    own_server.freeze()
    answers = await asyncio.gather(*(answer(storage) for _ in range(60)))
    own_server.thaw()
    assert max(seconds for seconds, _ in answers) < 6 * DEADLINE  # and not 60 times: they do not queue
    assert {words for _, words in answers} == {f"Valkey at 127.0.0.1:{own_server.port} did not answer within 0.5 s"}
    await storage.close()


async def test_a_restarted_valkey_is_found_again(own_server: RunningServer, session: str) -> None:
    storage = await ConfigStorage.new(own_server.url)
    await asyncio.gather(*(storage.get_config(session) for _ in range(8)))
    own_server.kill()
    seconds, _ = await answer(storage)
    own_server.start()
    await asyncio.gather(*(storage.store_config(f"{session}-{n}", CONFIG) for n in range(8)))
    assert len(await storage.list_configs()) == 8
    assert seconds < DEADLINE
    await storage.close()


async def test_a_cancelled_question_harms_no_other(valkey_url: str) -> None:
    """Whoever gives up must not leave an answer behind that the next one reads as its own."""
    valkey = await Valkey.connect(valkey_url)
    storage = ConfigStorage(valkey)
    await storage.store_config("one", CONFIG)
    for n in range(50):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(n / 100_000):
                await storage.get_config("nobody")
        assert await storage.get_config("one") == CONFIG
    await storage.close()


async def test_many_ask_over_few_connections(storage: ConfigStorage, valkey: "Redis", session: str) -> None:
    await storage.store_config(session, CONFIG)
    configs = await asyncio.gather(*(storage.get_config(session) for _ in range(64)))
    assert configs == [CONFIG] * 64
    assert (await valkey.info("clients"))["connected_clients"] <= 24
