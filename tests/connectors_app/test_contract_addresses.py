"""The contract of every provider about its address: who answers there, and by which way it is reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors_app import registry
from connectors_app.base.connector import Connector, Door, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from tests.connectors_app.cases import WIRED
from tests.connectors_app.turns import ready, used
from tests.providers.nowhere import NO_PORT, without_tls
from tests.providers.routes import Turn
from tests.providers.standins import StandIns

ELSEWHERE = "://provider.example"
"""Nobody's name, and not this machine's: only a proxy finds it."""
EVERYBODY = pytest.mark.parametrize(
    "cls",
    [
        registry.get(role, slug)
        for role in (*Role, *Door)
        for slug in registry.names(role)
        if registry.get(role, slug).base_url_setting
    ],
    ids=lambda cls: f"{cls.role}-{cls.slug}",
)


def at(turn: Turn, url: str, environ: dict[str, str]) -> dict[str, str]:
    """The same path at another host."""
    setting = registry.get(turn.role, turn.slug).base_url_setting
    path = environ[setting].partition("://")[2].partition("/")[2]
    return {**environ, setting: f"{url}/{path}" if path else url}


async def checked(cls: type[Connector], environ: dict[str, str]) -> ProviderError:
    """How the check failed, with no options that somebody chose."""
    connector = cls(cls.Options.model_construct(), cls.credentials_from(environ))
    try:
        with pytest.raises(ProviderError) as caught:
            await connector.check()
    finally:
        await connector.close()
    return caught.value


# -- proxies ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def closed_proxy(asked: list[bytes]) -> AsyncIterator[str]:
    """It wants a password, whatever it is asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@WIRED
async def test_a_turn_goes_through_the_proxy(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-ins take the place of a proxy, too: what it is asked for has the whole address."""
    monkeypatch.setenv("HTTP_PROXY", stand_ins.url)
    async with ready(turn, at(turn, f"http{ELSEWHERE}", environ)) as connector:
        await connector.check()
        await used(connector, question)
    assert all(one.headers["host"] == "provider.example" for one in stand_ins.requests)


@WIRED
async def test_a_proxy_that_refuses_is_named(
    turn: Turn, environ: dict[str, str], question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its password, which nobody else is told."""
    asked: list[bytes] = []
    async with closed_proxy(asked) as place, ready(turn, at(turn, f"https{ELSEWHERE}", environ)) as connector:
        monkeypatch.setenv("ALL_PROXY", f"http://me:secret@{place}")
        with pytest.raises(ProviderError, match="are a name and a password in ALL_PROXY") as caught:
            await connector.check()
        with pytest.raises(ProviderError, match=f"by the proxy {place}: "):
            await used(connector, question)
    assert caught.value.kind is ErrorKind.REFUSED and "secret" not in caught.value.message
    assert all(b"CONNECT provider.example:443" in one and b"Basic bWU6c2VjcmV0\r\n" in one for one in asked)


@WIRED
async def test_this_machine_needs_no_proxy(
    turn: Turn, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", NO_PORT)
    monkeypatch.setenv("ALL_PROXY", NO_PORT)
    async with ready(turn, environ) as connector:
        await connector.check()


# -- who answers -----------------------------------------------------------------------------------------


@asynccontextmanager
async def site(status: int, kind: str, body: str) -> AsyncIterator[str]:
    """It has the same answer to everything."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, content_type=kind, text=body)

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", "<html>Welcome to nginx!</html>"), ("application/json", "{}")],
    ids=["page", "object"],
)
@EVERYBODY
async def test_who_speaks_otherwise_fails_the_check(
    cls: type[Connector], kind: str, body: str, environ: dict[str, str]
) -> None:
    """A captive portal, a gateway's own page, the wrong path behind a web site: all with status 200."""
    async with site(200, kind, body) as url:
        error = await checked(cls, {**environ, cls.base_url_setting: url})
    assert (error.kind, error.status) == (ErrorKind.BROKEN, None)
    assert error.message == f"{cls.label} sent something that its protocol does not have"


@EVERYBODY
async def test_a_wrong_path_tells_the_address(cls: type[Connector], environ: dict[str, str]) -> None:
    async with site(404, "text/html", "<html>Not found</html>") as url:
        error = await checked(cls, {**environ, cls.base_url_setting: f"{url}/v2"})
    assert (error.kind, error.status) == (ErrorKind.REQUEST, 404)
    usual = cls.default_base_url or cls.example_base_url
    assert f"; is {cls.base_url_setting} right? It looks like {usual}" in error.message


# -- what is set -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["provider.example/v1", "localhost:8000", "https://a b.example", "https://"])
@EVERYBODY
def test_what_is_no_address_is_told(cls: type[Connector], address: str, environ: dict[str, str]) -> None:
    assert not cls.wrong_settings(environ) and not cls.wrong_settings({})
    assert list(cls.wrong_settings({**environ, cls.base_url_setting: address})) == [cls.base_url_setting]
    assert cls.slug not in registry.usable(cls.role, {**environ, cls.base_url_setting: address})


@EVERYBODY
def test_what_fits_no_pattern_is_told(cls: type[Connector], environ: dict[str, str]) -> None:
    """A region with a space in it would be an address that nobody has."""
    for setting in cls.more_settings:
        assert cls.wrong_settings({**environ, setting.name: "West Europe!"}) == {setting.name: setting.doubt}


@EVERYBODY
async def test_a_port_that_speaks_no_http_fails_the_check(cls: type[Connector], environ: dict[str, str]) -> None:
    async with without_tls() as url:
        error = await checked(cls, {**environ, cls.base_url_setting: url.replace("https", "http")})
    assert error.kind is ErrorKind.BROKEN and "unexpected" not in error.message
