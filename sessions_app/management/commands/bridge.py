"""`manage.py bridge`: the one process that turns events into rows."""

import asyncio
import os
import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sessions_app.bridge import Bridge, Options


class Command(BaseCommand):
    help = "Write canonical events into the database and answer the transports. Any number may run; they take turns."

    def add_arguments(self, parser: ArgumentParser) -> None:
        default = Options(name="", nats_url="", valkey_url="")
        parser.add_argument("--host", default=default.host, help="address of /health, /ready and /metrics")
        parser.add_argument("--port", type=int, default=default.port, help="their port; 0 is a free one")
        parser.add_argument(
            "--silence",
            type=float,
            default=default.silence,
            help="seconds without a heartbeat after which a transport's sessions are ended (%(default)s)",
        )
        parser.add_argument(
            "--keep",
            type=float,
            default=default.keep,
            help="seconds for which the stream keeps the events of a session that is over (%(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = {name: options[name] for name in ("host", "port", "silence", "keep")}
        asyncio.run(_run(Options(name=_name(), nats_url=settings.NATS_URL, valkey_url=settings.VALKEY_URL, **chosen)))


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Bridge(options).run(stop)


def _name() -> str:
    return f"bridge-{socket.gethostname()}-{os.getpid()}"
