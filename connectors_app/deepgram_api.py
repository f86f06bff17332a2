"""What all of Deepgram's APIs have in common: the key and the address."""

from collections.abc import Mapping
from typing import Any

from connectors_app.base.connector import Connector
from connectors_app.clients import HTTP, query_of, socket_url
from connectors_app.failures import expect_ok, told_by_http
from connectors_app.line import Socket, dial

MOST_KEYTERMS = 100


class DeepgramConnector(Connector):
    key_setting = "DEEPGRAM_API_KEY"
    base_url_setting = "DEEPGRAM_BASE_URL"
    default_base_url = "https://api.deepgram.com"

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await HTTP.take(self)
        url = f"{self.credentials.base_url}/v1/projects"
        with told_by_http(self):
            async with client.get(url, headers=self.headers()) as response:
                await expect_ok(self, response)

    async def close(self) -> None:
        await HTTP.leave(self)

    async def connect(self, path: str, query: Mapping[str, Any]) -> Socket:
        client = await HTTP.take(self)
        url = f"{socket_url(self.credentials.base_url)}{path}?{query_of(query)}"
        return await dial(client, url, self.headers())

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Token {self.credentials.api_key}"}
