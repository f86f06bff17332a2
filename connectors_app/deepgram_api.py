"""What all of Deepgram's APIs have in common: the key and the address."""

from collections.abc import Mapping
from typing import Any

import msgspec

from connectors_app.clients import query_of
from connectors_app.http_api import HttpConnector
from connectors_app.line import Socket

MOST_KEYTERMS = 100


class _Projects(msgspec.Struct):
    projects: list[msgspec.Raw]


_projects = msgspec.json.Decoder(_Projects)


class DeepgramConnector(HttpConnector):
    key_setting = "DEEPGRAM_API_KEY"
    base_url_setting = "DEEPGRAM_BASE_URL"
    default_base_url = "https://api.deepgram.com"

    async def check(self) -> None:
        await self.found("/v1/projects", _projects)

    async def connect(self, path: str, query: Mapping[str, Any]) -> Socket:
        return await self.open_socket(f"{path}?{query_of(query)}")

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Token {self.credentials.api_key}"}
