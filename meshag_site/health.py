"""What an operator and a load balancer ask the web: is it alive, can it work, how is it doing?"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import redis.asyncio as valkey
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

DEADLINE = 2.0
"""Seconds for each check; they run side by side."""


class NotReady(Exception):
    """A server is not there; the text says what to do about it."""


async def health(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok", "service": "web"})


async def ready(request: HttpRequest) -> JsonResponse:
    outcomes = await asyncio.gather(*(_outcome(check) for check in CHECKS.values()))
    checks = dict(zip(CHECKS, outcomes, strict=True))
    good = all(outcome == "ok" for outcome in outcomes)
    body = {"status": "ready" if good else "not ready", "service": "web", "checks": checks}
    return JsonResponse(body, status=200 if good else 503)


async def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


async def targets(request: HttpRequest) -> JsonResponse:
    """The pages of the workers that `manage.py up` runs here, as Prometheus' HTTP service discovery reads them.

    At the name by which we were asked, since that is one the asker can reach.
    """
    host = re.sub(r":\d+$", "", request.get_host())
    pages: dict[str, int] = settings.RUNTIME.get("pages", {})
    found = [
        {"targets": [f"{host}:{port}"], "labels": {"process": name, "role": name.partition("-")[0]}}
        for name, port in pages.items()
    ]
    return JsonResponse(found, safe=False)


async def _outcome(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(DEADLINE):
            await check()
    except NotReady as error:
        return str(error)
    except TimeoutError:
        return f"no answer in {DEADLINE:.0f} s; is the server overloaded or unreachable?"
    return "ok"


async def check_database() -> None:
    try:
        await sync_to_async(_ask_database)()
    except DatabaseError as error:
        raise NotReady(f"{error}; check DATABASE_URL and run `manage.py migrate`") from None


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM accounts_app_workspace WHERE 1 = 0")


async def check_nats() -> None:
    """A NATS server greets whoever connects; nothing more is asked of it here."""
    address = urlsplit(settings.NATS_URL)
    place = f"{address.hostname}:{address.port or 4222}"
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port or 4222)
    except OSError as error:
        raise NotReady(f"no connection to {place} ({error.strerror}); start NATS or correct NATS_URL") from None
    try:
        greeting = await reader.read(5)
    finally:
        writer.close()
    if greeting != b"INFO ":
        raise NotReady(f"{place} does not answer like NATS; correct NATS_URL")


async def check_valkey() -> None:
    client = valkey.from_url(settings.VALKEY_URL)
    try:
        await client.ping()
    except (valkey.RedisError, OSError) as error:
        address = urlsplit(settings.VALKEY_URL)
        place = f"{address.hostname}:{address.port or 6379}"
        raise NotReady(f"no answer from {place} ({error}); start Valkey or correct VALKEY_URL") from None
    finally:
        await client.aclose()


CHECKS: dict[str, Callable[[], Awaitable[None]]] = {
    "database": check_database,
    "nats": check_nats,
    "valkey": check_valkey,
}
