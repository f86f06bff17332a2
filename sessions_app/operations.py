"""The bridge's pages for operators: /health, /ready and /metrics."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mesh.readiness import Check, Readiness

Family = CounterMetricFamily | GaugeMetricFamily


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
    readiness = Readiness("bridge", checks)

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": "bridge"})

    async def ready(request: web.Request) -> web.Response:
        status, body = await readiness.answer()
        return web.json_response(body, status=status)

    async def metrics(request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=generate_latest(registry), headers=headers)

    application = web.Application()
    application.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)])
    return application
