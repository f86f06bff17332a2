"""Sessions that meet in a Daily room: made with it, seen in it, ended with it, and never half there."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from cryptography.fernet import Fernet

from connectors_app.base.connector import Sealed
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.pool import Pool
from connectors_app.sealing import Sealing
from mesh import asking, subjects
from mesh.events import SessionCreated, SessionEnded
from tests.providers.backstage import Outcome
from tests.providers.daily import (
    DAILY_CREATE,
    DAILY_DELETE,
    DAILY_PRESENCE,
    DAILY_TOKENS,
    DOMAIN,
    Room,
    claims,
    rooms,
)
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.workers.desks import body, document
from tests.workers.lines import Process, transport_process
from tests.workers.media.sockets import serving
from tests.workers.test_asked import ask, declined, employ
from workers import api, inquiries, meeting, transport
from workers import rooms as workers_rooms
from workers.rooms import RoomKey, Rooms
from workers.wishes import NO_AGENT

REFUSED = Behaviour(fault=Fault.REFUSE, status=500)


@dataclass
class House:
    """A transport, its HTTP, and Daily behind it."""

    process: Process
    client: ClientSession
    daily: StandIns

    @property
    def rooms(self) -> dict[str, Room]:
        return rooms(self.daily.backstage)

    async def make(self, **changes: Any) -> dict[str, Any]:
        config = document("daily") | {"limits": {"max_duration_s": 900}}
        async with self.client.post("/sessions/with-config", json=body(config=config, **changes)) as response:
            assert response.status == 200, await response.text()
            assert response.headers["MeshAG-Notice"] == NO_AGENT
            answer: dict[str, Any] = await response.json()
            return answer

    async def refused(self, status: int) -> str:
        """Nothing is made, and nothing of it is left."""
        before = await self.process.transport.sessions.list()
        async with self.client.post("/sessions/with-config", json=body(config=document("daily"))) as response:
            answer = await response.json()
            assert response.status == status, answer
        assert await self.process.transport.sessions.list() == before
        return str(answer["error"])

    async def show(self, session: str) -> dict[str, Any]:
        async with self.client.get(f"/sessions/{session}") as response:
            shown: dict[str, Any] = await response.json()
            return shown

    async def end(self, session: str) -> None:
        async with self.client.delete(f"/sessions/{session}") as response:
            assert response.status == 200


@pytest.fixture
async def daily() -> AsyncIterator[StandIns]:
    async with StandIns(utterances=()) as stand_ins:
        yield stand_ins


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no silent Daily."""
    for name in ("MAKE_SECONDS", "ASK_SECONDS", "DELETE_SECONDS"):
        monkeypatch.setattr(workers_rooms, name, 20.0)
    monkeypatch.setattr(transport, "OUTSIDE_SECONDS", 20.0)
    monkeypatch.setattr(transport, "APPEND_SECONDS", 20.0)
    monkeypatch.setattr(inquiries, "BRIDGE_SECONDS", 20.0)


@pytest.fixture
async def house(nats_url: str, valkey_url: str, daily: StandIns, patient: None) -> AsyncIterator[House]:
    async with transport_process(nats_url, valkey_url, daily.env) as process:
        employ(process)
        process.transport.rooms = Rooms(Pool(daily.env), waits=(0.01, 0.01))
        await process.meet_bridge()
        app = web.Application()
        app.router.add_routes(api.routes(process.transport))
        async with serving(app) as url, ClientSession(url) as client:
            yield House(process, client, daily)


# -- a room for a session --------------------------------------------------------------------------------


@pytest.mark.accepts("M66", "M75", "M76", "M77", "M78", "M79", "M80", "M81")
async def test_the_documented_request_makes_a_room(house: House) -> None:
    answer = await house.make()
    assert list(answer) == ["session_id", "room_url", "token", "config_stored"] and answer["config_stored"] is True
    session = answer["session_id"]
    assert answer["room_url"] == f"https://{DOMAIN}.daily.co/{session}"
    properties = house.rooms[session].properties
    assert (properties["max_participants"], properties["enable_recording"]) == (10, "cloud")
    assert properties["enable_transcription_storage"] is True
    assert claims(answer["token"])["r"] == session and answer["token"].count(".") == 2


async def test_room_and_token_end_with_the_sessions_limit(house: House) -> None:
    answer = await house.make()
    ends = house.rooms[answer["session_id"]].properties["exp"]
    assert abs(ends - time.time() - 900) < 10 and claims(answer["token"])["exp"] == ends
    assert house.rooms[answer["session_id"]].properties["eject_at_room_exp"] is True


async def test_what_is_not_asked_for_costs_nothing(house: House) -> None:
    request = {"config": document("daily")}
    async with house.client.post("/sessions/with-config", json=request) as response:
        session = (await response.json())["session_id"]
    assert set(house.rooms[session].properties) == {"exp", "eject_at_room_exp"}


