"""What `manage.py up` runs: each program's command line, environment, and how it tells that it is ready."""

import asyncio
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio as valkey

from mesh.environment import BadSetting, Environment
from meshag_site import background, ports
from meshag_site.background import BEAT, WORKER
from meshag_site.embedded import EmbeddedServer, ForeignServer, NatsServer, ValkeyServer
from meshag_site.ports import LOOPBACK, Ports, choose_ports, free_port, is_free
from meshag_site.supervisor import Ending, Program
from workers.settings import Settings

PROBE_TIMEOUT = 3.0
WORKER_GRACE = 8.0
"""Seconds: more than the workers give their sessions to end."""
BACKGROUND_GRACE = 3.0
"""Seconds: a job that is cut off is done again; only a Valkey that hangs keeps a worker for as long."""
MOST_WORKERS = 64
DEFAULT_WORKERS = {"stt": 2, "llm": 2, "tts": 2, "transport": 1}
ROLE_PORTS = {"stt": ports.STT, "llm": ports.LLM, "tts": ports.TTS}
ONLY_OURS = ("MESHAG_ADMIN_PASSWORD", "MESHAG_ADMIN_PASSWORD_FILE", "MESHAG_API_KEY", "MESHAG_API_KEY_FILE")
"""The first credentials are for `up`; the programs do not get them."""

Probe = Callable[[int], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Plan:
    data_dir: Path
    host: str
    ports: Ports
    servers: Sequence[EmbeddedServer]
    """Those that are not given by NATS_URL and VALKEY_URL."""
    environment: Mapping[str, str]
    """Of every program; the settings in it are resolved."""
    pages: Mapping[str, int]
    """The port of each worker's and the bridge's own /health, /ready and /metrics."""
    jobs: int
    """How many jobs of Celery run at once; without any there is no schedule either."""

    @property
    def near_host(self) -> str:
        """Where this machine reaches what listens on `host`."""
        return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)

    def url(self, port: int, path: str = "") -> str:
        host = f"[{self.near_host}]" if ":" in self.near_host else self.near_host
        return f"http://{host}:{port}{path}"

    def runtime(self) -> dict[str, object]:
        """For `manage.py` commands beside us: where everything is."""
        names = ("NATS_URL", "VALKEY_URL", "DATABASE_URL", "MESHAG_EMBEDDED", "MESHAG_BIND", *self.ports.numbers)
        resolved = {name: self.environment[name] for name in names if name in self.environment}
        return {
            "pid": os.getpid(),
            "started_at": time.time(),
            **resolved,
            "pages": dict(self.pages),
            "moved": list(self.ports.moved),
        }


def plan(environ: Mapping[str, str], data_dir: Path) -> Plan:
    """Decide what runs where. Raises BadSetting and PortError."""
    env = Environment(environ)
    urls = {"NATS_URL": env.nats_url(default=""), "VALKEY_URL": env.valkey_url(default="")}
    given = {name: url for name, url in urls.items() if url}
    host = env.text("MESHAG_BIND", LOOPBACK)
    if not is_free(0, host):
        raise BadSetting(f"MESHAG_BIND: this machine has no address {host!r} to listen on")
    settings = [ports.WEB, *ROLE_PORTS.values(), ports.TRANSPORT, ports.BRIDGE]
    if "NATS_URL" not in given:
        settings += [ports.NATS, ports.NATS_MONITOR]
    if "VALKEY_URL" not in given:
        settings += [ports.VALKEY]
    chosen = choose_ports(settings, environ, host=host)
    servers: list[EmbeddedServer] = []
    if "NATS_URL" not in given:
        servers.append(NatsServer(data_dir / "nats", chosen[ports.NATS], chosen[ports.NATS_MONITOR]))
    if "VALKEY_URL" not in given:
        servers.append(ValkeyServer(data_dir / "valkey", chosen[ports.VALKEY]))
    urls |= {f"{server.name.upper()}_URL": server.url for server in servers}
    environment = {
        **{name: value for name, value in environ.items() if name not in ONLY_OURS},
        **urls,
        **{setting: str(number) for setting, number in chosen.numbers.items()},
        "MESHAG_DATA_DIR": str(data_dir),
        "MESHAG_BIND": host,
        "MESHAG_EMBEDDED": "0" if given else "1",
        "PYTHONUNBUFFERED": "1",
        "MESHAG_ENV_FILE": os.devnull,  # what it says is here already, and the rest of it is none of their business
    }
    for name in urls:
        environment.pop(f"{name}_FILE", None)
    Settings.from_environ(environment)  # a worker that cannot read its settings would be started for ever
    jobs = env.number("MESHAG_CELERY_WORKERS", 1, 0, MOST_WORKERS)
    return Plan(data_dir, host, chosen, servers, environment, _pages(env, chosen), jobs)


def _pages(env: Environment, chosen: Ports) -> dict[str, int]:
    """The first worker of a role has the documented port, everything else a free one."""
    pages = {"bridge": chosen[ports.BRIDGE]}
    for name in [f"{role}-{n + 1}" for role in DEFAULT_WORKERS for n in range(_count(env, role))]:
        role, _, number = name.partition("-")
        if number == "1" and role in ROLE_PORTS:
            pages[name] = chosen[ROLE_PORTS[role]]
        else:
            pages[name] = free_port({*chosen.numbers.values(), *pages.values()})
    return pages


