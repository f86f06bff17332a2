"""Sessions in the admin: there to be read, not to be changed."""

from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import Membership, User, Workspace
from pipelines_app.actions import import_agent
from pipelines_app.models import AgentVersion
from sessions_app.models import Incident, Session, TranscriptEntry, Turn, Usage
from tests.sessions_app.stories import Story, Write, tell_a_call
from tests.world import make_document, signed_in

PAGES = ["session", "turn", "transcriptentry", "usage", "incident", "bridgecursor"]


@pytest.mark.parametrize("model", [*apps.get_app_config("sessions_app").get_models()])
def test_every_model_is_registered(model: type[models.Model]) -> None:
    assert admin.site.is_registered(model)


@pytest.mark.parametrize("page", PAGES)
def test_an_operator_opens_every_list(
    page: str, operator: User, workspace: Workspace, story: Story, write: Write
) -> None:
    write(tell_a_call(story))
    assert signed_in(operator).get(f"/admin/sessions_app/{page}/").status_code == 200


def test_a_session_shows_its_transcript(operator: User, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    page = signed_in(operator).get("/admin/sessions_app/session/s1/change/").content.decode()
    assert "A table for two." in page and 'name="_save"' not in page


@pytest.mark.parametrize("verb", ["change", "delete"])
def test_nobody_changes_a_session(verb: str, operator: User, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    answer = signed_in(operator).post(f"/admin/sessions_app/session/s1/{verb}/", {"state": "live"})
    assert answer.status_code == 403


SESSIONS = "/admin/sessions_app/session/"
PAGE = f"{SESSIONS}s1/change/"
NOON = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)


def make_calls(workspace: Workspace, version: AgentVersion | None = None, times: int = 5) -> None:
    for number in range(times):
        own = {"workspace": workspace, "created_at": NOON, "agent_version": version, "transport": "websocket"}
        session = Session.objects.create(id=f"c{number}", **own)
        row = {"workspace": workspace, "session": session}
        event = {**row, "event_id": f"e{number}", "at": NOON}
        Turn.objects.create(**row, number=1, started_at=NOON)
        TranscriptEntry.objects.create(**event, sequence=1, speaker="caller", text="Hello")
        Usage.objects.create(**event, role="llm", provider="openai", unit="tokens", quantity=1, estimated=True)
        Incident.objects.create(**event, kind="provider.failed", role="llm")


@pytest.mark.parametrize(
    ("page", "queries"), [("session", 8), ("turn", 6), ("transcriptentry", 5), ("usage", 8), ("incident", 7)]
)
def test_lists_do_not_grow_in_queries(
    page: str,
    queries: int,
    operator: User,
    version: AgentVersion,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_calls(version.agent.workspace, version)
    client = signed_in(operator)
    client.get(f"/admin/sessions_app/{page}/")  # Django keeps the ids of content types
    with django_assert_num_queries(queries):
        assert client.get(f"/admin/sessions_app/{page}/").status_code == 200


def test_a_session_page_does_not_grow_in_queries(
    operator: User, workspace: Workspace, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_calls(workspace)
    session = Session.objects.get(id="c1")
    for number in range(2, 20):
        Turn.objects.create(workspace=workspace, session=session, number=number, started_at=NOON)
    client = signed_in(operator)
    client.get(f"{SESSIONS}c0/change/")  # Django keeps the ids of content types
    with django_assert_num_queries(13):
        assert client.get(f"{SESSIONS}c1/change/").status_code == 200


def test_a_session_has_a_tab_for_everything(operator: User, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    page = signed_in(operator).get(PAGE).content.decode()
    for word in ("Transcript", "Turns", "Incidents", "Usage", "Configuration", "Technical"):
        assert word in page
    assert "by the caller" in page  # broke in
    assert "transcript 210 ms" in page


def test_a_session_leads_members_to_its_live_page(
    operator: User, workspace: Workspace, story: Story, write: Write
) -> None:
    write(tell_a_call(story))
    client = signed_in(operator)
    assert f"{SESSIONS}s1/page/" not in client.get(PAGE).content.decode()
    assert client.get(f"{SESSIONS}s1/page/").status_code == 403
    Membership.objects.create(user=operator, workspace=workspace)
    assert f"{SESSIONS}s1/page/" in client.get(PAGE).content.decode()
    assert client.get(f"{SESSIONS}s1/page/")["Location"] == "/sessions/s1/"


def test_usage_says_what_is_estimated(operator: User, workspace: Workspace) -> None:
    make_calls(workspace, times=1)
    client = signed_in(operator)
    assert "estimated" in client.get("/admin/sessions_app/usage/?q=c0").content.decode()
    Usage.objects.update(estimated=False)
    assert "by the provider" in client.get("/admin/sessions_app/usage/?q=c0").content.decode()


def test_all_rows_are_offered_when_some_are_left_out(operator: User, workspace: Workspace) -> None:
    make_calls(workspace)
    client = signed_in(operator)
    assert "Show all" not in client.get("/admin/sessions_app/usage/").content.decode()
    assert "Show all" in client.get("/admin/sessions_app/usage/?q=c0").content.decode()


def test_usage_stays_when_its_session_is_gone(operator: User, workspace: Workspace) -> None:
    make_calls(workspace, times=1)
    Session.objects.all().delete()
    assert ">deleted<" in signed_in(operator).get("/admin/sessions_app/usage/").content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("now=live", set()),
        ("now=waiting", {"c0"}),
        ("now=over", {"c1", "c2"}),
        ("now=whenever", {"c0", "c1", "c2"}),
        ("state__exact=failed", {"c2"}),
        ("transport__exact=twilio", {"c2"}),
        ("created_at_from=2026-01-02", {"c2"}),
        ("created_at_to=2026-01-02", {"c0", "c1"}),
        ("created_at_from=2026-01-01&created_at_to=2026-01-03", {"c0", "c1", "c2"}),
        ("created_at_from=yesterday", {"c0", "c1", "c2"}),
        ("q=c1", {"c1"}),
        ("q=nothing", set()),
    ],
)
def test_sessions_are_found(operator: User, workspace: Workspace, query: str, found: set[str]) -> None:
    make_calls(workspace, times=3)
    Session.objects.filter(id="c1").update(state="ended", ended_at=NOON)
    late = {"created_at": NOON.replace(day=3), "transport": "twilio"}
    Session.objects.filter(id="c2").update(state="failed", ended_at=NOON, **late)
    page = signed_in(operator).get(f"{SESSIONS}?{query}")
    assert {session.id for session in page.context["cl"].queryset} == found


def test_sessions_are_found_by_agent(operator: User, version: AgentVersion) -> None:
    workspace = version.agent.workspace
    make_calls(workspace, version, times=1)
    other = import_agent(workspace=workspace, slug="other", document=make_document(), publish=True)
    own = {"workspace": workspace, "transport": "websocket", "created_at": NOON}
    Session.objects.create(id="other", agent_version=other.published, **own)
    page = signed_in(operator).get(f"{SESSIONS}?agent_version__agent__id__exact={version.agent.pk}")
    assert [session.id for session in page.context["cl"].queryset] == ["c0"]


def test_a_list_without_rows_says_so(operator: User) -> None:
    client = signed_in(operator)
    assert "No sessions yet." in client.get(SESSIONS).content.decode()
    assert "Nothing matches “lost”." in client.get(f"{SESSIONS}?q=lost").content.decode()