async def test_the_session_says_that_its_agent_stays_out(house: House) -> None:
    session = (await house.make())["session_id"]
    shown = await house.show(session)
    assert shown["notices"] == [NO_AGENT] and shown["status"] == "Created"
    assert shown["room_url"].endswith(f".daily.co/{session}") and shown["recording"] is True
    (fact,) = [
        one.event for one in await house.process.transport.bus.history(session) if isinstance(one.event, SessionCreated)
    ]
    assert fact.details["notices"] == [NO_AGENT] and fact.details["room_url"] == shown["room_url"]


async def test_a_long_session_outlives_the_usual_ttl(house: House) -> None:
    config = document("daily") | {"limits": {"max_duration_s": 86_400}}
    async with house.client.post("/sessions/with-config", json={"config": config}) as response:
        session = (await response.json())["session_id"]
    assert (await house.process.transport.configs.get_config_ttl(session) or 0) > 86_400


async def test_an_agent_may_meet_in_a_room(house: House) -> None:
    async def answer(payload: bytes) -> bytes:
        found = {"workspace": "default", "agent": "demo", "version": 2, "config": document("daily")}
        return msgspec.json.encode(found)

    await house.process.transport.bus.serve(subjects.BRIDGE_AGENT, answer)
    await house.process.transport.bus.round_trip()
    request = {"agent": "demo", "room_config": {"max_participants": 3}, "participant_config": {"name": "Ada"}}
    async with house.client.post("/sessions", json=request) as response:
        made = await response.json()
    assert made["provider_metadata"]["provider"] == "daily" and made["room_name"] == made["session_id"]
    assert claims(made["meeting_token"])["u"] == "Ada"
    assert house.rooms[made["session_id"]].properties["max_participants"] == 3


async def test_the_web_opens_a_room_too(house: House) -> None:
    question = asking.Open(workspace="default", config=document("daily"), max_participants=4, recording=True)
    opened = msgspec.convert(await ask(house.process, question), asking.Opened)
    assert opened.room_url == f"https://{DOMAIN}.daily.co/{opened.session}" and opened.notices == (NO_AGENT,)
    assert claims(opened.token)["r"] == opened.session and opened.expires_in == 3600
    assert house.rooms[opened.session].properties["max_participants"] == 4


# -- who is there ----------------------------------------------------------------------------------------


@pytest.mark.accepts("M66")
async def test_the_session_tells_who_is_in_its_room(house: House) -> None:
    session = (await house.make())["session_id"]
    house.rooms[session].enter("Ada")
    assert (await house.show(session))["participants"] == ["Ada"]
    told = await ask(house.process, asking.LookIn(workspace="default", session=session))
    assert [person["name"] for person in told["people"]] == ["Ada"]


async def test_daily_is_asked_every_few_seconds_only(house: House) -> None:
    session = (await house.make())["session_id"]
    await asyncio.gather(*(house.show(session) for _ in range(5)))
    assert len(house.daily.requests_to(DAILY_PRESENCE)) == 1
    house.process.transport.rooms._seen.clear()
    await house.show(session)
    assert len(house.daily.requests_to(DAILY_PRESENCE)) == 2


async def test_a_silent_daily_hides_nobodys_session(house: House) -> None:
    session = (await house.make())["session_id"]
    house.daily.steer(DAILY_PRESENCE, REFUSED)
    assert (await house.show(session))["participants"] is None
    error = await declined(house.process, asking.LookIn(workspace="default", session=session))
    assert error.status == 503 and "who is in the room" in error.error


async def test_strangers_see_nobody(house: House) -> None:
    session = (await house.make())["session_id"]
    assert (await declined(house.process, asking.LookIn(workspace="elsewhere", session=session))).status == 404


# -- the end ---------------------------------------------------------------------------------------------


@pytest.mark.accepts("M66")
async def test_the_sessions_end_deletes_the_room(house: House) -> None:
    session = (await house.make())["session_id"]
    await house.end(session)
    assert session not in house.rooms
    assert (await house.show(session))["status"] == "Ended"
    history = await house.process.transport.bus.history(session)
    assert isinstance(history[-1].event, SessionEnded) and history[-1].event.reason == "ended"
    await house.end(session)
    assert len(house.daily.requests_to(DAILY_DELETE)) == 1


async def test_deleting_is_tried_again(house: House) -> None:
    session = (await house.make())["session_id"]
    house.daily.steer(DAILY_DELETE, Behaviour(fault=Fault.REFUSE, status=500, nth=1))
    await house.end(session)
    assert session not in house.rooms and len(house.daily.requests_to(DAILY_DELETE)) == 2


async def test_a_room_that_stays_does_not_keep_its_session(house: House, caplog: pytest.LogCaptureFixture) -> None:
    session = (await house.make())["session_id"]
    house.daily.steer(DAILY_DELETE, REFUSED)
    await house.end(session)
    assert (await house.show(session))["status"] == "Ended"
    assert len(house.daily.requests_to(DAILY_DELETE)) == 3
    assert "closes when it expires" in caplog.text


