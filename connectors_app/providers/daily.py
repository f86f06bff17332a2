"""Daily: video rooms and their tokens by REST. Nothing of it is in a call's media."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import ClientResponse
from pydantic import Field

from connectors_app.base.connector import AnyOptions, Credentials, Setting
from connectors_app.base.doors import Present, Room, RoomService, RoomWishes
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.failures import finding
from connectors_app.http_api import HttpConnector

HOST = ".daily.co"
LONGEST_INFO = 200
EJECTED_AT_ONCE = 100

T = TypeVar("T")

Switch = bool | None
"""None: as the domain has it."""
Language = Literal[
    "da", "de", "en", "es", "fi", "fr", "it", "jp", "ka", "nl", "no", "pt", "pt-BR", "pl", "ru", "sv", "tr", "user"
]
"""As Daily writes them."""


class DailyOptions(AnyOptions):
    privacy: Literal["private", "public"] = Field("private", description="Private: nobody enters without a token")
    recording: Literal["cloud", "cloud-audio-only", "raw-tracks", "local"] = Field(
        "cloud", description="What may be recorded, in sessions that ask for a recording; needs a paid plan"
    )
    enable_chat: Switch = Field(None, description="A chat beside the call")
    enable_screenshare: Switch = Field(None, description="People may share their screens")
    enable_knocking: Switch = Field(None, description="Who has no token may ask to be let in")
    enable_prejoin_ui: Switch = Field(None, description="Try camera and microphone before entering")
    start_video_off: Switch = Field(None, description="Cameras are off at first")
    start_audio_off: Switch = Field(None, description="Microphones are off at first")
    eject_after_elapsed: int | None = Field(None, ge=1, description="Seconds after joining that somebody may stay")
    lang: Language | None = Field(None, description="Language of Daily's own page; “user” is that of the browser")
    geo: str | None = Field(None, pattern=r"^[a-z0-9-]{2,20}$", description="Region that carries the call")

    def properties(self, wishes: RoomWishes) -> dict[str, Any]:
        """Of a room. At its time it closes by itself, whoever is in it."""
        chosen = self.model_dump(exclude={"privacy", "recording"}, exclude_none=True)
        asked = {
            "max_participants": wishes.max_participants,
            "enable_recording": self.recording if wishes.recording else None,
            "enable_transcription_storage": wishes.transcription or None,
        }
        ends = {"exp": wishes.expires_at, "eject_at_room_exp": True}
        return chosen | {name: value for name, value in asked.items() if value is not None} | ends


@dataclass(frozen=True, slots=True)
class DailyCredentials(Credentials):
    domain: str = ""
    """What stands before `.daily.co`. A key belongs to one domain."""


class DailyRooms(HttpConnector, RoomService):
    slug = "daily"
    label = "Daily"
    key_setting = "DAILY_API_KEY"
    base_url_setting = "DAILY_BASE_URL"
    default_base_url = "https://api.daily.co/v1"
    more_settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "DAILY_DOMAIN",
            "Domain",
            r"(?:https?://)?[A-Za-z0-9-]{1,63}(?:\.daily\.co/?)?",
            "What stands before .daily.co in the addresses of your rooms.",
        ),
    )
    Options: ClassVar[type[AnyOptions]] = DailyOptions
    options: DailyOptions
    credentials: DailyCredentials

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(name for name in (cls.key_setting, "DAILY_DOMAIN") if not environ.get(name, "").strip())

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> DailyCredentials:
        plain = super().credentials_from(environ)
        return DailyCredentials(plain.api_key, plain.base_url, domain=_domain(environ.get("DAILY_DOMAIN", "")))

    async def check(self) -> None:
        """The domain that the key belongs to."""
        with finding(self):
            found = await self._ask("GET", "/", _Domain)
        self._check_domain(found.domain_name)

    async def create_room(self, name: str, wishes: RoomWishes) -> Room:
        body = {"name": name, "privacy": self.options.privacy, "properties": self.options.properties(wishes)}
        made = await self._ask("POST", "/rooms", _Room, body)
        host = urlsplit(made.url).hostname or ""
        if host.endswith(HOST):  # else it is a domain of their own
            self._check_domain(host.removesuffix(HOST))
        return Room(made.name, made.url)

    async def create_token(self, name: str, wishes: RoomWishes, *, caller: str = "") -> str:
        """Of an owner, who may start a recording. The room's end is everybody's, so the token has no ejection."""
        properties: dict[str, Any] = {"room_name": name, "exp": wishes.expires_at, "is_owner": True}
        if caller:
            properties["user_name"] = caller
        if wishes.transcription:
            properties["auto_start_transcription"] = True
        return (await self._ask("POST", "/meeting-tokens", _Token, {"properties": properties})).token

    async def presence(self, name: str) -> tuple[Present, ...]:
        try:
            found = await self._ask("GET", f"/rooms/{name}/presence", _Presence)
        except ProviderError as error:
            if error.status == 404:
                return ()
            raise
        return tuple(Present(one.id, one.user_name or "", one.join_time) for one in found.data)

    async def delete_room(self, name: str) -> bool:
        """Who is in it is sent out first: that a meeting ends with its room, the reference does not promise."""
        with suppress(ProviderError):
            await self._empty(name)
        try:
            await self._ask("DELETE", f"/rooms/{name}", _Deleted)
        except ProviderError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _empty(self, name: str) -> None:
        ids = [person.id for person in await self.presence(name)]
        for start in range(0, len(ids), EJECTED_AT_ONCE):
            await self._ask("POST", f"/rooms/{name}/eject", _Ejected, {"ids": ids[start : start + EJECTED_AT_ONCE]})

    # -- the wire -----------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, kind: type[T], body: Mapping[str, Any] | None = None) -> T:
        return await self.asked(method, path, msgspec.json.Decoder(kind), json=body)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.credentials.api_key}"}

    async def expect_ok(self, response: ClientResponse) -> None:
        """A refused request has its reason in `info`: a plan without recordings is told nowhere else."""
        try:
            await super().expect_ok(response)
        except ProviderError as error:
            if error.kind is ErrorKind.REQUEST and (info := _info(await response.read())):
                raise ProviderError(error.kind, f"{error.message}: {info}", status=error.status) from None
            raise

    def _check_domain(self, theirs: str) -> None:
        if theirs.lower() != self.credentials.domain.lower():
            is_own = self.credentials.is_own
            place = "the workspace's credential" if is_own else self.key_setting
            fix = f"make {theirs} its domain" if is_own else f"set DAILY_DOMAIN={theirs}"
            why = f"the key in {place} belongs to the domain {theirs}: {fix}, or give the key of the other one"
            raise ProviderError(ErrorKind.UNCONFIGURED, why)


def _domain(setting: str) -> str:
    """People give the whole address too."""
    return setting.strip().removeprefix("https://").removeprefix("http://").rstrip("/").removesuffix(HOST)


def _info(body: bytes) -> str:
    try:
        info = msgspec.json.decode(body, type=_Refusal).info
    except msgspec.MsgspecError:
        return ""
    return "".join(filter(str.isprintable, info))[:LONGEST_INFO]


class _Refusal(msgspec.Struct):
    info: str = ""


class _Domain(msgspec.Struct):
    domain_name: str


class _Room(msgspec.Struct):
    name: str
    url: str


class _Token(msgspec.Struct):
    token: str


class _Deleted(msgspec.Struct):
    deleted: bool


class _Ejected(msgspec.Struct):
    """Who of them was there still is not asked."""


class _Here(msgspec.Struct, rename="camel"):
    id: str
    join_time: str = ""
    user_name: str | None = None


class _Presence(msgspec.Struct):
    data: list[_Here]
