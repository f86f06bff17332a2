"""Sessions whose people meet in a room: started by the API and on a page, and seen by those who may see them."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts_app.models import User, Workspace
from mesh.asking import Opened, Person
from pipelines_app.actions import import_agent
from pipelines_app.models import Agent, AgentVersion
from sessions_app import api, starting, switchboard
from sessions_app.models import Session, State
from sessions_app.switchboard import NobodyAnswers
from tests.api import Program, person, program
from tests.sessions_app.stories import Story, Write, created
from tests.sessions_app.test_api import Transport
from tests.world import make_document, signed_in

ROOM = "https://shop.daily.co/s1"
PAGE = "/sessions/s1/presence/"
ADA = Person("p1", "Ada", "2026-11-20T10:00:00.000Z")


def meeting() -> dict[str, Any]:
    document = make_document()
    document["connectors"]["transport"] = {"primary": "daily", "config": {}}
    return document


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Transport:
    transport = Transport()
    opened = Opened(session="s1", path="", token="t0.k.en", expires_in=900, room_url=ROOM, notices=("daily: no agent",))
    monkeypatch.setattr(switchboard, "open_session", transport.answering("open_session", opened))
    monkeypatch.setattr(switchboard, "look_in", transport.answering("look_in", (ADA, Person("p2", "", ""))))
    monkeypatch.setattr(api, "ROW_WITHIN", 0.0)
    monkeypatch.setattr(starting, "ROW_WITHIN", 0.0)
    return transport


@pytest.fixture
def hall(workspace: Workspace) -> Agent:
    """An agent whose document has a room."""
    return import_agent(workspace=workspace, slug="hall", document=meeting(), publish=True)


@pytest.fixture
def key(workspace: Workspace) -> Program:
    return program(workspace)


@pytest.fixture
def session(owner: User, story: Story, write: Write) -> Session:
    write(story.tell(created(transport="daily", details={"room_url": ROOM, "notices": ["daily: no agent"]})))
    return Session.objects.get()


# -- starting --------------------------------------------------------------------------------------------


@pytest.mark.accepts("M75", "M76", "M77", "M79", "M80")
def test_a_room_is_started_with_its_properties(key: Program, transport: Transport) -> None:
    wishes = {"max_participants": 4, "enable_recording": True, "enable_transcription": True}
    answer = key.post("sessions", {"config": meeting(), **wishes})
    told = answer.json()
    assert (answer.status_code, told["room_url"], told["socket_url"], told["token"]) == (201, ROOM, None, "t0.k.en")
    assert told["notices"] == ["daily: no agent"] and told["expires_in"] == 900
    asked = transport.asked[0][1]
    assert (asked["max_participants"], asked["recording"], asked["transcription"]) == (4, True, True)


@pytest.mark.parametrize(
    ("wish", "carried"), [({}, "daily"), ({"transport": "websocket"}, "websocket"), ({"transport": "daily"}, "daily")]
)
def test_an_agents_document_decides_unless_asked(
    wish: dict[str, str], carried: str, key: Program, hall: Agent, transport: Transport
) -> None:
    assert key.post("sessions", {"agent": "hall", **wish}).status_code == 201
    assert transport.asked[0][1]["transport"] == carried


def test_other_documents_have_a_socket(key: Program, version: AgentVersion, transport: Transport) -> None:
    key.post("sessions", {"agent": "shop"})
    assert transport.asked[0][1]["transport"] == "websocket"


def test_the_invitation_leads_into_the_room(owner: User, hall: Agent, transport: Transport) -> None:
    page = signed_in(owner).post("/sessions/new/", {"agent": "bicycles/hall"}, follow=True).content.decode()
    assert f"{ROOM}?t=t0.k.en" in page and "The room is open" in page and "daily: no agent" in page
    assert transport.asked[0][1]["transport"] == "daily"


# -- who is there ----------------------------------------------------------------------------------------


@pytest.mark.accepts("M66")
def test_the_api_tells_who_is_there(key: Program, session: Session, transport: Transport) -> None:
    answer = key.get("sessions/s1/presence")
    assert answer.status_code == 200
    assert answer.json()["people"][0] == {"id": "p1", "name": "Ada", "joined_at": ADA.joined_at}
    assert transport.asked == [("look_in", {"workspace": "bicycles", "session": "s1"})]


@pytest.mark.parametrize(
    "change", [{"transport": "websocket"}, {"state": State.ENDED, "ended_at": timezone.now()}], ids=["socket", "over"]
)
def test_without_an_open_room_nobody_is_asked(
    change: dict[str, Any], key: Program, session: Session, transport: Transport
) -> None:
    Session.objects.update(**change)
    assert key.get("sessions/s1/presence").json() == {"people": []} and not transport.asked


def test_a_missing_transport_is_a_503(key: Program, session: Session, transport: Transport) -> None:
    transport.refusal = NobodyAnswers()
    assert key.get("sessions/s1/presence").status_code == 503


def test_presence_is_for_members(session: Session, transport: Transport, teammate: User, stranger: User) -> None:
    seen = [each.get("sessions/s1/presence").status_code for each in map(person, (teammate, stranger))]
    assert [*seen, Program().get("sessions/s1/presence").status_code] == [200, 404, 401]


def test_the_page_asks_for_its_part(owner: User, session: Session, transport: Transport) -> None:
    page = signed_in(owner).get("/sessions/s1/").content.decode()
    assert f'hx-get="{PAGE}"' in page and "daily: no agent" in page and not transport.asked
    part = signed_in(owner).get(PAGE).content.decode()
    assert "<li>Ada</li>" in part and "Somebody without a name" in part


def test_a_page_without_a_room_has_no_such_part(owner: User, session: Session) -> None:
    Session.objects.update(transport="websocket", details={})
    assert "presence" not in signed_in(owner).get("/sessions/s1/").content.decode()


def test_who_cannot_be_asked_is_told_on_the_page(owner: User, session: Session, transport: Transport) -> None:
    transport.refusal = NobodyAnswers()
    assert "No transport answers" in signed_in(owner).get(PAGE).content.decode()


def test_the_part_is_for_members(session: Session, transport: Transport, stranger: User, client: Client) -> None:
    assert signed_in(stranger).get(PAGE).status_code == 404
    assert client.get(PAGE).headers["Location"] == f"/login?next={PAGE}"