async def test_a_rate_limit_is_waited_for(daily: StandIns) -> None:
    service = Rooms(Pool(daily.env), waits=(0.0,))
    daily.steer(DAILY_DELETE, Behaviour(fault=Fault.REFUSE, status=429, retry_after=0.3, nth=1))
    began = time.monotonic()
    await service.delete(RoomKey("a-room", "daily"))
    assert time.monotonic() - began >= 0.3 and len(daily.requests_to(DAILY_DELETE)) == 2
    await service.close(within=1)


# -- what goes wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [DAILY_CREATE, DAILY_TOKENS])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Behaviour(fault=Fault.REFUSE, status=401), "DAILY_API_KEY"),
        (Behaviour(fault=Fault.REFUSE, status=429), "fewer requests"),
        (Behaviour(fault=Fault.REFUSE, status=500), "error of its own"),
        (Behaviour(fault=Fault.CUT), "broke off"),
        (Behaviour(fault=Fault.GARBAGE), "protocol"),
    ],
)
async def test_a_failing_daily_leaves_nothing(house: House, route: Route, fault: Behaviour, words: str) -> None:
    house.daily.steer(route, fault)
    assert words in await house.refused(503)
    await asyncio.gather(*house.process.transport.rooms._deleting)
    assert not house.rooms


async def test_a_refused_wish_is_the_callers_to_change(house: House) -> None:
    house.daily.steer(DAILY_CREATE, Behaviour(fault=Fault.REFUSE, status=400))
    assert "invalid-request-error" in await house.refused(422)


@pytest.mark.parametrize("route", [DAILY_CREATE, DAILY_TOKENS])
async def test_a_late_daily_is_not_waited_for(house: House, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_rooms, "MAKE_SECONDS", 0.2)
    house.daily.steer(route, Behaviour(fault=Fault.NEVER))
    assert "within 0.2 s" in await house.refused(503)
    await house.daily.ended(DAILY_DELETE, Outcome.ANSWERED if route is DAILY_TOKENS else Outcome.REFUSED)
    await asyncio.gather(*house.process.transport.rooms._deleting)
    assert not house.rooms


async def test_a_session_that_cannot_be_made_has_no_room(house: House) -> None:
    house.process.transport.presence.draining = True
    assert "being stopped" in await house.refused(503)
    await asyncio.gather(*house.process.transport.rooms._deleting)
    assert len(house.daily.requests_to(DAILY_CREATE)) == 1 and not house.rooms


async def test_wrong_options_of_the_document_are_named(house: House) -> None:
    config = document("daily")
    config["connectors"]["transport"]["config"] = {"privacy": "secret"}
    async with house.client.post("/sessions/with-config", json={"config": config}) as response:
        answer = await response.json()
    assert (response.status, answer["detail"][0]["path"]) == (422, "config.connectors.transport.config.privacy")


# -- a key of the workspace's own ------------------------------------------------------------------------


async def test_a_workspaces_own_key_makes_its_rooms(house: House) -> None:
    sealing = Sealing([Fernet.generate_key().decode()])
    own = {"DAILY_API_KEY": "own-key", "DAILY_DOMAIN": DOMAIN, "DAILY_BASE_URL": f"{house.daily.url}/v1"}
    sealed = sealing.seal("default", "daily", own)
    house.process.transport.rooms = Rooms(Pool({}, sealing=sealing), waits=())
    house.process.transport.environ = {}
    house.process.transport._inquiries._sealed = {
        ("default", provider, ""): (time.monotonic(), sealed if provider == "daily" else None)
        for provider in ("daily", "openai", "deepgram", "anthropic", "elevenlabs", "azure")
    }
    house.process.transport._inquiries._ask_again = time.monotonic() + 60
    session = (await house.make())["session_id"]
    await house.end(session)
    for route in (DAILY_CREATE, DAILY_TOKENS, DAILY_DELETE):
        (request,) = house.daily.requests_to(route)
        assert request.headers["authorization"] == "Bearer own-key"


async def test_a_seal_that_nobody_opens_is_no_room(daily: StandIns) -> None:
    service = Rooms(Pool(daily.env), waits=())
    with pytest.raises(ProviderError) as caught:
        await service.people(RoomKey("a-room", "daily", Sealed("default", {"daily": "unreadable"})))
    assert caught.value.kind is ErrorKind.UNCONFIGURED and not daily.requests
    await service.close(within=1)


async def test_a_changed_document_keeps_the_rooms_key(house: House) -> None:
    session = (await house.make())["session_id"]
    desk = house.process.transport
    config = desk.parse_config(document("daily") | {"system_prompt": "Be brief."})
    await desk.configs.store_config(session, config, 600, credentials={"daily": "sealed"})
    record = await desk.sessions.get(session)
    assert record
    key = await meeting.key_of(desk, record)
    assert key and key.sealed == Sealed("default", {"daily": "sealed"})
