"""Valkey: expiring JSON values with an index by expiry, and on them the configurations of sessions."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self, cast
from urllib.parse import urlsplit

from pydantic import JsonValue
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from mesh.config.document import AgentConfig, dump
from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError, Problem
from mesh.config.reading import parse
from mesh.subjects import SESSION_ID

DEFAULT_TTL: Final = 3600
MAX_TTL: Final = 366 * 86_400
DEADLINE: Final = 0.5
"""Seconds after which a Valkey that does not answer is an error."""
CONNECTIONS: Final = 16
SWEEP_BATCH: Final = 500
INDEX: Final = "keys"
"""The index of `config:<session>` is `config:keys`, so no session can have this name."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# One script each, so that a value is never there without its expiry and its place in the index. The index's scores are
# milliseconds on Valkey's own clock; the value's own TTL decides, also when somebody has changed it by hand.
_PUT = f"""{_NOW}
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
return 1
"""
_EXTEND = f"""{_NOW}
redis.call('PEXPIRE', KEYS[1], ARGV[1], 'GT')
local left = redis.call('PTTL', KEYS[1])
if left == -2 then return 0 end
redis.call('ZADD', KEYS[2], left == -1 and '+inf' or now + left, ARGV[2])
return 1
"""
_DELETE = """
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""
_LIVE = """
local live = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', ARGV[1] .. id) == 1 then live[#live + 1] = id end
end
return live
"""
_SWEEP = f"""{_NOW}
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
local gone = 0
for _, id in ipairs(due) do
  local left = redis.call('PTTL', ARGV[1] .. id)
  if left == -2 then
    gone = gone + redis.call('ZREM', KEYS[1], id)
  else
    redis.call('ZADD', KEYS[1], left == -1 and '+inf' or now + left, id)
  end
