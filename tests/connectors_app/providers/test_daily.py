"""Daily's REST as its reference has it: rooms, tokens, presence, deletion, and what each refusal says to people."""

import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Door
from connectors_app.base.doors import RoomWishes
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.daily import DailyRooms
from tests.providers.daily import (
    DAILY_CREATE,
    DAILY_DELETE,
    DAILY_DOMAIN,
    DAILY_EJECT,
    DAILY_PRESENCE,
    DAILY_TOKENS,
    DOMAIN,
    claims,
    rooms,
)
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

NAME = "9f0c2a6e-2f49-4d0e-8f0c-1c1e5f6f9a10"
WISHES = RoomWishes(expires_at=2_000_000_000)
FULL = RoomWishes(expires_at=2_000_000_000, max_participants=10, recording=True, transcription=True)
Use = Callable[[DailyRooms], Coroutine[Any, Any, object]]

USES: list[tuple[Route, Use]] = [
    (DAILY_CREATE, lambda daily: daily.create_room(NAME, WISHES)),
    (DAILY_TOKENS, lambda daily: daily.create_token(NAME, WISHES)),
    (DAILY_PRESENCE, lambda daily: daily.presence(NAME)),
    (DAILY_DELETE, lambda daily: daily.delete_room(NAME)),
    (DAILY_DOMAIN, lambda daily: daily.check()),
]
EACH = pytest.mark.parametrize(("route", "use"), USES, ids=[route.name for route, _ in USES])


@asynccontextmanager
async def daily(environ: dict[str, str], **options: Any) -> AsyncIterator[DailyRooms]:
    cls = registry.get(Door.TRANSPORT, "daily")
    connector = cls(registry.make_options(cls, options), cls.credentials_from(environ))
    assert isinstance(connector, DailyRooms)
    yield connector
    await connector.close()


async def failure(environ: dict[str, str], use: Use) -> ProviderError:
    async with daily(environ) as service:
        with pytest.raises(ProviderError) as caught:
            await use(service)
    return caught.value


def sent(stand_ins: StandIns, route: Route) -> dict[str, Any]:
    (recorded,) = stand_ins.requests_to(route)
    body: dict[str, Any] = recorded.body
    return body


# -- rooms -----------------------------------------------------------------------------------------------


