"""What every service tells about itself: /health (alive), /ready (can work), /metrics (what it has done)."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors_app import registry
from connectors_app.base.connector import Connector, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.breaker import MENDED_BY_PEOPLE, Breaker
from connectors_app.pool import Chain, Pool
from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.store import StoreUnavailable, Valkey
from workers.metrics import Metrics

log = logging.getLogger(__name__)

CHECK_EVERY = 60.0
"""Seconds between questions to a provider whether its key still works. Never on a caller's or a probe's time."""
CHECK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """`status`: healthy, unhealthy, or unconfigured; only `unhealthy` ones make a service unready by themselves."""

    name: str
    status: str
    message: str = ""

    def shown(self) -> dict[str, str]:
        return {"name": self.name, "status": self.status, "message": self.message}


Checks = Callable[[], Awaitable[list[Check]]]


def routes(service: str, metrics: Metrics, checks: Checks) -> list[web.RouteDef]:
    started = time.monotonic()

    async def health(request: web.Request) -> web.Response:
        uptime = round(time.monotonic() - started, 1)
        return web.json_response(
            {"status": "healthy", "service": service, "version": _version(), "uptime_seconds": uptime}
        )

    async def ready(request: web.Request) -> web.Response:
        results = await checks()
        is_ready = all(check.status != "unhealthy" for check in results)
        body = {
            "status": "ready" if is_ready else "not_ready",
            "service": service,
            "checks": [check.shown() for check in results],
        }
        return web.json_response(body, status=200 if is_ready else 503)

    async def show_metrics(request: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/health", health), web.get("/ready", ready), web.get("/metrics", show_metrics)]


def _version() -> str:
    try:
        return version("meshag")
    except PackageNotFoundError:
        return "0.1.0"


async def check_servers(bus: Bus, valkey: Valkey) -> list[Check]:
    checks: list[Check] = []
    try:
        seconds = await bus.round_trip()
        checks.append(Check("nats", "healthy", f"{seconds * 1000:.1f} ms"))
    except Unreachable as error:
        checks.append(Check("nats", "unhealthy", str(error)))
    try:
        await valkey.ping()
        checks.append(Check("valkey", "healthy"))
    except StoreUnavailable as error:
        checks.append(Check("valkey", "unhealthy", f"{error}; set VALKEY_URL or start the server"))
    return checks


class ProviderHealth:
    """Which providers of a role can be used: asked at the start and now and then, remembered in between."""

    def __init__(self, role: Role, pool: Pool) -> None:
        self._role = role
        self._pool = pool
        self._faults: dict[str, str] = {}
        self._asked: set[str] = set()
        self._clock = pool.breakers.clock
        self._ask_again: dict[str, float] = {}
        """Not before, where the key was refused: only people mend that."""

    @property
    def configured(self) -> tuple[str, ...]:
        return registry.usable(self._role, self._pool.environ)

    def checks(self) -> list[Check]:
        """One check for each provider, and one for each that keeps failing in turns, which makes nothing unready."""
        return self._usable() + self._outages() + _broken_files()

    def _outages(self) -> list[Check]:
        breakers = self._pool.breakers
        return [_outage(breaker, breakers.clock()) for breaker in breakers.out()]

    def _usable(self) -> list[Check]:
        """Unhealthy ones do not matter while another one can be used."""
        missing = registry.missing(self._role, self._pool.environ)
        checks = [Check(f"provider_{slug}", *self._state(slug, missing)) for slug in registry.names(self._role)]
        if any(check.status == "healthy" for check in checks):
            return [Check(c.name, "degraded" if c.status == "unhealthy" else c.status, c.message) for c in checks]
        settings = ", ".join(sorted({name for names in missing.values() for name in names}))
        fix = f"set one of {settings}" if settings else "each says why"
        return [Check("providers", "unhealthy", f"no {self._role} provider can be used; {fix}"), *checks]

    def _state(self, slug: str, missing: dict[str, tuple[str, ...]]) -> tuple[str, str]:
        if slug in missing:
            is_kept = registry.credential_of(slug) in registry.with_credentials()
            otherwise = "; not needed where a workspace has a credential of its own" if is_kept else ""
            return "unconfigured", f"set {' and '.join(missing[slug])}{otherwise}"
        if wrong := registry.wrong(self._role, self._pool.environ).get(slug):
            return "unhealthy", wrong
        if slug in self._faults:
            return "unhealthy", self._faults[slug]
        return "healthy", "" if slug in self._asked else "not asked yet"

    async def keep_asking(self) -> None:
        while True:
            for slug in self.configured:
                if self._clock() >= self._ask_again.get(slug, 0.0):
                    await self._ask(slug)
            await asyncio.sleep(CHECK_EVERY)

    def _chain(self, slug: str) -> Chain[Any]:
        match self._role:
            case Role.STT:
                return self._pool.recognizers([slug], {})
            case Role.LLM:
                return self._pool.models([slug], {})
            case Role.TTS:
                return self._pool.voices([slug], {})

    async def _ask(self, slug: str) -> None:
        chain = self._chain(slug)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                for connector in chain.connectors:
                    await self._check(connector)
            self._faults.pop(slug, None)
        except ProviderError as error:
            self._faults[slug] = error.message
            if error.kind in MENDED_BY_PEOPLE:
                self._ask_again[slug] = self._clock() + self._pool.breakers.rules.longest_between_probes
        except TimeoutError:
            self._faults[slug] = f"did not answer within {CHECK_SECONDS:g} s"
        finally:
            self._asked.add(slug)
            await chain.close()

    async def _check(self, connector: Connector) -> None:
        breaker = self._pool.breaker(connector)
        if not breaker.is_left_alone(self._clock()):
            await connector.check()
        elif breaker.kind in MENDED_BY_PEOPLE:
            raise ProviderError(ErrorKind(breaker.kind), breaker.detail)


def _broken_files() -> list[Check]:
    """The providers of the other files can be used."""
    return [Check(f"file_{file}", "degraded", f"cannot be used: {why}") for file, why in registry.broken().items()]


def _outage(breaker: Breaker, now: float) -> Check:
    target = breaker.target
    since = datetime.now(UTC) - timedelta(seconds=now - breaker.out_since)
    whose = " with a workspace's own key" if target.is_own else ""
    what = f"{target.label} {target.model}".strip() + whose
    return Check(f"outage_{target.provider}", "degraded", f"{what}: out since {since:%H:%M:%S} UTC; {breaker.detail}")


class CannotListen(Exception):
    """The port is taken, or not ours to take."""


async def start(site: web.BaseSite) -> None:
    """Listen; raises CannotListen."""
    try:
        await site.start()
    except OSError as error:
        raise CannotListen(f"cannot listen on {site.name}: {os.strerror(error.errno or 0).lower()}") from None


async def serve(app: web.Application, *, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen; raises CannotListen. Port 0 is a free one; the answer has the real one."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await start(web.TCPSite(runner, host, port))
    return runner, int(runner.addresses[0][1])
