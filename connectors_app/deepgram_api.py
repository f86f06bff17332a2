"""What all of Deepgram's APIs have in common: the key and the address."""

from collections.abc import Mapping
from typing import Any

from connectors_app.clients import query_of
from connectors_app.http_api import HttpConnector
from connectors_app.line import Socket

MOST_KEYTERMS = 100


class DeepgramConnector(HttpConnector):
    key_setting = "DEEPGRAM_API_KEY"
    base_url_setting = "DEEPGRAM_BASE_URL"
    default_base_url = "https://api.deepgram.com"

    async def check(self) -> None:
        async with self.asking("GET", "/v1/projects"):
            pass

    async def connect(self, path: str, query: Mapping[str, Any]) -> Socket:
        return await self.open_socket(f"{path}?{query_of(query)}")

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Token {self.credentials.api_key}"}