end
return {{gone, #due}}
"""


class StoreUnavailable(Exception):
    """Valkey cannot be reached, does not answer in time, or refuses."""


class BadSessionId(ValueError):
    """A session id is 1 to 64 letters, digits, `_` or `-`, and not the name of the index."""


def check_session_id(session: str) -> str:
    if not SESSION_ID.fullmatch(session):
        raise BadSessionId("a session id is 1 to 64 letters, digits, '_' or '-'")
    if session == INDEX:
        raise BadSessionId(f"a session cannot be called {INDEX!r}")
    return session


def check_ttl(ttl: int) -> int:
    if not 1 <= ttl <= MAX_TTL:
        raise ValueError(f"a time to live is 1 to {MAX_TTL} seconds, not {ttl}")
    return ttl


class Valkey:
    """One pooled client for all stores of a process. It connects when it is first used, and again after a loss."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._client = Redis.from_url(
            url,
            # `reaching` holds the one deadline. With one of its own the client wraps every send in asyncio.wait_for,
            # which on Python 3.11 can swallow the cancellation of an outer timeout.
            socket_timeout=None,
            socket_connect_timeout=None,
            decode_responses=True,
            # A pooled connection may have died with the last server: try once more on a new one.
            retry=Retry(NoBackoff(), 1, (LostConnection,)),
        )

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Raises StoreUnavailable when nobody answers there, ValueError when it is no URL of a Valkey."""
        valkey = cls(url)
        try:
            await valkey.ping()
        except StoreUnavailable:
            await valkey.close()
            raise
        return valkey

    async def ping(self) -> None:
        async with self.reaching() as client:
            await client.ping()

    async def run(self, script: str, keys: list[str], *args: str | int) -> object:
        async with self.reaching() as client:
            return await client.register_script(script)(keys=keys, args=args)

    @asynccontextmanager
    async def reaching(self) -> AsyncIterator["Redis"]:
        """Everything that is asked of Valkey goes through here: one deadline, one error."""
        try:
            async with asyncio.timeout(DEADLINE), self._free:
                yield self._client
        except TimeoutError:
            raise StoreUnavailable(f"Valkey at {self.address} did not answer within {DEADLINE} s") from None
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Valkey at {self.address}: {error}") from error

    async def close(self) -> None:
        await self._client.aclose()


class Shelf:
    """Text values under `<prefix>:<session>`, each with a TTL and a place in the index `<prefix>:keys`."""

    def __init__(self, valkey: Valkey, prefix: str) -> None:
        self._valkey = valkey
        self._prefix = f"{prefix}:"
        self._index = f"{prefix}:{INDEX}"

    def key(self, session: str) -> str:
        return self._prefix + check_session_id(session)

    async def put(self, session: str, value: str, ttl: int) -> None:
        await self._valkey.run(_PUT, [self.key(session), self._index], value, check_ttl(ttl) * 1000, session)

    async def get(self, session: str) -> str | None:
        key = self.key(session)
        async with self._valkey.reaching() as client:
            return cast(str | None, await client.get(key))

    async def get_many(self, sessions: list[str]) -> dict[str, str]:
        """The values that are there, in the order asked for."""
        if not sessions:
            return {}
        keys = [self.key(session) for session in sessions]
        async with self._valkey.reaching() as client:
            values = cast(list[str | None], await client.mget(keys))
        return {session: value for session, value in zip(sessions, values, strict=True) if value is not None}

    async def ids(self) -> list[str]:
        """The sessions whose value is still there, the next to expire first."""
        return cast(list[str], await self._valkey.run(_LIVE, [self._index], self._prefix))

    async def ttl(self, session: str) -> int | None:
        """Seconds left; None when there is no value, or one that somebody has stored without an end."""
        key = self.key(session)
        async with self._valkey.reaching() as client:
            left = await client.ttl(key)
        return left if left >= 0 else None

    async def extend(self, session: str, ttl: int) -> bool:
        """Give it at least `ttl` more seconds from now, never fewer than it has; False when it is gone."""
        keys = [self.key(session), self._index]
        return bool(await self._valkey.run(_EXTEND, keys, check_ttl(ttl) * 1000, session))

    async def sweep(self) -> int:
        """Take expired sessions out of the index and count them."""
        swept = 0
        while True:
            answer = await self._valkey.run(_SWEEP, [self._index], self._prefix, SWEEP_BATCH)
            gone, due = cast(tuple[int, int], answer)
            swept += gone
            if due < SWEEP_BATCH:
                return swept

    async def delete(self, session: str) -> bool:
        return bool(await self._valkey.run(_DELETE, [self.key(session), self._index], session))


@dataclass(frozen=True, slots=True)
class Entry:
    """What `config:<session>` holds."""

    document: dict[str, JsonValue]
    """The configuration, unchecked."""
    credentials: dict[str, str] | None
    """The workspace's own ones, sealed, by provider; None where somebody has written the entry without them."""


class ConfigStorage:
    """The configuration of each session, as `config:<session>`. Only Valkey's own TTL ends it."""

    def __init__(self, valkey: Valkey, default_ttl: int = DEFAULT_TTL) -> None:
        self._valkey = valkey
        self._shelf = Shelf(valkey, "config")
        self._default_ttl = check_ttl(default_ttl)

    @classmethod
    async def new(cls, url: str, default_ttl: int = DEFAULT_TTL) -> Self:
        """Connect; raises StoreUnavailable when nobody answers at `url`."""
        return cls(await Valkey.connect(url), default_ttl)

    async def close(self) -> None:
        await self._valkey.close()

    async def store_config(
        self,
        session: str,
        config: AgentConfig,
        ttl: int | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Without `credentials`, those that are there stay."""
        seconds = self._default_ttl if ttl is None else ttl
        metadata: dict[str, object] = {
            "session_id": session,
            "created_at": datetime.now(UTC).isoformat(),
            "version": "1.0",
            "ttl_seconds": seconds,
        }
        kept = await self._credentials(session) if credentials is None else dict(credentials)
        if kept is not None:
            metadata["credentials"] = kept
        await self._shelf.put(session, json.dumps({"metadata": metadata, "config": dump(config)}), seconds)

    async def get_config(self, session: str) -> AgentConfig | None:
        """None when there is none; ConfigError when somebody has stored a wrong one by hand."""
        document = await self.get_document(session)
        return None if document is None else parse(document)

    async def get_document(self, session: str) -> dict[str, JsonValue] | None:
        """The configuration as it is stored, unchecked; None when there is none."""
        entry = await self.get_entry(session)
        return entry.document if entry else None

    async def get_entry(self, session: str) -> Entry | None:
        """None when there is none; ConfigError when somebody has stored a wrong one by hand."""
        text = await self._shelf.get(session)
        if text is None:
            return None
        stored = load_json(text)
        if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
            raise ConfigError([Problem(self._shelf.key(session), 'must be {"metadata": {…}, "config": {…}}')])
        return Entry(cast(dict[str, JsonValue], stored["config"]), _sealed(stored.get("metadata")))

    async def _credentials(self, session: str) -> dict[str, str] | None:
        try:
            entry = await self.get_entry(session)
        except ConfigError:
            return None
        return entry.credentials if entry else None

    async def list_configs(self) -> list[str]:
        """The sessions that have a configuration now."""
        return await self._shelf.ids()

    async def get_config_ttl(self, session: str) -> int | None:
        return await self._shelf.ttl(session)

    async def extend_config_ttl(self, session: str, ttl: int) -> bool:
        """At least `ttl` seconds from now, never fewer than it has; False when there is no configuration."""
        return await self._shelf.extend(session, ttl)

    async def cleanup_expired_configs(self) -> int:
        """Forget the sessions whose configuration has expired, and count them."""
        return await self._shelf.sweep()

    async def delete_config(self, session: str) -> bool:
        return await self._shelf.delete(session)


def _sealed(metadata: object) -> dict[str, str] | None:
    """The metadata may be anything that somebody has written by hand."""
    found = metadata.get("credentials") if isinstance(metadata, dict) else None
    if not isinstance(found, dict):
        return None
    return {provider: sealed for provider, sealed in found.items() if isinstance(sealed, str)}
