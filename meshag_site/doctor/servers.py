"""NATS, Valkey and the database: there, new enough, and set so that nothing is lost."""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import redis.asyncio as valkey
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.bus.streams import ServerState
from meshag_site import ports
from meshag_site.doctor.findings import Area, Finding, Installation, Level, of_area
from meshag_site.embedded import NATS_AT_LEAST, VALKEY_AT_LEAST
from sessions_app.models import BridgeCursor

say = of_area(Area.SERVERS)

ANSWER_WITHIN = 1.0
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "ws": 80, "wss": 443}
FULL = 0.9
"""The share of its memory from which on Valkey counts as full."""
LAG_IS_LONG = 10.0
"""Seconds without a step after which a bridge that is behind counts as stuck."""
START_SERVER = "run `make up`, which starts one, or correct {setting}"


def place_of(url: str) -> str:
    """Host and port: the rest of a URL may hold a password."""
    parts = urlsplit(url.split(",")[0])
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def version_of(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


async def answers(url: str) -> bool:
    """Whether anything listens there at all."""
    parts = urlsplit(url.split(",")[0])
    return await _is_open(str(parts.hostname), parts.port or DEFAULT_PORTS.get(parts.scheme, 4222))


# -- NATS -----------------------------------------------------------------------------------------------


async def check_nats(its: Installation) -> list[Finding]:
    try:
        async with await Bus.connect(its.nats_url, "doctor") as bus:
            state = await bus.inspect()
    except Unreachable:
        return [nats_is_away(its)]
    findings = [_nats_version(its, state)]
    if state.has_jetstream:
        findings += [_streams(state), await _syncing(its, state), await sync_to_async(_rows)(state)]
    return findings


def nats_is_away(its: Installation) -> Finding:
    seen = f"nothing answers at {place_of(its.nats_url)}"
    return say("NATS", Level.PROBLEM, seen, START_SERVER.format(setting="NATS_URL"))


def _nats_version(its: Installation, state: ServerState) -> Finding:
    seen = f"{state.version} at {place_of(its.nats_url)}"
    if version_of(state.version) < NATS_AT_LEAST:
        return say("NATS", Level.PROBLEM, seen, f"update the server to {_dotted(NATS_AT_LEAST)} or newer")
    if not state.has_jetstream:
        return say("NATS", Level.PROBLEM, f"{seen}, without JetStream", "start it with `jetstream {}` in its config")
    return say("NATS", Level.OK, f"{seen}, with JetStream")


def _streams(state: ServerState) -> Finding:
    wrong = {name: trouble for name, trouble in state.streams.items() if trouble}
    if not wrong:
        return say("Streams", Level.OK, f"{', '.join(state.streams)}: as they must be")
    seen = "; ".join(f"{name} {trouble}" for name, trouble in wrong.items())
    fix = "start a worker: it creates what is missing. A stream that differs was changed by hand: delete it"
    return say("Streams", Level.PROBLEM, seen, fix)


async def _syncing(its: Installation, state: ServerState) -> Finding:
    """Whether an acknowledged event survives a power cut."""
    port = its.port(ports.NATS_MONITOR, ports.DOCUMENTED[ports.NATS_MONITOR])
    page = f"{urlsplit(its.nats_url.split(',')[0]).hostname}:{port}"
    jetstream = await _ask_monitor(f"http://{page}/jsz?config=1")
    fix = "set `sync_interval: always` in its jetstream block, or give the stream EVENTS three replicas"
    if jetstream.get("server_id") != state.id:
        seen = f"cannot be seen: the server's monitoring page is not at {page} (MESHAG_NATS_MONITOR_PORT)"
        return say("Syncing to disk", Level.WARNING, seen, f"{fix}, if that is not so yet")
    if jetstream.get("config", {}).get("sync_always"):
        return say("Syncing to disk", Level.OK, "every event is on disk before it counts")
    seen = "the server acknowledges before it writes to disk: a power cut may lose a caller's last words"
    return say("Syncing to disk", Level.WARNING, seen, fix)


async def _ask_monitor(url: str) -> dict[str, Any]:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_WITHIN)) as client,
            client.get(url) as answer,
        ):
            found: dict[str, Any] = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
    return found


def _rows(state: ServerState) -> Finding:
    """How far the bridge's rows are behind the stream."""
    try:
        cursor = BridgeCursor.objects.filter(stream="EVENTS").first()
    except DatabaseError:
        return say("Rows", Level.WARNING, "cannot be seen without the database", "see Database")
    behind = state.last_sequence - (cursor.sequence if cursor else 0)
    if cursor is None and behind:
        return say("Rows", Level.WARNING, "no event was ever written down", "run `manage.py bridge`")
    if cursor is None or behind <= 0:
        return say("Rows", Level.OK, f"up to the stream's last event ({state.last_sequence})")
    idle = (timezone.now() - cursor.moved_at).total_seconds()
    seen = f"{behind} events behind the stream"
    if idle < LAG_IS_LONG:
        return say("Rows", Level.OK, f"{seen}, and catching up")
    fix = "see whether the bridge runs and what its log says; nothing is lost while the stream keeps the events"
    return say("Rows", Level.PROBLEM, f"{seen}, and nothing was written for {idle:.0f} s", fix)