@pytest.mark.accepts("M66", "M75", "M76", "M77")
async def test_a_room_has_its_name_and_properties(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        room = await service.create_room(NAME, FULL)
    assert (room.name, room.url) == (NAME, f"https://{DOMAIN}.daily.co/{NAME}")
    assert sent(stand_ins, DAILY_CREATE) == {
        "name": NAME,
        "privacy": "private",
        "properties": {
            "max_participants": 10,
            "enable_recording": "cloud",
            "enable_transcription_storage": True,
            "exp": 2_000_000_000,
            "eject_at_room_exp": True,
        },
    }


async def test_what_nobody_wishes_is_not_sent(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        await service.create_room(NAME, WISHES)
    assert sent(stand_ins, DAILY_CREATE)["properties"] == {"exp": 2_000_000_000, "eject_at_room_exp": True}


OPTIONS = {
    "enable_chat": True,
    "enable_screenshare": False,
    "enable_knocking": True,
    "enable_prejoin_ui": False,
    "start_video_off": True,
    "start_audio_off": True,
    "eject_after_elapsed": 600,
    "lang": "de",
    "geo": "eu-central-1",
}


async def test_every_option_reaches_the_room(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ, privacy="public", recording="raw-tracks", **OPTIONS) as service:
        await service.create_room(NAME, FULL)
    body = sent(stand_ins, DAILY_CREATE)
    assert body["privacy"] == "public" and body["properties"]["enable_recording"] == "raw-tracks"
    assert body["properties"].items() >= OPTIONS.items()
    assert {*OPTIONS, "privacy", "recording"} == set(registry.get(Door.TRANSPORT, "daily").Options.model_fields)


@pytest.mark.accepts("M66")
async def test_a_token_opens_this_room_until_its_end(environ: dict[str, str]) -> None:
    async with daily(environ) as service:
        told = claims(await service.create_token(NAME, FULL, caller="Ada"))
    assert told.pop("iat") <= time.time()
    assert told == {"r": NAME, "exp": 2_000_000_000, "o": True, "u": "Ada", "ast": True, "d": DOMAIN}


@pytest.mark.accepts("M66")
async def test_presence_tells_who_is_there(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        await service.create_room(NAME, WISHES)
        assert await service.presence(NAME) == ()
        room = rooms(stand_ins.backstage)[NAME]
        room.enter("Ada")
        room.enter(None)
        ada, nameless = await service.presence(NAME)
    assert (ada.name, nameless.name) == ("Ada", "") and ada.id and ada.joined_at.endswith("Z")


async def test_a_room_that_is_not_there_is_empty(environ: dict[str, str]) -> None:
    async with daily(environ) as service:
        assert await service.presence(NAME) == ()


async def test_a_room_is_deleted_once_or_twice(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        await service.create_room(NAME, WISHES)
        assert await service.delete_room(NAME)
        assert not await service.delete_room(NAME)
    assert not rooms(stand_ins.backstage)


async def test_who_is_in_the_room_is_sent_out_first(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        await service.create_room(NAME, WISHES)
        room = rooms(stand_ins.backstage)[NAME]
        for _ in range(130):
            room.enter("Ada")
        assert await service.delete_room(NAME)
    assert [len(request.body["ids"]) for request in stand_ins.requests_to(DAILY_EJECT)] == [100, 30]
    assert not room.people


@pytest.mark.parametrize("route", [DAILY_PRESENCE, DAILY_EJECT], ids=str)
async def test_who_stays_does_not_keep_the_room(route: Route, environ: dict[str, str], stand_ins: StandIns) -> None:
    async with daily(environ) as service:
        await service.create_room(NAME, WISHES)
        rooms(stand_ins.backstage)[NAME].enter("Ada")
        stand_ins.steer(route, Behaviour(fault=Fault.REFUSE, status=500))
        assert await service.delete_room(NAME)
    assert not rooms(stand_ins.backstage)


# -- what goes wrong -------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ErrorKind.AUTH), (403, ErrorKind.AUTH), (429, ErrorKind.RATE_LIMIT), (500, ErrorKind.SERVER)],
)
async def test_each_refusal_has_its_kind(
    route: Route, use: Use, status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(route, Behaviour(fault=Fault.REFUSE, status=status))
    assert (await failure(environ, use)).kind is kind


@EACH
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.END, Fault.GARBAGE])
async def test_a_broken_answer_is_no_answer(
    route: Route, use: Use, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    rooms(stand_ins.backstage)
    async with daily(environ) as service:
        if route in (DAILY_DELETE, DAILY_PRESENCE):
            await service.create_room(NAME, WISHES)
    stand_ins.steer(route, Behaviour(fault=fault))
    assert (await failure(environ, use)).kind is ErrorKind.BROKEN


async def test_a_revoked_key_names_its_setting(environ: dict[str, str]) -> None:
    error = await failure({**environ, "DAILY_API_KEY": "revoked-key"}, lambda daily: daily.check())
    assert error.kind is ErrorKind.AUTH and "DAILY_API_KEY" in error.message and "revoked-key" not in error.message


async def test_nobody_at_the_address_is_refused(environ: dict[str, str]) -> None:
    error = await failure({**environ, "DAILY_BASE_URL": "http://127.0.0.1:9/v1"}, lambda daily: daily.check())
    assert error.kind is ErrorKind.REFUSED and "DAILY_BASE_URL" in error.message


async def test_a_refused_property_has_dailys_reason(environ: dict[str, str]) -> None:
    error = await failure({**environ, "DAILY_API_KEY": "free-plan"}, lambda daily: daily.create_room(NAME, FULL))
    assert error.kind is ErrorKind.REQUEST and error.status == 400
    assert "invalid-request-error" in error.message and "does not include enable_recording" in error.message


@pytest.mark.parametrize(
    "use",
    [
        lambda daily: daily.create_room(NAME, replace(WISHES, max_participants=10)),
        lambda daily: daily.create_token(NAME, replace(WISHES, transcription=True)),
    ],
)
async def test_what_is_paid_for_may_be_refused(use: Use, environ: dict[str, str]) -> None:
    error = await failure({**environ, "DAILY_API_KEY": "free-plan"}, use)
    assert error.kind is ErrorKind.REQUEST and "does not include" in error.message


async def test_a_rate_limit_says_when_to_come_back(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(DAILY_DELETE, Behaviour(fault=Fault.REFUSE, status=429, retry_after=2))
    assert (await failure(environ, lambda daily: daily.delete_room(NAME))).retry_after == 2


@pytest.mark.parametrize("use", [lambda daily: daily.check(), lambda daily: daily.create_room(NAME, WISHES)])
async def test_a_key_of_another_domain_is_told(use: Use, environ: dict[str, str]) -> None:
    error = await failure({**environ, "DAILY_DOMAIN": "elsewhere"}, use)
    assert error.kind is ErrorKind.UNCONFIGURED and f"DAILY_DOMAIN={DOMAIN}" in error.message


@pytest.mark.parametrize("domain", [f"{DOMAIN}.daily.co", f"https://{DOMAIN}.daily.co/", f" {DOMAIN.upper()} "])
async def test_the_whole_address_is_a_domain_too(domain: str, environ: dict[str, str]) -> None:
    async with daily({**environ, "DAILY_DOMAIN": domain}) as service:
        await service.check()


# -- what is declared ------------------------------------------------------------------------------------


@pytest.mark.accepts("M89", "M90")
@pytest.mark.parametrize("lacking", ["DAILY_API_KEY", "DAILY_DOMAIN"])
def test_key_and_domain_are_both_needed(lacking: str) -> None:
    given = {"DAILY_API_KEY": "k", "DAILY_DOMAIN": "d"}
    assert DailyRooms.missing_settings({**given, lacking: ""}) == (lacking,)


def test_a_workspace_may_have_its_own_key() -> None:
    assert registry.with_credentials()["daily"] is DailyRooms


@pytest.mark.parametrize(("option", "value"), [("privacy", "secret"), ("lang", "ja")])
def test_a_documents_options_are_checked(option: str, value: str) -> None:
    """Daily's word for Japanese is “jp”."""
    config = {"daily": {option: value}}
    (problem,) = registry.check_connectors({"transport": {"primary": "daily", "config": config}})
    assert problem.path == f"connectors.transport.config.daily.{option}"


def test_other_transports_have_options_of_nobody() -> None:
    assert registry.check_connectors({"transport": {"primary": "websocket", "config": {"a": 1}}}) == []
