"""Paths that several providers share: each adds a handler with a sign in the request by which it knows its own."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sign = Callable[[web.Request], bool]

_Claims = list[tuple[Sign | None, Handle]]
CLAIMS = web.AppKey("claims", dict[tuple[str, str], _Claims])


def add_shared(app: web.Application, method: str, path: str, handle: Handle, sign: Sign | None = None) -> None:
    """Without a sign the handler takes what no other one claims; raises ValueError when that is taken."""
    claims = app.setdefault(CLAIMS, {}).setdefault((method, path), [])
    if not claims:
        app.router.add_route(method, path, _handler_of(claims))
    if sign is None and any(other is None for other, _ in claims):
        raise ValueError(f"two stand-ins take every {method} {path}; one needs a sign")
    claims.append((sign, handle))
    claims.sort(key=lambda claim: claim[0] is None)


def has_header(name: str) -> Sign:
    return lambda request: name in request.headers


def _handler_of(claims: _Claims) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        for sign, its_own in claims:
            if sign is None or sign(request):
                return await its_own(request)
        raise web.HTTPNotFound

    return handle


def check_paths(app: web.Application) -> None:
    """The router would give a path that two take to the first, silently."""
    taken: set[tuple[str, str]] = set()
    for route in app.router.routes():
        place = (route.method, route.resource.canonical if route.resource else "")
        if place in taken:
            raise ValueError(f"two stand-ins take {' '.join(place)}; see add_shared")
        taken.add(place)
