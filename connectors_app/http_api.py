"""What providers have in common that are spoken to without an SDK: the client of their credential, and its words."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

import aiohttp
import msgspec

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.clients import HTTP, socket_url
from connectors_app.failures import decoded, expect_ok, finding, told_by_http
from connectors_app.line import Socket, dial
from connectors_app.sse import drain

T = TypeVar("T")

Reader = Callable[[AsyncIterable[bytes]], AsyncGenerator[bytes, None]]
"""Of events or lines, such as those in `sse`."""


class HttpConnector(Connector):
    async def warm(self) -> None:
        await self.check()

    async def close(self) -> None:
        await HTTP.leave(self)

    def headers(self) -> Mapping[str, str]:
        """What every request has: whose it is."""
        return {}

    async def expect_ok(self, response: aiohttp.ClientResponse) -> None:
        """Raises what an answer refuses."""
        await expect_ok(self, response)

    @asynccontextmanager
    async def asking(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no refusal. What happens to it while it is read is told as a ProviderError too."""
        client = await HTTP.take(self)
        url = self.credentials.base_url + path
        with told_by_http(self):
            async with client.request(method, url, headers={**self.headers(), **(headers or {})}, **request) as answer:
                await self.expect_ok(answer)
                yield answer

    async def asked(self, method: str, path: str, decoder: msgspec.json.Decoder[T], **request: Any) -> T:
        """The whole answer."""
        async with self.asking(method, path, **request) as answer:
            body = await answer.read()
        return decoded(self, decoder, body)

    async def found(self, path: str, decoder: msgspec.json.Decoder[T], **request: Any) -> T:
        """What a check asks for: the answer shows that it is this provider which answers at the address."""
        with finding(self):
            return await self.asked("GET", path, decoder, **request)

    @asynccontextmanager
    async def streaming(
        self, read: Reader, method: str, path: str, **request: Any
    ) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """What `read` makes of an answer. Nothing that comes after the answer is told as an error."""
        async with self.asking(method, path, **request) as answer, aclosing(read(answer.content.iter_any())) as stream:
            yield stream
            with suppress(ProviderError), told_by_http(self):
                await drain(stream)

    async def open_socket(self, path: str, headers: Mapping[str, str] | None = None) -> Socket:
        """`path` with its query. Raises what `Line` tells as a ProviderError."""
        client = await HTTP.take(self)
        url = socket_url(self.credentials.base_url) + path
        return await dial(client, url, {**self.headers(), **(headers or {})})
