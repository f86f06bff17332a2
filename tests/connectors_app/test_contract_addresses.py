"""The contract of every provider about its address: who answers there, and by which way it is reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors_app import registry
from connectors_app.base.errors import ErrorKind, ProviderError
from tests.connectors_app.cases import WIRED
from tests.connectors_app.turns import ready, used
from tests.providers.nowhere import NO_PORT
from tests.providers.routes import Turn
from tests.providers.standins import StandIns

ELSEWHERE = "://provider.example"
"""Nobody's name, and not this machine's: only a proxy finds it."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def at(turn: Turn, url: str, environ: dict[str, str]) -> dict[str, str]:
    """The same path at another host."""
    setting = registry.get(turn.role, turn.slug).base_url_setting
    path = environ[setting].partition("://")[2].partition("/")[2]
    return {**environ, setting: f"{url}/{path}" if path else url}


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
