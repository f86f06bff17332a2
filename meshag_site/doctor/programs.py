"""Who runs: workers by their heartbeats, pages, the bridge, jobs and their schedule, and the transport's socket."""

import asyncio
import base64
import os
import ssl
import time
from collections import Counter
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import msgspec
import redis.asyncio as valkey

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.roster import BEAT, Beat
from meshag_site import background, ports
from meshag_site.background import JOBS, SILENT_AFTER, Life, Run
from meshag_site.doctor.findings import Area, Finding, Installation, Level, of_area
from meshag_site.doctor.servers import ask_valkey
from meshag_site.processes import failing_checks

say = of_area(Area.PROGRAMS)

ANSWER_WITHIN = 2.0
LISTEN_FOR = 3 * BEAT
ROLES = ("stt", "llm", "tts", "transport")
STARTING = 30.0
"""Seconds after the start of `make up` in which it is no wonder that Celery is not there yet."""
MISSED = 3
"""Times its interval after which a job counts as forgotten."""
NOBODYS = "/media/websocket/doctor/this-token-opens-nothing"
"""An address of the transport that no session has: to be refused there shows that one has arrived."""
MORE = "run `make up`, which starts them, or `python -m workers {role}`"


async def hear_beats(its: Installation) -> list[Beat]:
    """The workers that live, by what they say. Raises Unreachable."""
    heard: dict[str, Beat] = {}

    def hear(subject: str, payload: bytes, headers: object) -> None:
        try:
            beat = msgspec.json.decode(payload, type=Beat)
        except msgspec.MsgspecError:
            return
        heard[beat.id] = beat

    async with await Bus.connect(its.nats_url, "doctor") as bus:
        await bus.subscribe(subjects.worker_beat("*"), hear)
        await asyncio.sleep(LISTEN_FOR)
    return list(heard.values())


async def check_workers(its: Installation) -> list[Finding]:
    try:
        beats = await hear_beats(its)
    except Unreachable:
        return [say("Workers", Level.PROBLEM, "cannot be heard without NATS", "see NATS")]
    return [_role(role, [beat for beat in beats if beat.role == role]) for role in ROLES]


def _role(role: str, beats: list[Beat]) -> Finding:
    name = f"Workers: {role}"
    if not beats:
        return say(name, Level.PROBLEM, "none", MORE.format(role=role))
    sessions, draining = sum(beat.sessions for beat in beats), sum(beat.draining for beat in beats)
    held = f"{sessions} session{'' if sessions == 1 else 's'}"
    seen = f"{len(beats)}, with {held}" + (f"; {draining} of them about to leave" if draining else "")
    if draining == len(beats):
        return say(name, Level.PROBLEM, seen, MORE.format(role=role))
    if len(beats) == 1 and role != "transport":
        hint = f"with two a call goes on at once when one ends (MESHAG_{role.upper()}_WORKERS)"
        return say(name, Level.OK, seen, hint)
    return say(name, Level.OK, seen)


# -- pages ----------------------------------------------------------------------------------------------


async def check_pages(its: Installation) -> list[Finding]:
    """What each program of `make up` here says of itself."""
    if not its.is_started:
        return []
    pages = {"web": its.port(ports.WEB, ports.DOCUMENTED[ports.WEB]), **its.runtime.get("pages", {})}
    timeout = aiohttp.ClientTimeout(ANSWER_WITHIN)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Host": "localhost"}) as client:
        found = await asyncio.gather(*(_page(client, its, name, port) for name, port in pages.items()))
    troubles = [finding for finding in found if finding.level is not Level.OK]
    ready = say("Ready", Level.OK, f"{', '.join(finding.name for finding in found if finding.level is Level.OK)}")
    return [*troubles, ready] if len(troubles) < len(found) else troubles


async def _page(client: aiohttp.ClientSession, its: Installation, name: str, port: int) -> Finding:
    host = f"[{its.near_host}]" if ":" in its.near_host else its.near_host
    log = f"see {its.data_dir / 'logs' / name}.log"
    try:
        async with client.get(f"http://{host}:{port}/ready") as answer:
            body = await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return say(name, Level.PROBLEM, f"does not answer at port {port}", log)
    if answer.status == 200:
        return say(name, Level.OK, "ready")
    return say(name, Level.PROBLEM, f"is not ready: {failing_checks(body)}", log)


