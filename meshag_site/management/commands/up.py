"""`manage.py up`: everything runs, until Ctrl-C or until whoever started it is gone."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as valkey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.environment import BadSetting
from meshag_site import ports
from meshag_site.embedded import ServerError
from meshag_site.first_start import (
    KEY_FILE,
    PASSWORD_FILE,
    FirstCredentials,
    GivenCredentials,
    prepare_database,
    write_secret,
)
from meshag_site.output import Terminal
from meshag_site.ports import PortError, listen
from meshag_site.processes import (
    Plan,
    background_programs,
    bridge_program,
    plan,
    server_program,
    web_program,
    worker_programs,
)
from meshag_site.supervisor import Child, StartFailed, Supervisor

READY = "MeshAG is ready"
PARENT_LOOK = 0.5
"""Seconds between two looks at whether the process that started us is still there."""
GIVEN_SERVER_DEADLINE = 3.0


class Command(BaseCommand):
    help = "Run everything: servers, web, workers, bridge. Ctrl-C stops all of it."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--verbose", action="store_true", help="show every line that the programs write")

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)  # whatever we and our programs write is for our user only
        data_dir: Path = settings.DATA_DIR
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        terminal = Terminal(sys.stdout, verbose=options["verbose"])
        try:
            given = GivenCredentials.from_environ(os.environ)
            with only_one(data_dir):
                asyncio.run(Up(plan(os.environ, data_dir), given, terminal).run())
        except (BadSetting, PortError, ServerError, StartFailed) as error:
            raise CommandError(str(error)) from None
        finally:
            terminal.close()


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data directory. The lock ends with the process, however it ends."""
    with (data_dir / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CommandError(
                f"MeshAG already runs with the data in {data_dir} (process {lock.read().strip() or 'unknown'}). "
                "Stop it, or set MESHAG_DATA_DIR to another directory for a second copy."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class Up:
    """One start, from the servers to the last stop."""

    def __init__(self, plan: Plan, given: GivenCredentials, terminal: Terminal) -> None:
        self._plan = plan
        self._given = given
        self._terminal = terminal
        self._told_to_stop = asyncio.Event()
        self._parent = os.getppid()

    async def run(self) -> None:
        """Returns after everything has stopped; raises what kept it from starting."""
        for notice in self._plan.ports.notices:
            self._terminal.warn(notice)
        runtime = self._plan.data_dir / "runtime.json"
        async with Supervisor(logs=self._plan.data_dir / "logs", terminal=self._terminal) as supervisor:
            self._listen_to_signals(supervisor)
            write_secret(runtime, json.dumps(self._plan.runtime(), indent=2))
            try:
                await self._until_stopped(supervisor)
            finally:
                runtime.unlink(missing_ok=True)
        self._terminal.line("MeshAG has stopped")

    def _listen_to_signals(self, supervisor: Supervisor) -> None:
        def tell(what: str) -> None:
            if self._told_to_stop.is_set():
                supervisor.kill()
            self._terminal.line(f"\n{what}: stopping (once more: at once)")
            self._told_to_stop.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, tell, "Ctrl-C")
        loop.add_signal_handler(signal.SIGTERM, tell, "SIGTERM")
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(signal.SIGHUP, tell, "The terminal is gone")

    async def _until_stopped(self, supervisor: Supervisor) -> None:
        running = asyncio.create_task(self._serve(supervisor))
        ends = {
            running,
            asyncio.create_task(self._told_to_stop.wait()),
            asyncio.create_task(self._until_parent_is_gone()),
        }
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        await asyncio.wait(ends)
        if not running.cancelled() and (error := running.exception()):
            raise error

    async def _until_parent_is_gone(self) -> None:
        if self._parent == 1:  # started by init itself: a container, a service manager
            await asyncio.Event().wait()
        while os.getppid() == self._parent:  # noqa: ASYNC110 (no event tells it, and not every system a signal)
            await asyncio.sleep(PARENT_LOOK)
        self._terminal.line("The process that started MeshAG is gone: stopping")

    async def _serve(self, supervisor: Supervisor) -> None:
        """Start all, say that it is ready, stay."""
        later = background_programs(self._plan)
        programs = len(self._plan.pages) + 1 + len(later)
        self._terminal.line(f"Starting {len(self._plan.servers)} servers and {programs} programs ...")
        servers = [supervisor.start(server_program(server, self._plan)) for server in self._plan.servers]
        await asyncio.gather(*(supervisor.until_ready(server, first_run_only=True) for server in servers))
        await self._check_given_valkey()
        with listen(self._plan.ports[ports.TRANSPORT], self._plan.host) as transport:
            async with await self._connect() as bus:

                async def tell_gone(worker: str) -> None:
                    await bus.publish(subjects.WORKER_GONE, json.dumps({"id": worker}).encode())

                supervisor.on_worker_end = tell_gone
                workers = [supervisor.start(program) for program in worker_programs(self._plan, transport)]
                first = await self._prepare_database()
                site = [supervisor.start(program) for program in (web_program(self._plan), bridge_program(self._plan))]
                children = (*workers, *site)
                ready = await asyncio.gather(*(supervisor.until_ready(child) for child in children))
                unready = [child for child, is_ready in zip(children, ready, strict=True) if not is_ready]
                for notice in first.notices:
                    self._terminal.warn(notice)
                for line in addresses(
                    self._plan, first, settings.PUBLIC_URL, [child.program.name for child in unready]
                ):
                    self._terminal.line(line)
                # Last: nobody who calls or looks waits for these, and their imports take the others' processor.
                last = [supervisor.until_ready(supervisor.start(program)) for program in later]
                await asyncio.gather(self._until_complete(supervisor, unready), *last)
                await asyncio.Event().wait()

    async def _until_complete(self, supervisor: Supervisor, unready: Sequence[Child]) -> None:
        """For those that have kept MeshAG from being ready."""
        await asyncio.gather(*(supervisor.until_complete(child) for child in unready))
        if unready:
            self._terminal.line(READY)

    async def _connect(self) -> Bus:
        url = self._plan.environment["NATS_URL"]
        try:
            bus = await Bus.connect(url, name="supervisor")
            await bus.ensure_streams()
        except Unreachable:
            raise StartFailed(f"NATS_URL: no NATS with JetStream answers at {_place(url)}") from None
        return bus

    async def _check_given_valkey(self) -> None:
        url = self._plan.environment["VALKEY_URL"]
        client = valkey.from_url(url, socket_timeout=GIVEN_SERVER_DEADLINE)
        try:
            await client.ping()
        except (valkey.RedisError, OSError) as error:
            raise StartFailed(f"VALKEY_URL: no Valkey answers at {_place(url)}: {error}") from None
        finally:
            await client.aclose()

    async def _prepare_database(self) -> FirstCredentials:
        try:
            first = await asyncio.to_thread(self._prepare_in_thread)
        except DatabaseError as error:
            raise StartFailed(f"DATABASE_URL: the database cannot be prepared: {error}") from None
        except ValueError as error:
            raise StartFailed(f"MESHAG_API_KEY: {error}") from None
        self._terminal.ready("database", "migrated")
        return first

    def _prepare_in_thread(self) -> FirstCredentials:
        try:
            return prepare_database(self._given, self._plan.data_dir)
        finally:
            connections.close_all()


def addresses(plan: Plan, first: FirstCredentials, public_url: str, unready: Sequence[str] = ()) -> list[str]:
    """What the operator opens and calls: by the public address where there is one, since the others redirect to it."""
    near_web, near_transport = plan.url(plan.ports[ports.WEB]), plan.url(plan.ports[ports.TRANSPORT])
    web, transport = public_url or near_web, public_url or near_transport
    password, key = plan.data_dir / PASSWORD_FILE, plan.data_dir / KEY_FILE
    behind = [f"  Behind it   web {near_web}, transport {near_transport} (docs/deployment.md)"] if public_url else []
    state = f"MeshAG is up; not ready yet: {', '.join(unready)}. Dashboard" if unready else f"{READY}: dashboard"
    return [
        f"{state} {web}, API {transport}",
        f"  Dashboard   {web}/",
        f"  Admin       {web}/admin/ as admin, {_password(first.password, password)}",
        f"  API         {transport}/sessions with key {_once_or_where(first.api_key, key)}",
        f"  Telephony   {transport}/twilio",
        *behind,
        "  Health      /health, /ready and /metrics of each program, at its own address above",
        f"  Logs        {plan.data_dir / 'logs'}",
    ]


def _password(drawn: str, file: Path) -> str:
    if drawn or file.exists():
        return f"first password {_once_or_where(drawn, file)}"
    return "password as it was set (`manage.py changepassword admin` sets another)"


def _once_or_where(secret: str, file: Path) -> str:
    return f"{secret} (shown this once; kept in {file})" if secret else f"in {file}"


def _place(url: str) -> str:
    """Host and port: the rest of a URL may hold a password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
