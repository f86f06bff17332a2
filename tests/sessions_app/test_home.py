"""The first page."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts_app.models import User, Workspace
from pipelines_app.models import AgentVersion
from sessions_app.home import LAST_ANSWER
from sessions_app.models import Incident, Session, State, Turn
from tests.world import signed_in

AGAIN = re.compile(r'hx-get="(/now/[^"]*)" hx-trigger="every 5s"')


@pytest.fixture
def call(workspace: Workspace, version: AgentVersion) -> Session:
    now = timezone.now()
    call = Session.objects.create(
        id="s1", name="Booking", workspace=workspace, agent_version=version, created_at=now, media_ms=120_000
    )
    Turn.objects.create(workspace=workspace, session=call, number=1, started_at=now)
    Incident.objects.create(workspace=workspace, session=call, event_id="e", kind="reply.failed", role="llm", at=now)
    return call


def numbers(user: User) -> dict[str, int]:
    figures: dict[str, int] = signed_in(user).get("/").context["figures"]
    return figures


def test_a_member_sees_what_goes_on(call: Session, owner: User) -> None:
    page = signed_in(owner).get("/").content.decode()
    assert "Booking" in page and 'href="/call/bicycles/shop/"' in page


def test_a_days_numbers_are_counted(call: Session, owner: User) -> None:
    assert numbers(owner) == {"sessions": 1, "minutes": 2, "turns": 1, "failures": 1}
    Session.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert numbers(owner)["sessions"] == 0


def test_the_bar_leads_to_the_pages(call: Session, operator: User) -> None:
    page = signed_in(operator).get("/").content.decode()
    for link in ("/", "/sessions/", "/agents/", "/call/", "/doctor/", "/api/docs/", "/admin/"):
        assert f'<a href="{link}">' in page


def test_what_goes_on_is_looked_at_again(call: Session, owner: User) -> None:
    client = signed_in(owner)
    (again,) = AGAIN.findall(client.get("/").content.decode())
    assert client.get(again).status_code == 204
    Session.objects.update(name="Another")
    piece = client.get(again).content.decode()
    assert "Another" in piece and "<html" not in piece and AGAIN.findall(piece) != [again]


def test_the_last_look_leads_to_the_sign_in(call: Session, client: Client) -> None:
    answer = client.get("/now/?shown=0")
    piece = answer.content.decode()
    assert answer.status_code == LAST_ANSWER and 'href="/login?next=/"' in piece
    assert "Booking" not in piece and "<form" not in piece and not AGAIN.findall(piece)


def test_a_strangers_look_finds_nothing(call: Session, stranger: User) -> None:
    piece = signed_in(stranger).get("/now/?shown=%00")
    assert piece.status_code == 200 and "Booking" not in piece.content.decode()


def test_a_stranger_sees_nothing_of_it(call: Session, stranger: User) -> None:
    assert "Booking" not in signed_in(stranger).get("/").content.decode()
    assert set(numbers(stranger).values()) == {0}


def test_a_viewer_is_offered_no_call(call: Session, teammate: User) -> None:
    page = signed_in(teammate).get("/").content.decode()
    assert "Booking" in page and 'href="/call/bicycles/shop/"' not in page


def test_who_waits_is_not_live(call: Session, owner: User) -> None:
    page = signed_in(owner).get("/").content.decode()
    assert "Nobody talks" in page and 'id="waiting-s1"' in page and 'id="live-s1"' not in page
    Session.objects.update(state=State.LIVE)
    page = signed_in(owner).get("/").content.decode()
    assert 'id="live-s1"' in page and "Waiting for a caller" not in page


def test_what_is_over_is_not_live(call: Session, owner: User) -> None:
    Session.objects.update(state=State.ENDED, ended_at=timezone.now())
    assert "Nobody talks" in signed_in(owner).get("/").content.decode()


def test_signed_out_means_sign_in(client: Client, db: None) -> None:
    assert client.get("/").headers["Location"] == "/login?next=/"


def test_a_newcomer_here_is_led_to_the_call(client: Client, db: None, settings: Settings) -> None:
    settings.EMBEDDED = True
    assert client.get("/", REMOTE_ADDR="127.0.0.1", headers={"host": "localhost"}).headers["Location"] == "/call/"


def test_queries_do_not_grow(call: Session, owner: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    client = signed_in(owner)
    with django_assert_num_queries(9):  # the login's two, four lists, three numbers
        client.get("/")