def _count(env: Environment, role: str) -> int:
    return env.number(f"MESHAG_{role.upper()}_WORKERS", DEFAULT_WORKERS[role], 0, MOST_WORKERS)


# -- programs -------------------------------------------------------------------------------------------


def server_program(server: EmbeddedServer, plan: Plan) -> Program:
    async def probe(pid: int) -> str | None:
        try:
            return "" if await asyncio.to_thread(server.answers, pid) else None
        except ForeignServer as error:
            return str(error)

    return Program(
        name=server.name,
        command=server.command(),
        environment=server.environment(plan.environment),
        probe=probe,
        ending=Ending.SERVER,
        address=server.url,
        echo=False,
    )


def worker_programs(plan: Plan, transport: socket.socket) -> list[Program]:
    return [_worker_program(plan, name, transport) for name in plan.pages if name != "bridge"]


def _worker_program(plan: Plan, name: str, transport: socket.socket) -> Program:
    role, port = name.split("-")[0], plan.pages[name]
    edge = role == "transport"
    inherited = {"MESHAG_TRANSPORT_FD": str(transport.fileno())} if edge else {}
    pages = plan.url(port)
    option = "--operations-port" if edge else "--port"
    return Program(
        name=name,
        command=[sys.executable, "-m", "workers", role, option, str(port)],
        identity="--id",
        environment={**plan.environment, **inherited},
        pass_fds=[transport.fileno()] if edge else [],
        grace=WORKER_GRACE,
        probe=pages_probe(plan.near_host, port),
        ending=Ending.EDGE if edge else Ending.WORK,
        address=f"{plan.url(plan.ports[ports.TRANSPORT])} (its own pages: {pages})" if edge else pages,
    )


def web_program(plan: Plan) -> Program:
    port = plan.ports[ports.WEB]
    return Program(
        name="web",
        command=[
            *(sys.executable, "-m", "daphne", "--verbosity", "0", "--no-server-name"),
            *("--bind", plan.host, "--port", str(port), "meshag_site.asgi:application"),
        ],
        environment=plan.environment,
        probe=pages_probe(plan.near_host, port),
        ending=Ending.EDGE,
        address=plan.url(port),
    )


def bridge_program(plan: Plan) -> Program:
    port = plan.pages["bridge"]
    return Program(
        name="bridge",
        command=[sys.executable, "manage.py", "bridge"],
        environment=plan.environment,
        probe=pages_probe(plan.near_host, port),
        ending=Ending.RECORD,
        address=plan.url(port),
    )


def background_programs(plan: Plan) -> list[Program]:
    """Celery's worker and schedule, for work that can wait: they leave the processor to those that talk."""
    if not plan.jobs:
        return []
    quiet = ("--without-gossip", "--without-mingle", "--heartbeat-interval", f"{background.SIGN_EVERY:g}")
    worker = ("worker", "--pool", "threads", "--concurrency", str(plan.jobs), *quiet)
    return [_background_program(plan, WORKER, worker), _background_program(plan, BEAT, ("beat", "--pidfile="))]


def _background_program(plan: Plan, name: str, words: Sequence[str]) -> Program:
    celery = (sys.executable, "-m", "celery", "--quiet", "--app", "meshag_site.celery")
    return Program(
        name=name,
        command=["nice", "-n", "10", *celery, *words],
        environment=plan.environment,
        grace=BACKGROUND_GRACE,
        probe=life_probe(plan.environment["VALKEY_URL"], name),
        ending=Ending.WORK,
        address="jobs that can wait" if name == WORKER else "wakes them by the clock",
    )


# -- probes ---------------------------------------------------------------------------------------------


def pages_probe(host: str, port: int) -> Probe:
    """Up when `/health` says so; ready when `/ready` does, else what its failing checks say."""

    def ask() -> str | None:
        if _get(host, port, "/health")[0] != 200:
            return None
        status, body = _get(host, port, "/ready")
        return "" if status == 200 else failing_checks(body)

    async def probe(pid: int) -> str | None:
        return await asyncio.to_thread(ask)

    return probe


def life_probe(url: str, who: str) -> Probe:
    """Ready when the process has said in Valkey that it lives."""

    async def probe(pid: int) -> str | None:
        client = valkey.from_url(url, socket_timeout=PROBE_TIMEOUT)
        try:
            heard = await client.zscore(background.ALIVE, background.name_of(who, pid))
            return "" if heard is not None and time.time() - heard < background.SILENT_AFTER else None
        except (valkey.RedisError, OSError):
            return None
        finally:
            await client.aclose()

    return probe


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def failing_checks(body: bytes) -> str:
    """What is wrong, by a `/ready` page."""
    try:
        checks = json.loads(body)["checks"]
        failing = [f"{check['name']}: {check['message']}" for check in checks if check["status"] == "unhealthy"]
    except (ValueError, KeyError, TypeError):
        failing = []
    return "; ".join(failing) or "its /ready page says no"
