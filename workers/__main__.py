"""`python -m workers stt|llm|tts|transport`: one worker process."""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import uvloop
from aiohttp import web

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.pool import Pool
from connectors_app.sealing import Sealing
from mesh import logs
from mesh.bus.client import Bus
from mesh.bus.errors import Unreachable
from mesh.environment import Environment
from mesh.store import ConfigStorage, Valkey
from mesh.subjects import Stage
from workers import operations
from workers.metrics import Metrics
from workers.operations import CannotListen, Check, ProviderHealth
from workers.outages import Outages, shared_breakers
from workers.settings import BadSetting, Settings
from workers.stage import Seat, StageActor, StageWorker
from workers.transport import Transport

log = logging.getLogger("workers")

GRACE = 20.0
"""Seconds that a stage worker waits after SIGTERM until other workers have its sessions, while there are any."""
RETRY = 0.5


def main() -> None:
    asked = _arguments()
    try:
        settings = Settings.from_environ(os.environ)
        sealing = Sealing.from_environment(Environment(os.environ), settings.data_dir)
    except BadSetting as error:
        sys.exit(str(error))
    logs.configure(settings.log_level)
    worker = asked.id or f"{asked.role}-{secrets.token_hex(3)}"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            if asked.role == "transport":
                runner.run(_transport(worker, settings, sealing, asked.port, asked.operations_port))
            else:
                runner.run(_stage(Stage(asked.role), worker, settings, sealing, asked.port))
        except _Stopped:
            return
        except CannotListen as error:
            sys.exit(f"{error}; choose another port with --port or {asked.role.upper()}_PORT")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="workers", description="One worker process of MeshAG.")
    parser.add_argument("role", choices=["stt", "llm", "tts", "transport"])
    parser.add_argument("--id", default="", help="the worker's name; must be unique among those that run")
    parser.add_argument("--port", type=int, default=None, help="where it listens; 0 is a free port")
    parser.add_argument("--operations-port", type=int, default=None, help="transport: its own /health and /metrics")
    return parser.parse_args()


def _until_stopped() -> asyncio.Event:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


class _Stopped(Exception):
    """Asked to end before there was anything to do."""


async def _connect(settings: Settings, worker: str, stop: asyncio.Event) -> Bus:
    """The bus, with its streams; waits for a NATS that is not up yet. Raises _Stopped."""
    while not stop.is_set():
        async with AsyncExitStack() as undo:
            try:
                bus = await undo.enter_async_context(await Bus.connect(settings.nats_url, worker))
                await bus.ensure_streams(media_seconds=settings.media_seconds)
                undo.pop_all()
                return bus
            except Unreachable as error:
                log.warning("waiting for NATS", extra={"error": str(error)})
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await stop.wait()
    raise _Stopped


async def _transport(
    worker: str, settings: Settings, sealing: Sealing, port: int | None, operations_port: int | None
) -> None:
    stop = _until_stopped()
    async with await _connect(settings, worker, stop) as bus:
        valkey = Valkey(settings.valkey_url)
        transport = Transport(
            worker=worker, bus=bus, valkey=valkey, settings=settings, environ=os.environ, sealing=sealing
        )
        transport.metrics.watch(bus.counters)
        listen = settings.transport_port if port is None else port
        await transport.run(stop, host=settings.bind, port=listen, operations_port=operations_port)
        await valkey.close()


def _maker(stage: Stage) -> Callable[[Seat], StageActor]:
    """Only the stage's own module is imported: a voice needs no voice activity model."""
    match stage:
        case Stage.STT:
            from workers.stt import Listening
            from workers.voice_activity import Detector, warm

            warm()
            detector = Detector()
            return lambda seat: Listening(seat, detector)
        case Stage.LLM:
            from workers.llm import Answering

            return Answering
        case _:
            from workers.apology import Prepared
            from workers.tts import Voicing

            prepared = Prepared()
            return lambda seat: Voicing(seat, prepared)


async def _stage(stage: Stage, worker: str, settings: Settings, sealing: Sealing, port: int | None) -> None:
    stop = _until_stopped()
    role = Role(stage)
    pool = Pool(os.environ, sealing=sealing)
    async with await _connect(settings, worker, stop) as bus:
        valkey = Valkey(settings.valkey_url)
        metrics = Metrics()
        metrics.watch(bus.counters)
        health = ProviderHealth(role, pool)

        async def checks() -> list[Check]:
            return await operations.check_servers(bus, valkey) + health.checks()

        host = StageWorker(
            role=stage,
            worker=worker,
            bus=bus,
            configs=ConfigStorage(valkey, settings.config_ttl_seconds),
            pool=pool,
            deadlines=_deadlines(settings),
            metrics=metrics,
            make=_maker(stage),
        )
        app = web.Application()
        app.add_routes(operations.routes(f"{stage}-service", metrics, checks))
        listen = getattr(settings, f"{stage}_port") if port is None else port
        runner, real = await operations.serve(app, host=settings.bind, port=listen)
        host.address = str(real)
        for slug, error in (await pool.warm(role)).items():
            log.warning("provider is not warm", extra={"provider": slug, "error": error.message})
        host.providers = health.configured
        outages = Outages(
            role=role, worker=worker, pool=pool, bucket=shared_breakers(bus, pool.breakers.rules), metrics=metrics
        )
        watching = [asyncio.create_task(work) for work in (health.keep_asking(), outages.run(), pool.keep_warm())]
        log.info("worker is up", extra={"worker": worker, "port": real})
        await host.run(stop, grace=GRACE)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await runner.cleanup()
        await pool.close()
        await valkey.close()


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(
        first_token=settings.first_token_seconds,
        first_audio=settings.first_audio_seconds,
        transcript=settings.transcript_seconds,
        stall=settings.stall_seconds,
        sentence=settings.sentence_seconds,
        silence=settings.silence_seconds,
        beside=settings.beside_seconds,
    )


if __name__ == "__main__":
    main()
