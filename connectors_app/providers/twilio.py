"""Twilio: telephone calls are ended by REST. Their audio comes by the media socket, which is the transport's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec
from aiohttp import ClientResponse, encode_basic_auth

from connectors_app.base.connector import Credentials, Options, Setting
from connectors_app.base.doors import CallService
from connectors_app.http_api import HttpConnector

NOT_IN_PROGRESS = 21220
"""Twilio's code for a call that is over already."""
ACCOUNT_SID = "TWILIO_ACCOUNT_SID"


@dataclass(frozen=True, slots=True)
class TwilioCredentials(Credentials):
    account: str = ""
    """Its SID, which is a part of every address."""


class TwilioCalls(HttpConnector, CallService):
    """Of the installation's account, whose webhooks bring the calls."""

    slug = "twilio"
    label = "Twilio"
    key_setting = "TWILIO_AUTH_TOKEN"
    base_url_setting = "TWILIO_BASE_URL"
    default_base_url = "https://api.twilio.com"
    more_settings: ClassVar[tuple[Setting, ...]] = (
        Setting(ACCOUNT_SID, "Account SID", "AC[0-9a-fA-F]{32}", "It begins with AC and stands beside the auth token."),
    )
    is_for_workspaces = False
    Options: ClassVar[type[Options]] = Options
    credentials: TwilioCredentials

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(name for name in (cls.key_setting, ACCOUNT_SID) if not environ.get(name, "").strip())

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> TwilioCredentials:
        plain = super().credentials_from(environ)
        return TwilioCredentials(plain.api_key, plain.base_url, account=environ.get(ACCOUNT_SID, "").strip())

    async def check(self) -> None:
        await self.found(f"{self._account}.json", _account)

    async def hang_up(self, call_id: str) -> None:
        async with self.asking("POST", f"{self._account}/Calls/{call_id}.json", data={"Status": "completed"}):
            pass

    async def expect_ok(self, response: ClientResponse) -> None:
        """A call that is over already is as it should be."""
        if not await _is_over(response):
            await super().expect_ok(response)

    @property
    def _account(self) -> str:
        return f"/2010-04-01/Accounts/{self.credentials.account}"

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": encode_basic_auth(self.credentials.account, self.credentials.api_key)}


class _Account(msgspec.Struct):
    sid: str


_account = msgspec.json.Decoder(_Account)


class _Refusal(msgspec.Struct):
    code: int = 0


async def _is_over(response: ClientResponse) -> bool:
    if response.status != 400:
        return False
    try:
        return msgspec.json.decode(await response.read(), type=_Refusal).code == NOT_IN_PROGRESS
    except msgspec.MsgspecError:
        return False
