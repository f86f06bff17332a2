"""Clients that the connectors of one credential share, so that their connections stay open between turns."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import aiohttp

from connectors_app.base.connector import Connector, Credentials
from connectors_app.failures import expect_key, expect_proxy
from connectors_app.proxies import Proxy, proxy_of

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

IDLE_SECONDS = 90
"""How long an unused connection is kept: callers think longer than the five seconds that are usual."""


@dataclass(slots=True)
class _Kept(Generic[T]):
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    owners: set[Connector] = field(default_factory=set)
    client: T | None = None


class Shared(Generic[T]):
    """One client for each credential and event loop, closed when the last connector leaves it."""

    def __init__(self, make: Callable[[Credentials], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._kept: dict[tuple[asyncio.AbstractEventLoop, Credentials], _Kept[T]] = {}

    async def take(self, owner: Connector) -> T:
        """Raises ProviderError for a key that cannot be sent, and for a proxy that cannot be asked."""
        expect_key(owner)
        kept = self._kept.setdefault((asyncio.get_running_loop(), owner.credentials), _Kept())
        kept.owners.add(owner)
        if kept.client is None:
            expect_proxy(owner)
            async with kept.making:
                if kept.client is None:
                    kept.client = await self._make(owner.credentials)
        return kept.client

    async def leave(self, owner: Connector) -> None:
        key = (asyncio.get_running_loop(), owner.credentials)
        kept = self._kept.get(key)
        if kept is None or owner not in kept.owners:
            return
        kept.owners.remove(owner)
        if not kept.owners:
            del self._kept[key]
            if kept.client is not None:
                await self._close(kept.client)


async def _go_nowhere_else(session: object, context: object, told: aiohttp.TraceRequestRedirectParams) -> None:
    """A redirect would take the key, or a caller's words, to an address that nobody has set."""
    told.response.close()
    raise aiohttp.TooManyRedirects(told.response.request_info, (told.response,), status=told.response.status)


async def _open_http(credentials: Credentials) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=300)
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_go_nowhere_else)
    timeout = aiohttp.ClientTimeout(total=60, sock_connect=5)
    proxy = proxy_of(credentials.base_url)
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, trace_configs=[trace], proxy=proxy.url if proxy else None
    )


HTTP: Shared[aiohttp.ClientSession] = Shared(_open_http, aiohttp.ClientSession.close)
"""For providers that are spoken to without an SDK."""


def sdk_http(credentials: Credentials) -> dict[str, Any]:
    """What the SDKs' own clients are made with. They do not read the environment: proxies are everybody's matter."""
    import httpx2

    return {
        "limits": httpx2.Limits(max_connections=1000, max_keepalive_connections=200, keepalive_expiry=IDLE_SECONDS),
        "timeout": httpx2.Timeout(60, connect=5),
        "follow_redirects": False,
        "verify": httpx2.create_ssl_context(),
        "trust_env": False,
        "proxy": _sdk_proxy(proxy_of(credentials.base_url)),
    }


def _sdk_proxy(proxy: Proxy | None) -> "httpx2.Proxy | None":
    """Its password stays in the URL, from which aiohttp takes it: the way by which the SDKs' transport hands it over
    is one that aiohttp gives up.
    """
    import httpx2

    if proxy is None:
        return None
    made = httpx2.Proxy(proxy.url)
    made.url, made.auth = httpx2.URL(proxy.url), None
    return made


def socket_url(base_url: str) -> str:
    """http becomes ws, https becomes wss."""
    return "ws" + base_url.removeprefix("http") if base_url.startswith("http") else base_url


def query_of(values: Mapping[str, Any]) -> str:
    """What is not set and what is empty is left out; a list is a parameter that is repeated."""
    told = {name: _in_query(value) for name, value in values.items() if value not in (None, (), [])}
    return urlencode(told, doseq=True)


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
