"""`manage.py bridge`: the one process that turns events into rows."""

import asyncio
import os
import signal
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sessions_app.bridge import Bridge, Options


class Command(BaseCommand):
    help = "Write canonical events into the database and answer the transports. A second one does no harm."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options = Options(
        name=f"bridge-{socket.gethostname()}-{os.getpid()}",
        nats_url=settings.NATS_URL,
        valkey_url=settings.VALKEY_URL,
        host=settings.BIND,
        port=settings.BRIDGE_PORT,
        silence=settings.TRANSPORT_SILENCE,
        keep=settings.EVENTS_KEPT,
    )
    await Bridge(options).run(stop)