# -- Valkey ---------------------------------------------------------------------------------------------


def ask_valkey(url: str) -> "valkey.Redis":
    """A client that asks once: its usual retries take longer than anybody waits here."""
    once = Retry(NoBackoff(), 0)
    return valkey.from_url(
        url, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN, retry=once, decode_responses=True
    )


async def check_valkey(its: Installation) -> list[Finding]:
    client = ask_valkey(its.valkey_url)
    try:
        info = await client.info()
        saves = await _saves(client, info)
    except (valkey.RedisError, OSError):
        return [valkey_is_away(its)]
    finally:
        await client.aclose()
    return [_valkey_version(its, info), _valkey_memory(info), _valkey_persistence(info, saves)]


def valkey_is_away(its: Installation) -> Finding:
    seen = f"nothing answers at {place_of(its.valkey_url)}"
    return say("Valkey", Level.PROBLEM, seen, START_SERVER.format(setting="VALKEY_URL"))


async def _saves(client: "valkey.Redis", info: dict[str, Any]) -> bool:
    """Whether it writes anything to disk; a server that does not tell is believed to."""
    if info.get("aof_enabled"):
        return True
    try:
        return bool((await client.config_get("save")).get("save"))
    except valkey.ResponseError:
        return True


def _valkey_version(its: Installation, info: dict[str, Any]) -> Finding:
    name = str(info.get("server_name") or "redis").capitalize()
    version = str(info.get("valkey_version") or info.get("redis_version", ""))
    seen = f"{name} {version} at {place_of(its.valkey_url)}"
    if version_of(version) < VALKEY_AT_LEAST:
        return say("Valkey", Level.PROBLEM, seen, f"update the server to {_dotted(VALKEY_AT_LEAST)} or newer")
    return say("Valkey", Level.OK, seen)


def _valkey_memory(info: dict[str, Any]) -> Finding:
    used, most, policy = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)), info.get("maxmemory_policy")
    seen = f"{used / 1e6:.0f} MB used" + (f" of {most / 1e6:.0f} MB, {policy} when full" if most else "")
    if most and policy != "noeviction":
        fix = "set `maxmemory-policy noeviction`: what it evicts is the configuration of a running call"
        return say("Valkey's memory", Level.WARNING, seen, fix)
    if most and used > FULL * most:
        return say("Valkey's memory", Level.PROBLEM, seen, "give it more (`maxmemory`)")
    return say("Valkey's memory", Level.OK, seen)


def _valkey_persistence(info: dict[str, Any], saves: bool) -> Finding:
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name) == "err"]
    if failed:
        fix = "see its log and whether its disk is full; it may refuse to write until this is mended"
        return say("Valkey on disk", Level.PROBLEM, f"its last write failed ({', '.join(failed)})", fix)
    if not saves:
        fix = "set `appendonly yes`: else its restart forgets who may join a call"
        return say("Valkey on disk", Level.WARNING, "nothing is written to disk", fix)
    return say("Valkey on disk", Level.OK, "append-only file" if info.get("aof_enabled") else "snapshots")


# -- database -------------------------------------------------------------------------------------------


async def check_database(its: Installation) -> list[Finding]:
    database = settings.DATABASES["default"]
    host, port = database.get("HOST"), int(database.get("PORT") or 5432)
    if host and not host.startswith("/") and not await _is_open(host, port):
        return [say("Database", Level.PROBLEM, f"nothing answers at {host}:{port}", "start it or correct DATABASE_URL")]
    return await sync_to_async(_examine_database)()


async def _is_open(host: str, port: int) -> bool:
    """Drivers wait for minutes where nobody answers."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _examine_database() -> list[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
        journal = _journal() if connection.vendor == "sqlite" else ""
    except DatabaseError as error:
        return [say("Database", Level.PROBLEM, f"does not answer: {error}", "check DATABASE_URL")]
    if waiting:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in waiting[:3])
        seen = f"{len(waiting)} migrations are not applied ({names}{' …' if len(waiting) > 3 else ''})"
        return [say("Database", Level.PROBLEM, seen, "run `manage.py migrate`; `make up` does so at its start")]
    if journal and journal != "wal":
        fix = "keep the file on a local disk: on a network file system SQLite cannot write and read at once"
        return [say("Database", Level.WARNING, f"SQLite in journal mode {journal}, not WAL", fix)]
    return [say("Database", Level.OK, "SQLite in WAL mode, migrated" if journal else f"{connection.vendor}, migrated")]


def _journal() -> str:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        return str(cursor.fetchone()[0])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
