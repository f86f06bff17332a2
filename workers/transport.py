"""The transport service: sessions by HTTP, calls by their sockets, and the one place that gives work to workers."""

import asyncio
import logging
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from connectors_app.base.connector import Role
from connectors_app.pool import Pool
from connectors_app.sealing import Sealing
from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, NobodyThere
from mesh.bus.writer import Writer
from mesh.config.document import AgentConfig, dump
from mesh.config.json_text import revision
from mesh.config.problems import ConfigError
from mesh.events import SessionCreated, SessionEnded
from mesh.sessions import SessionStore, Tokens
from mesh.store import ConfigStorage, StoreUnavailable, Valkey
from mesh.subjects import Stage
from workers import api, operations
from workers.asked import Asked
from workers.call import Call
from workers.casting import Casting
from workers.commands import END_SECONDS, take_commands, tell_holder
from workers.desk import AgentAnswer, SessionSpec, Unavailable
from workers.documents import find_config
from workers.exchange import Line
from workers.hanging_up import Phone
from workers.inquiries import Inquiries
from workers.media.wire import HungUp, Opened, Wire
from workers.meeting import key_of
from workers.metrics import Metrics
from workers.opening import OVER, OVER_NOW, parse_document
from workers.operations import Check
from workers.presence import Presence
from workers.records import Records
from workers.rooms import Rooms
from workers.settings import Settings
from workers.sockets import RESUME_SECONDS, issue_resume_token

log = logging.getLogger(__name__)

APPEND_SECONDS = 3.0
"""For an event that a request waits for."""
DRAIN_SECONDS = 6.0
"""How long a process that is stopped waits for what is being said."""
OUTSIDE_SECONDS = 2.0
"""How long somebody who ends a session, or stops us, waits until its room is deleted or its caller hung up."""
MAX_CLIENT_BYTES = 1024 * 1024
BUSY = "The session has its caller on another socket, of another rate, or about to return."
KEEP_SECONDS = 30.0
"""Between two looks at what live sessions have in Valkey."""


