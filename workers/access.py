"""Who may ask: API keys, the embedded default's open door on loopback, and the origins of browsers."""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from workers.answers import Refusal
from workers.desk import DEFAULT_WORKSPACE, Desk
from workers.settings import Settings

FORWARDED = {"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip"}
LONGEST_KEY = 256
HOW = "Send an API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`"
WHERE = "a key is made in the admin under API keys, or given to the first start as MESHAG_API_KEY"


async def workspace_of(desk: Desk, request: web.Request) -> str:
    """The workspace in which the request works; raises Refusal."""
    key = api_key(request)
    if key is None and is_local(request, desk.settings):
        return DEFAULT_WORKSPACE
    if key is None:
        raise _unauthorized(f"{HOW}; {WHERE}.")
    found = await desk.bridge_key(key) if key.isascii() and 0 < len(key) <= LONGEST_KEY else None
    if found is None:
        raise _unauthorized(f"This API key is not valid; {WHERE}.")
    return found


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, message, headers={"WWW-Authenticate": "Bearer"})


def api_key(request: web.Request) -> str | None:
    """The key as it was sent, valid or not; None when there is none."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.headers.get("X-API-Key")


def is_local(request: web.Request, settings: Settings) -> bool:
    """Nobody else than a person at this machine, talking to servers that `make up` has started."""
    return (
        settings.embedded
        and not settings.public_url
        and _is_loopback(request.remote or "")
        and _is_loopback(host_of(f"//{request.host}"))
        and request.version >= HttpVersion11  # some proxies say nothing of themselves, but this
        and not any(name.lower() in FORWARDED or name.lower().startswith("x-forwarded") for name in request.headers)
        and request.headers.get("Sec-Fetch-Site") != "cross-site"
        and all(_is_loopback(host_of(origin)) for origin in request.headers.getall("Origin", ()))
    )


def is_origin_allowed(request: web.Request, settings: Settings) -> bool:
    """Whether a page may open a media socket: one of our own host. Programs send no origin."""
    if "Origin" not in request.headers:
        return True
    here = host_of(f"//{request.host}")
    origin = host_of(request.headers["Origin"])
    ours = {here, host_of(settings.public_url)} - {""}
    return origin in ours or (_is_loopback(origin) and _is_loopback(here))


def host_of(url: str) -> str:
    """The host name, in small letters; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


# -- our own addresses -----------------------------------------------------------------------------------


def base_url(request: web.Request, settings: Settings) -> str:
    """Where we are reached, without a trailing slash: as configured, else as this request has reached us."""
    return settings.public_url or f"{request.scheme}://{request.host}"


def socket_url(request: web.Request, settings: Settings) -> str:
    """The same for WebSockets."""
    return "ws" + base_url(request, settings).removeprefix("http")
