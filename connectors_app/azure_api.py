"""What Azure Speech's roles share: one key and one region, each role at a host of its own."""

from collections.abc import Mapping
from typing import ClassVar

from connectors_app.base.connector import Credentials, Setting
from connectors_app.http_api import HttpConnector

CLOUDS = {"china": "azure.cn", "usgov": "azure.us"}
"""Those of their own, by how their regions begin."""


class AzureConnector(HttpConnector):
    slug = "azure"
    label = "Azure Speech"
    key_setting = "AZURE_SPEECH_KEY"
    base_url_setting = "AZURE_SPEECH_BASE_URL"
    example_base_url = "https://speech.example.com"
    more_settings = (Setting("AZURE_SPEECH_REGION", "Region", "[A-Za-z0-9]{2,40}", "Such as westeurope."),)
    service: ClassVar[str]
    """As the role is named in its host."""

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        found = cls.credentials_from(environ)
        wanted = {"AZURE_SPEECH_KEY": found.api_key, "AZURE_SPEECH_REGION": found.base_url}
        return tuple(name for name, value in wanted.items() if not value)

    @classmethod
    def wrong_settings(cls, environ: Mapping[str, str]) -> dict[str, str]:
        region = environ.get("AZURE_SPEECH_REGION") or environ.get("AZURE_REGION", "")
        return super().wrong_settings({**environ, "AZURE_SPEECH_REGION": region})

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        """`AZURE_API_KEY` and `AZURE_REGION` are older names of the same settings."""
        key = environ.get("AZURE_SPEECH_KEY") or environ.get("AZURE_API_KEY", "")
        region = environ.get("AZURE_SPEECH_REGION") or environ.get("AZURE_REGION", "")
        base_url = environ.get("AZURE_SPEECH_BASE_URL") or cls._address(region.strip())
        return Credentials(key.strip(), base_url.strip().rstrip("/"))

    @property
    def address_setting(self) -> str:
        is_of_region = f".{self.service}.speech." in self.credentials.base_url
        return "AZURE_SPEECH_REGION" if is_of_region else self.base_url_setting

    def headers(self) -> dict[str, str]:
        return {"Ocp-Apim-Subscription-Key": self.credentials.api_key, "User-Agent": "MeshAG"}

    @classmethod
    def _address(cls, region: str) -> str:
        if not region:
            return ""
        cloud = next((CLOUDS[begin] for begin in CLOUDS if region.lower().startswith(begin)), "microsoft.com")
        return f"https://{region}.{cls.service}.speech.{cloud}"
