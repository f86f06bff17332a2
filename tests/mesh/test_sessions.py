"""Session records and one-time tokens in a real Valkey."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from mesh.sessions import SessionStore, Tokens
from mesh.store import BadSessionId, Valkey


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Valkey]:
    """Nobody's sessions are listed before a test, and none of its own after it: they are no whole records."""
    opened = await Valkey.connect(valkey_url)
    await forget_all(opened)
    yield opened
    await forget_all(opened)
    await opened.close()


async def forget_all(valkey: Valkey) -> None:
    async with valkey.reaching() as client:
        await client.delete("session:keys")


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(valkey_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
def session() -> str:
    return str(uuid.uuid4())


@pytest.mark.accepts("M70")
async def test_every_process_sees_a_record(valkey: Valkey, valkey_url: str, session: str) -> None:
    await SessionStore(valkey).put(session, {"state": "live", "rate": 8000}, ttl=60)
    elsewhere = await Valkey.connect(valkey_url)
    assert await SessionStore(elsewhere).get(session) == {"state": "live", "rate": 8000}
    await elsewhere.close()


async def test_records_are_listed_by_their_end(valkey: Valkey) -> None:
    store = SessionStore(valkey)
    await store.put("later", {"n": 2}, ttl=90)
    await store.put("sooner", {"n": 1}, ttl=60)
    assert list((await store.list()).items()) == [("sooner", {"n": 1}), ("later", {"n": 2})]


async def test_no_sessions_is_an_empty_list(valkey: Valkey) -> None:
    assert await SessionStore(valkey).list() == {}


async def test_a_deleted_record_is_gone(valkey: Valkey, session: str) -> None:
    store = SessionStore(valkey)
    await store.put(session, {}, ttl=60)
    assert await store.delete(session)
    assert await store.delete(session) is False
    assert await store.get(session) is None
    assert await store.list() == {}


async def test_a_live_session_is_extended(valkey: Valkey, raw: "Redis", session: str) -> None:
    store = SessionStore(valkey)
    await store.put(session, {}, ttl=5)
    assert await store.extend(session, 60)
    assert await raw.ttl(f"session:{session}") > 50
    assert await store.extend("nobody", 60) is False


async def test_expired_records_are_swept(valkey: Valkey, raw: "Redis", session: str) -> None:
    store = SessionStore(valkey)
    await store.put(session, {}, ttl=60)
    await raw.delete(f"session:{session}")
    await raw.zadd("session:keys", {session: 1})
    assert await store.sweep() == 1
    assert await store.sweep() == 0


async def test_a_token_opens_once(valkey: Valkey, session: str) -> None:
    tokens = Tokens(valkey)
    token = await tokens.issue(session, "media", 30, agent="desk", version=3)
    assert await tokens.take(token, "media") == {"session": session, "purpose": "media", "agent": "desk", "version": 3}
    assert await tokens.take(token, "media") is None


async def test_a_race_for_a_token_has_one_winner(valkey: Valkey, session: str) -> None:
    tokens = Tokens(valkey)
    token = await tokens.issue(session, "media", 30)
    taken = await asyncio.gather(*(tokens.take(token, "media") for _ in range(20)))
    assert len([claims for claims in taken if claims]) == 1


async def test_a_token_has_one_purpose(valkey: Valkey, session: str) -> None:
    tokens = Tokens(valkey)
    token = await tokens.issue(session, "resume", 30)
    assert await tokens.take(token, "media") is None
    assert await tokens.take(token, "resume") is None, "a token that was tried is used up"


async def test_a_token_ends_by_itself(valkey: Valkey, raw: "Redis", session: str) -> None:
    token = await Tokens(valkey).issue(session, "media", 30)
    assert 28 < await raw.ttl(f"token:{token}") <= 30


async def test_a_token_cannot_be_guessed(valkey: Valkey, session: str) -> None:
    tokens = {await Tokens(valkey).issue(session, "media", 30) for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", token) for token in tokens)


@pytest.mark.parametrize("token", ["", "*", "x" * 500, "../../etc", "a b c d e f g h i j", "é" * 32])
async def test_other_texts_are_no_token(valkey: Valkey, token: str) -> None:
    assert await Tokens(valkey).take(token, "media") is None


async def test_a_token_needs_a_session(valkey: Valkey) -> None:
    with pytest.raises(BadSessionId):
        await Tokens(valkey).issue("a b", "media", 30)


async def test_a_token_is_extended_until_it_is_used(valkey: Valkey, raw: "Redis", session: str) -> None:
    tokens = Tokens(valkey)
    token = await tokens.issue(session, "media", 30)
    assert await tokens.extend(token, 90)
    assert 88 < await raw.ttl(f"token:{token}") <= 90
    await tokens.take(token, "media")
    assert not await tokens.extend(token, 90)
