"""What worker and scheduler leave in Valkey: that they live, and how the last run of each job went."""

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from redis import Redis

DEADLINE: Final = 1.0
"""Seconds after which a Valkey that does not answer is an error."""
ALIVE: Final = "background:alive"
"""Sorted set: `<who>@<host>:<pid>` by the time of its last sign of life."""
RUNS: Final = "background:runs"
"""Hash: a `Run` as JSON by the name of its job."""
FORGOTTEN_AFTER: Final = 3600.0

HOUR, DAY = 3600, 86_400
JOBS: Final = {
    "sessions_app.tasks.delete_past_retention": HOUR,
    "accounts_app.tasks.forget_expired_logins": DAY,
}
"""Seconds between two runs of each job."""

WORKER: Final = "celery"
BEAT: Final = "beat"
SIGN_EVERY: Final = 5.0
SILENT_AFTER: Final = 20.0
"""Seconds without a sign of life after which a process counts as gone."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How a job went the last time."""

    job: str
    at: float
    """When it ended, in seconds since 1970."""
    seconds: float
    result: str = ""
    """What it did, in a few words."""
    error: str = ""
    """Why it did not; empty when all is well."""


@dataclass(frozen=True, slots=True)
class Life:
    """A process that runs jobs or schedules them, and when it was last heard of."""

    who: str
    place: str
    at: float


def connect(url: str) -> "Redis":
    return Redis.from_url(url, socket_timeout=DEADLINE, socket_connect_timeout=DEADLINE, decode_responses=True)


def name_of(who: str, pid: int) -> str:
    """How a process of this machine is called in the list of those that live."""
    return f"{who}@{socket.gethostname()}:{pid}"


def note_alive(client: "Redis", who: str) -> None:
    """Raises RedisError."""
    now = time.time()
    with client.pipeline() as pipeline:
        pipeline.zadd(ALIVE, {name_of(who, os.getpid()): now})
        pipeline.zremrangebyscore(ALIVE, "-inf", now - FORGOTTEN_AFTER)
        pipeline.execute()


def note_gone(client: "Redis", who: str) -> None:
    """Raises RedisError."""
    client.zrem(ALIVE, name_of(who, os.getpid()))


def note_run(client: "Redis", run: Run) -> None:
    """Raises RedisError."""
    client.hset(RUNS, run.job, msgspec.json.encode(run).decode())


def read_lives(client: "Redis") -> list[Life]:
    """Who was heard of in the last hour. Raises RedisError."""
    return parse_lives(cast(list[tuple[str, float]], client.zrange(ALIVE, 0, -1, withscores=True)))


def read_runs(client: "Redis") -> dict[str, Run]:
    """The last run of each job. Raises RedisError."""
    return parse_runs(cast(dict[str, str], client.hgetall(RUNS)))


def parse_lives(entries: Iterable[Sequence[Any]]) -> list[Life]:
    """What the sorted set holds."""
    return [Life(who, place, float(at)) for (who, _, place), at in ((name.partition("@"), at) for name, at in entries)]


def parse_runs(texts: Mapping[str, str]) -> dict[str, Run]:
    """What the hash holds, without what nobody can read."""
    runs = {}
    for job, text in texts.items():
        try:
            runs[job] = msgspec.json.decode(text, type=Run)
        except msgspec.MsgspecError:
            continue
    return runs
