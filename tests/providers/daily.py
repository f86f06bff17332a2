"""Daily: rooms, meeting tokens, presence and the domain. Its media is not here."""

import base64
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from aiohttp import web

from tests.providers.backstage import Answer, Backstage, Recorded, bearer, enter, json_answer, received, send
from tests.providers.refusals import refusal
from tests.providers.routes import Provider, Turn
from tests.providers.steering import Behaviour

DOMAIN = "stand-in"
FREE = "free"
"""A key with this in it is of a plan without what is paid for. What Daily says of that is not documented."""
PAID = {"enable_recording", "max_participants", "auto_start_transcription"}
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
ERRORS = {
    400: "invalid-request-error",
    401: "authentication-error",
    403: "forbidden-error",
    404: "not-found",
    429: "rate-limit-error",
}
MOST_PEOPLE = 200
MOST_EJECTED = 100
LANGUAGES = re.compile(r"da|de|en|es|fi|fr|it|jp|ka|nl|no|pt|pt-BR|pl|ru|sv|tr|user")
RECORDINGS = {"cloud", "cloud-audio-only", "local", "raw-tracks"}
SWITCHES = {
    "enable_chat",
    "enable_screenshare",
    "enable_knocking",
    "enable_prejoin_ui",
    "enable_transcription_storage",
    "start_video_off",
    "start_audio_off",
    "eject_at_room_exp",
    "eject_at_token_exp",
    "is_owner",
    "auto_start_transcription",
}
NUMBERS = {"exp", "nbf", "max_participants", "eject_after_elapsed"}
WORDS = {"lang", "geo", "room_name", "user_name", "user_id", "enable_recording"}
OF_A_ROOM = {
    *(NUMBERS | SWITCHES) - {"eject_at_token_exp", "is_owner", "auto_start_transcription"},
    "lang",
    "geo",
    "enable_recording",
}
OF_A_TOKEN = {
    *(NUMBERS | WORDS) - {"max_participants", "geo"},
    "eject_at_token_exp",
    "is_owner",
    "auto_start_transcription",
    "start_video_off",
    "start_audio_off",
    "enable_screenshare",
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    return {"error": param or ERRORS.get(status, "server-error"), "info": message}, {}


DAILY = Provider("daily", complaint)
DAILY_CREATE = DAILY.route("create")
DAILY_DELETE = DAILY.route("delete")
DAILY_EJECT = DAILY.route("eject")
DAILY_TOKENS = DAILY.route("tokens")
DAILY_PRESENCE = DAILY.route("presence")
DAILY_DOMAIN = DAILY.route("domain")
TURNS: tuple[Turn, ...] = ()


@dataclass
class Room:
    privacy: str
    properties: dict[str, Any]
    people: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, name: str | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        who = {"id": str(uuid4()), "userId": None, "userName": name, "mtgSessionId": str(uuid4())}
        self.people.append({**who, "joinTime": now, "duration": 0})

    @property
    def is_over(self) -> bool:
        return bool(self.properties.get("exp", time.time() + 1) <= time.time())


_rooms: WeakKeyDictionary[Backstage, dict[str, Room]] = WeakKeyDictionary()


def rooms(backstage: Backstage) -> dict[str, Room]:
    """Those that are there, by name."""
    return _rooms.setdefault(backstage, {})


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/", show_domain)
    app.router.add_post("/v1/rooms", create_room)
    app.router.add_delete("/v1/rooms/{name}", delete_room)
    app.router.add_get("/v1/rooms/{name}/presence", show_presence)
    app.router.add_post("/v1/rooms/{name}/eject", eject)
    app.router.add_post("/v1/meeting-tokens", create_token)


def environment(url: str) -> dict[str, str]:
    return {"DAILY_API_KEY": "stand-in-daily", "DAILY_DOMAIN": DOMAIN, "DAILY_BASE_URL": f"{url}/v1"}


# -- routes ----------------------------------------------------------------------------------------------


async def show_domain(request: web.Request) -> web.StreamResponse:
    async with _asked(request, DAILY_DOMAIN, "") as (_, recorded, behaviour):
        body = {"domain_name": DOMAIN, "domain_id": str(uuid4()), "config": {"max_participants": None}}
        return await send(request, recorded, behaviour, json_answer(body))


async def create_room(request: web.Request) -> web.StreamResponse:
    body = await _body(request)
    name = body.get("name", uuid4().hex)
    async with _asked(request, DAILY_CREATE, str(name), body) as (backstage, recorded, behaviour):
        if unknown := set(body) - {"name", "privacy", "properties"}:
            raise refusal(DAILY, 400, message=f"unknown parameter '{min(unknown)}'")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise refusal(DAILY, 400, message="invalid room name")
        if body.get("privacy", "public") not in ("public", "private"):
            raise refusal(DAILY, 400, message="invalid privacy setting")
        properties = _checked(body.get("properties", {}), OF_A_ROOM)
        _expect_plan(request, properties)
        there = rooms(backstage)
        if name in there and not there[name].is_over:
            raise refusal(DAILY, 400, message=f"a room named {name} already exists")
        there[name] = Room(body.get("privacy", "public"), properties)
        return await send(request, recorded, behaviour, json_answer(_shown(name, there[name])))


async def delete_room(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    async with _asked(request, DAILY_DELETE, name) as (backstage, recorded, behaviour):
        room = rooms(backstage).pop(name, None)
        if room is None or room.is_over:
            raise refusal(DAILY, 404, message=f"room {name} not found")
        return await send(request, recorded, behaviour, json_answer({"deleted": True, "name": name}))


async def show_presence(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    async with _asked(request, DAILY_PRESENCE, name) as (backstage, recorded, behaviour):
        room = rooms(backstage).get(name)
        if room is None or room.is_over:
            raise refusal(DAILY, 404, message=f"room {name} not found")
        people = [{"room": name, **person} for person in room.people]
        return await send(request, recorded, behaviour, json_answer({"total_count": len(people), "data": people}))


async def eject(request: web.Request) -> web.StreamResponse:
    name, body = request.match_info["name"], await _body(request)
    async with _asked(request, DAILY_EJECT, name, body) as (backstage, recorded, behaviour):
        ids = body.get("ids")
        if not isinstance(ids, list) or not 0 < len(ids) <= MOST_EJECTED:
            raise refusal(DAILY, 400, message=f"ids must be a list of 1 to {MOST_EJECTED} participants")
        room = rooms(backstage).get(name)
        if room is None or room.is_over:
            raise refusal(DAILY, 404, message=f"room {name} not found")
        gone = [person["id"] for person in room.people if person["id"] in ids]
        room.people = [person for person in room.people if person["id"] not in gone]
        return await send(request, recorded, behaviour, json_answer({"ejectedIds": gone}))


async def create_token(request: web.Request) -> web.StreamResponse:
    body = await _body(request)
    properties = body.get("properties", {})
    async with _asked(request, DAILY_TOKENS, str(properties.get("room_name", "")), body) as (_, recorded, behaviour):
        _expect_plan(request, _checked(properties, OF_A_TOKEN))
        return await send(request, recorded, behaviour, _signed(properties))


# -- what is asked ---------------------------------------------------------------------------------------


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except json.JSONDecodeError:
        raise refusal(DAILY, 400, message="the body is no JSON", param="json-parsing-error") from None
    if not isinstance(body, dict):
        raise refusal(DAILY, 400, message="the body must be an object")
    return body


@asynccontextmanager
async def _asked(
    request: web.Request, route: Any, text: str, body: object = None
) -> AsyncIterator[tuple[Backstage, Recorded, Behaviour]]:
    key = bearer(request)
    async with received(request, route, key or "no header") as (backstage, recorded):
        recorded.body = body
        if not key:
            raise refusal(DAILY, 400, message="bad Authorization header format", param="authorization-header-error")
        yield backstage, recorded, await enter(backstage, recorded, text)


def _expect_plan(request: web.Request, properties: Mapping[str, Any]) -> None:
    if FREE in (bearer(request) or "") and (paid := PAID & properties.keys()):
        raise refusal(DAILY, 400, message=f"your plan does not include {min(paid)}")


def _checked(properties: object, known: set[str]) -> dict[str, Any]:
    if not isinstance(properties, dict):
        raise refusal(DAILY, 400, message="properties must be an object")
    for name, value in properties.items():
        if name not in known:
            raise refusal(DAILY, 400, message=f"unknown property '{name}'")
        right = bool if name in SWITCHES else int if name in NUMBERS else str
        if type(value) is not right:
            raise refusal(DAILY, 400, message=f"property '{name}' must be of type {right.__name__}")
    if properties.get("enable_recording", "cloud") not in RECORDINGS:
        raise refusal(DAILY, 400, message="invalid value of property 'enable_recording'")
    if not LANGUAGES.fullmatch(properties.get("lang", "en")):
        raise refusal(DAILY, 400, message="invalid value of property 'lang'")
    if not 0 < properties.get("max_participants", 1) <= MOST_PEOPLE:
        raise refusal(DAILY, 400, message=f"max_participants must be at most {MOST_PEOPLE}")
    return properties


# -- what is answered ------------------------------------------------------------------------------------


def _shown(name: str, room: Room) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "name": name,
        "api_created": True,
        "privacy": room.privacy,
        "url": f"https://{DOMAIN}.daily.co/{name}",
        "created_at": datetime.now(UTC).isoformat(),
        "config": room.properties,
    }


def _signed(properties: Mapping[str, Any]) -> Answer:
    """A token as JWT, with the short names that its claims have."""
    short = {"room_name": "r", "user_name": "u", "is_owner": "o", "exp": "exp", "auto_start_transcription": "ast"}
    claims = {short[name]: value for name, value in properties.items() if name in short}
    parts = [_part(part) for part in ({"alg": "HS256", "typ": "JWT"}, claims | {"d": DOMAIN, "iat": int(time.time())})]
    seal = hmac.digest(b"stand-in", b".".join(parts), "sha256")
    return json_answer({"token": b".".join([*parts, _plain(seal)]).decode()})


def _part(value: object) -> bytes:
    return _plain(json.dumps(value).encode())


def _plain(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
