"""The bridge's pages for operators: /health, /ready and /metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

CHECK_WITHIN = 2.0

Check = Callable[[], Awaitable[None]]
Family = CounterMetricFamily | GaugeMetricFamily


class NotReady(Exception):
    """The text says what is not there and what to do about it."""


class Figures(Collector):
    """Metrics read from where they are counted, when somebody asks."""

    def __init__(self, read: Callable[[], Iterable[Family]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Family]:
        return self._read()


@asynccontextmanager
async def serve_pages(
    *, host: str, port: int, checks: Mapping[str, Check], read: Callable[[], Iterable[Family]]
) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port, which is a free one when 0 was asked for."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Figures(read))
    runner = web.AppRunner(_application(checks, registry), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _application(checks: Mapping[str, Check], registry: CollectorRegistry) -> web.Application:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": "bridge"})

    async def ready(request: web.Request) -> web.Response:
        outcomes = await asyncio.gather(*(_outcome(check) for check in checks.values()))
        good = all(outcome == "ok" for outcome in outcomes)
        body = {
            "status": "ready" if good else "not ready",
            "service": "bridge",
            "checks": dict(zip(checks, outcomes, strict=True)),
        }
        return web.json_response(body, status=200 if good else 503)

    async def metrics(request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=generate_latest(registry), headers=headers)

    application = web.Application()
    application.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)])
    return application


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_WITHIN):
            await check()
    except NotReady as error:
        return str(error)
    except TimeoutError:
        return f"no answer in {CHECK_WITHIN:.0f} s; is the server overloaded or unreachable?"
    return "ok"