# -- jobs -----------------------------------------------------------------------------------------------


async def check_jobs(its: Installation) -> list[Finding]:
    client = ask_valkey(its.valkey_url)
    try:
        lives = background.parse_lives(await client.zrange(background.ALIVE, 0, -1, withscores=True))
        runs = background.parse_runs(cast(dict[str, str], await client.hgetall(background.RUNS)))
    except (valkey.RedisError, OSError):
        return [say("Jobs", Level.PROBLEM, "cannot be seen without Valkey", "see Valkey")]
    finally:
        await client.aclose()
    now = time.time()
    return [_who_works(its, lives, now), *(_last_run(job, every, runs.get(job), now) for job, every in JOBS.items())]


def _who_works(its: Installation, lives: list[Life], now: float) -> Finding:
    there = Counter(life.who for life in lives if now - life.at < SILENT_AFTER)
    workers, beats = there[background.WORKER], there[background.BEAT]
    if its.environ.get("MESHAG_CELERY_WORKERS") == "0" and not workers:
        seen = "turned off: nothing that has expired is deleted"
        return say("Jobs", Level.WARNING, seen, "unset MESHAG_CELERY_WORKERS")
    seen = f"{workers} workers and {beats} schedules of Celery are alive"
    if (not workers or not beats) and now - float(its.runtime.get("started_at", 0)) < STARTING:
        return say("Jobs", Level.OK, "Celery starts last, and is about to")
    if not workers or not beats:
        return say("Jobs", Level.PROBLEM, seen, "run `make up`, which starts both, and see celery.log and beat.log")
    if beats > 1:
        return say("Jobs", Level.WARNING, seen, "run one schedule for each Valkey; more do every job as often")
    return say("Jobs", Level.OK, "Celery's worker and its schedule are alive")


def _last_run(job: str, every: int, run: Run | None, now: float) -> Finding:
    name = f"Job: {job.rpartition('.')[2].replace('_', ' ')}"
    if run is None:
        return say(name, Level.OK, f"has not run yet; it does every {_in_words(every)}")
    seen = f"{_in_words(now - run.at)} ago, in {run.seconds:.1f} s"
    if run.error:
        fix = "see celery.log; it is tried again when it is due"
        return say(name, Level.WARNING, f"failed {seen}: {run.error}", fix)
    if now - run.at > MISSED * every:
        return say(name, Level.WARNING, f"ran {seen}; it is due every {_in_words(every)}", "see whether beat runs")
    return say(name, Level.OK, f"ran {seen}: {run.result}")


def _in_words(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


# -- the transport's socket -------------------------------------------------------------------------------


async def check_socket(its: Installation) -> list[Finding]:
    port = its.port(ports.TRANSPORT, ports.DOCUMENTED[ports.TRANSPORT])
    host = f"[{its.near_host}]" if ":" in its.near_host else its.near_host
    near = _socket("Call socket", f"http://{host}:{port}", "see whether the transport runs")
    if not its.public_url:
        return [await near]
    fix = "let the reverse proxy pass /media/ with its upgrade to the transport (docs/deployment.md)"
    return list(await asyncio.gather(near, _socket("Call socket, from outside", its.public_url, fix)))


async def _socket(name: str, origin: str, fix: str) -> Finding:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            head = await upgrade(origin, NOBODYS)
    except (OSError, ssl.SSLError, TimeoutError) as error:
        why = f" ({error})" if str(error) else ""
        return say(name, Level.PROBLEM, f"nothing answers at {origin}{why}", fix)
    status = head.partition("\r\n")[0].split(" ")[1:2]
    if "content-security-policy:" in head.lower():
        return say(name, Level.PROBLEM, f"{origin}/media/ leads to the web, not to the transport", fix)
    if status in (["101"], ["403"], ["404"]):
        return say(name, Level.OK, f"WebSockets reach the transport at {origin}")
    return say(name, Level.PROBLEM, f"{origin} answers a WebSocket with {' '.join(status) or 'nothing'}", fix)


async def upgrade(origin: str, path: str) -> str:
    """The head of the answer to a real WebSocket request. Raises OSError."""
    parts = urlsplit(origin)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        writer.write("\r\n".join((*lines, "", "")).encode())
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return ""
    finally:
        writer.close()
