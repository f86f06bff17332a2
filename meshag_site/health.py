"""What an operator and a load balancer ask the web: is it alive, can it work, how is it doing?"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import wraps
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as valkey
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from accounts_app.models import APIKey
from mesh.readiness import Check, NotReady, Readiness
from sessions_app.models import Session, State

PROXIED = {"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip"}
"""Headers, besides x-forwarded-…, by which a proxy on this machine says that somebody else asks."""

SESSIONS = Gauge("meshag_sessions_open", "Sessions that are not over", ["state"])

View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]


def private(view: View) -> View:
    """For this machine, staff and API keys: what is counted here is nobody else's business."""

    @wraps(view)
    async def guarded(request: HttpRequest) -> HttpResponse:
        if _is_at_home(request) or (await request.auser()).is_staff or await sync_to_async(_has_key)(request):
            return await view(request)
        say = "Ask from this machine, sign in as staff, or send an API key as Authorization: Bearer.\n"
        return HttpResponse(say, status=403, content_type="text/plain")

    return guarded


def _is_at_home(request: HttpRequest) -> bool:
    headers = {name.lower() for name in request.headers}
    return (
        _is_loopback(request.META.get("REMOTE_ADDR") or "")
        and _is_loopback(urlsplit(f"//{request.get_host()}").hostname or "")
        and getattr(request, "scope", {}).get("http_version")
        != "1.0"  # some proxies say nothing of themselves but this
        and not any(name in PROXIED or name.startswith("x-forwarded") for name in headers)
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _has_key(request: HttpRequest) -> bool:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and APIKey.objects.verify(secret.strip()) is not None


async def health(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok", "service": "web"})


async def ready(request: HttpRequest) -> JsonResponse:
    status, body = await READINESS.answer()
    return JsonResponse(body, status=status)


@private
async def metrics(request: HttpRequest) -> HttpResponse:
    await sync_to_async(_count_sessions)()
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _count_sessions() -> None:
    """Without a database nothing is said of sessions, and /ready says why."""
    try:
        counts = dict(Session.objects.open().order_by().values_list("state").annotate(Count("id")))
    except DatabaseError:
        SESSIONS.clear()
        return
    for state in (State.CREATED, State.LIVE, State.ENDING):
        SESSIONS.labels(state.value).set(counts.get(state, 0))


@private
async def targets(request: HttpRequest) -> HttpResponse:
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


CHECKS: dict[str, Check] = {
    "database": check_database,
    "nats": check_nats,
    "valkey": check_valkey,
}
READINESS = Readiness("web", CHECKS)
