"""Nothing follows a provider's address to another one: keys and callers' words go where somebody meant them to go."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors_app import registry
from connectors_app.base.errors import ErrorKind, ProviderError
from tests.connectors_app.cases import WIRED
from tests.connectors_app.turns import made_with
from tests.providers.routes import Turn


@asynccontextmanager
async def site(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [302, 307])
@WIRED
async def test_no_provider_is_followed_elsewhere(turn: Turn, status: int, environ: dict[str, str]) -> None:
    came: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        came.append(request.path)
        return web.json_response({})

    async def lead_away(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{trap}{request.path_qs}"})

    setting = registry.get(turn.role, turn.slug).base_url_setting
    async with (
        site(elsewhere) as trap,
        site(lead_away) as url,
        made_with(turn.role, turn.slug, dict(turn.options), {**environ, setting: url}) as connector,
    ):
        with pytest.raises(ProviderError) as caught:
            await connector.check()
    assert not came and caught.value.kind is ErrorKind.REFUSED and caught.value.status == status
