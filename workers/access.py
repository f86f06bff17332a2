"""Who may ask: API keys, the embedded default's open door on loopback, and the origins of browsers."""

from aiohttp import web

from mesh import openness
from mesh.openness import Visit, host_of, is_loopback
from workers.answers import Refusal
from workers.desk import DEFAULT_WORKSPACE, Desk
from workers.settings import Settings

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
    version = request.version.major, request.version.minor
    visit = Visit.of(request.remote, request.host, version, request.headers.items())
    return openness.may_enter(visit, is_open=settings.has_open_door)


def is_origin_allowed(request: web.Request, settings: Settings) -> bool:
    """Whether a page may open a media socket: one of our own host. Programs send no origin."""
    if "Origin" not in request.headers:
        return True
    here = host_of(f"//{request.host}")
    origin = host_of(request.headers["Origin"])
    ours = {here, host_of(settings.public_url)} - {""}
    return origin in ours or (is_loopback(origin) and is_loopback(here))


# -- our own addresses -----------------------------------------------------------------------------------


def base_url(request: web.Request, settings: Settings) -> str:
    """Where we are reached, without a trailing slash: as configured, else as this request has reached us."""
    return settings.public_url or f"{request.scheme}://{request.host}"


def socket_url(request: web.Request, settings: Settings) -> str:
    """The same for WebSockets."""
    return "ws" + base_url(request, settings).removeprefix("http")