class Transport:
    """One transport process: the desk of its HTTP routes, the exchange of its calls."""

    def __init__(
        self,
        *,
        worker: str,
        bus: Bus,
        valkey: Valkey,
        settings: Settings,
        environ: Mapping[str, str],
        sealing: Sealing | None = None,
    ) -> None:
        self.worker = worker
        self.bus = bus
        self.settings = settings
        self.environ = environ
        self.valkey = valkey
        self.configs = ConfigStorage(valkey, settings.config_ttl_seconds)
        self.sessions = SessionStore(valkey)
        self.records = Records(self.sessions, self.configs, settings.config_ttl_seconds)
        self.tokens = Tokens(valkey)
        self.rooms = Rooms(Pool(environ, sealing=sealing))
        self.phone = Phone.of(settings)
        self.metrics = Metrics()
        self.casting = Casting(bus)
        self.calls: dict[str, Call] = {}
        self.presence = Presence(worker=worker, bus=bus, metrics=self.metrics, calls=self.calls)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._resume_tokens: dict[str, str] = {}
        self._inquiries = Inquiries(bus, is_alone=settings.is_alone)

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, *, host: str, port: int, operations_port: int | None) -> None:
        """Serve until `stop`; then take nothing new, and let each call finish what is being said."""
        await self.open()
        app = self._app(api.routes(self), self._operations())
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=1)
        await runner.setup()
        site = self._site(runner, host, port)
        await operations.start(site)
        address = str(port)
        if operations_port is not None:
            own, real = await operations.serve(self._app(self._operations()), host=host, port=operations_port)
            address = str(real)
        async with asyncio.TaskGroup() as tasks:
            loops = [
                self.casting.watch(),
                self.presence.beat(address),
                self._sweep(),
                self.records.keep_writing(),
                self._keep_tokens(),
            ]
            running = [tasks.create_task(loop) for loop in loops]
            log.info("transport is up", extra={"port": port, "operations": address})
            await stop.wait()
            await self.take_nothing_new()
            if self.presence.has_company():
                await site.stop()  # who comes back finds the others
            await self.drain()
            for task in running:
                task.cancel()
        await self.close()
        await runner.cleanup()
        if operations_port is not None:
            await own.cleanup()

    async def open(self) -> None:
        await self.casting.open()
        await self.presence.open()
        self._questions = await self.bus.serve(subjects.TRANSPORT_ASK, Asked(self), queue="transports")

    async def close(self) -> None:
        await self._questions.close()
        await self.rooms.close(within=OUTSIDE_SECONDS)
        await self.phone.close(within=OUTSIDE_SECONDS)
        await self.presence.close()
        await self.casting.close()

    async def take_nothing_new(self) -> None:
        """Other transports answer the questions and open the sessions from here on."""
        await self._questions.finish()
        self.presence.draining = True

    async def drain(self) -> None:
        """Callers who can come back go on at another transport, if there is one; for the others it is the end."""
        moves = self.presence.has_company()
        calls, running = list(self.calls.values()), list(self._running.values())
        await asyncio.gather(*(call.leave(moves=moves, within=DRAIN_SECONDS) for call in calls))
        if running:
            await asyncio.wait(running, timeout=END_SECONDS)
        await self.records.write_rest()

    @staticmethod
    def _app(*groups: list[web.RouteDef]) -> web.Application:
        app = web.Application(client_max_size=MAX_CLIENT_BYTES)
        for group in groups:
            app.add_routes(group)
        return app

    def _operations(self) -> list[web.RouteDef]:
        return operations.routes("transport-service", self.metrics, self._checks)

    def _site(self, runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
        if self.settings.transport_fd is not None:
            return web.SockSite(runner, socket.socket(fileno=self.settings.transport_fd))
        return web.TCPSite(runner, host, port)

    async def _checks(self) -> list[Check]:
        checks = await operations.check_servers(self.bus, self.valkey)
        for stage in (Stage.STT, Stage.LLM, Stage.TTS):
            workers = self.casting.roster.workers(stage)
            if workers:
                checks.append(Check(f"workers_{stage}", "healthy", f"{len(workers)} running"))
            else:
                checks.append(Check(f"workers_{stage}", "unhealthy", f"start one: python -m workers {stage}"))
        return checks

    async def _sweep(self) -> None:
        """Keep what belongs to live sessions alive in Valkey, and forget what has expired."""
        while True:
            await asyncio.sleep(min(KEEP_SECONDS, max(1.0, self.settings.config_ttl_seconds / 3)))
            with suppress(StoreUnavailable):
                await self.keep_sessions()
                await self.configs.cleanup_expired_configs()
                await self.sessions.sweep()

    async def keep_sessions(self) -> None:
        """What belongs to live sessions stays in Valkey, and comes back to one that has lost it."""
        ttl = self.settings.config_ttl_seconds
        for session, call in list(self.calls.items()):
            await self.records.extend(session)
            if not await self.configs.extend_config_ttl(session, ttl):
                await self.configs.store_config(session, call.config, ttl)

    async def _keep_tokens(self) -> None:
        while True:
            await asyncio.sleep(RESUME_SECONDS / 3)
            await self.extend_tokens()

    async def extend_tokens(self) -> None:
        """Whoever loses the socket can come back, however long the call has lasted."""
        with suppress(StoreUnavailable):
            for token in list(self._resume_tokens.values()):
                await self.tokens.extend(token, RESUME_SECONDS)

    # -- what those who ask need --------------------------------------------------------------------------

    def parse_config(self, document: object) -> AgentConfig:
        return parse_document(document)

    def usable_providers(self) -> Mapping[str, frozenset[str]]:
        return {role: self.casting.roster.providers(role) for role in Role}

    async def bridge_key(self, key: str) -> str | None:
        return await self._inquiries.workspace_of(key)

    async def bridge_agent(self, workspace: str | None, slug: str, number: str) -> AgentAnswer | None:
        return await self._inquiries.agent(workspace, slug, number)

    async def own_credentials(
        self, workspace: str, providers: Collection[str], names: Mapping[str, str]
    ) -> Mapping[str, str]:
        return await self._inquiries.credentials(workspace, providers, names)

    async def create(self, spec: SessionSpec) -> None:
        if self.presence.draining:
            raise Unavailable("This process is being stopped; try again.")
        document = dump(spec.config)
        created = SessionCreated(
            workspace=spec.workspace,
            config=document,
            revision=revision(document),
            transport=spec.transport,
            agent=spec.agent,
            agent_version=spec.agent_version,
            name=spec.name,
            caller=spec.caller,
            called=spec.called,
            call_id=spec.call_id,
            details=dict(spec.details),
            credentials=dict(spec.credentials),
        )
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                writer = await self._take(spec.id)
                await writer.append(created)
        except (TimeoutError, BusError):
            raise Unavailable("The event stream does not take the session; is NATS running? Set NATS_URL.") from None

    async def _take(self, session: str) -> Writer:
        return await self.bus.take_fence(session, Stage.SESSION, owner=self.worker)

    async def end(self, session: str, reason: str) -> bool:
        if (running := self._running.get(session)) and (call := self.calls.get(session)):
            call.end(reason)
            await asyncio.wait([running], timeout=END_SECONDS)
            return True
        record = await self.sessions.get(session)
        if record is None or record["state"] in OVER:
            return False
        room = await key_of(self, record)
        try:
            await tell_holder(self.bus, session, {"verb": "end", "reason": reason})
        except NobodyThere:
            writer = await self._end_alone(session, reason)
            self.phone.hang_up_meanwhile(record["call_id"], reason, writer)
        if room:
            await asyncio.wait([self.rooms.delete(room)], timeout=OUTSIDE_SECONDS)
        return True

    async def say(self, session: str, text: str) -> str:
        if (call := self.calls.get(session)) and not call.is_fenced:
            return call.say(text)
        try:
            return await tell_holder(self.bus, session, {"verb": "say", "text": text})
        except NobodyThere:
            raise Unavailable("No transport holds the session's call; its caller may come back.") from None

    async def _end_alone(self, session: str, reason: str) -> Writer:
        """No process holds the session: take it and end it."""
        failed = reason == "failed"
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                writer = await self._take(session)
                await writer.append(SessionEnded(reason=reason, failed=failed))
        except (TimeoutError, BusError):
            raise Unavailable("The event stream does not take the session's end; is NATS running?") from None
        await self.records.note(session, state="failed" if failed else "ended", reason=reason)
        return writer

    # -- what the calls need ------------------------------------------------------------------------------

    async def resume_token(self, session: str) -> str:
        try:
            token = await issue_resume_token(self, session)
        except StoreUnavailable:
            return ""
        self._resume_tokens[session] = token
        return token

    async def answer_media(self, session: str, wire: Wire) -> None:
        try:
            await self._answer(session, wire)
        finally:
            for what, count in wire.counts.items():
                self.metrics.wire.labels(what).inc(count)

    async def _answer(self, session: str, wire: Wire) -> None:
        facts = wire.receive()
        opened = await anext(facts)
        if not isinstance(opened, Opened):
            assert isinstance(opened, HungUp)
            log.info("socket was not opened", extra={"session": session, "reason": opened.reason})
            return
        line = Line(wire, facts, opened)
        running = self._running.get(session)
        if running is None:
            running = self._running[session] = asyncio.create_task(self._run(session, line))
        elif not ((call := self.calls.get(session)) and call.come_back(line)):
            await wire.tell({"type": "error", "code": "busy", "message": BUSY})
            await wire.close("busy")
            return
        await asyncio.wait([running])

    async def _run(self, session: str, line: Line) -> None:
        commands = None
        try:
            config = await find_config(session, self.configs, self.bus)
            writer = await self._take(session)
            call = self.calls[session] = Call(self, writer, config, line)
            self.records.remember(session)
            commands = await take_commands(self.bus, session, lambda command: self._obey(session, command))
            await self.records.note(session, state="live", participants=[line.opened.caller or "caller"])
            await call.run()
        except (BusError, ConfigError) as error:
            log.error("call could not begin", extra={"session": session, "error": str(error)})
            await line.wire.tell({"type": "error", "code": "unavailable", "message": str(error)[:500]})
        except Exception:  # noqa: BLE001  # the outermost loop: one call's fault stays its own
            self.metrics.actor_failures.inc()
            log.exception("call failed", extra={"session": session})
        finally:
            past = self.calls.pop(session, None)
            if past:
                self.phone.hang_up_meanwhile(line.opened.call_id, past.reason, past.writer)
            self._running.pop(session, None)
            self._resume_tokens.pop(session, None)
            if past and past.is_fenced:
                self.records.hand_over(session)
            else:
                self.records.forget(session)
            if commands:
                await commands.close()
            await line.wire.close()

    async def _obey(self, session: str, command: Mapping[str, Any]) -> str:
        call, running = self.calls.get(session), self._running.get(session)
        if call is None or running is None:
            return OVER_NOW
        match command:
            case {"verb": "end"}:
                call.end(str(command.get("reason", "ended")))
                await asyncio.wait([running], timeout=END_SECONDS)
                return ""
            case {"verb": "say", "text": str(text)}:
                return call.say(text)
        return f"unknown command {command.get('verb')!r}; known: end, say"
