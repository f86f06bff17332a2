"""The admin around its forms: the door, the menu, the overview, and what its pages may load."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import Role, User, Workspace
from connectors_app.models import Credential
from meshag_site.admin_pages import MENU
from pipelines_app.actions import publish_agent
from pipelines_app.models import Agent, AgentVersion
from sessions_app.models import Incident, Session, Turn
from tests.world import make_document, make_member, redraft, signed_in

INDEX = "/admin/"


def staff(workspace: Workspace, role: Role = Role.VIEWER) -> Client:
    person = make_member(workspace, f"staff-{role}", role)
    person.is_staff = True
    person.save()
    return signed_in(person)


def overview(client: Client) -> Any:
    """What its template is given, by name."""
    return client.get(INDEX).context


def directives(client: Client, path: str) -> dict[str, str]:
    policy = client.get(path)["Content-Security-Policy"]
    return dict(directive.split(" ", 1) for directive in policy.split("; "))


def test_no_group_is_called_as_one_of_its_lists() -> None:
    """A page's way from the top names both."""
    for model in admin.site._registry:
        group = model._meta.app_config.verbose_name
        assert str(group).casefold() != str(model._meta.verbose_name_plural).casefold()


# -- the door --------------------------------------------------------------------------------------------


def test_the_admin_has_no_door_of_its_own(client: Client, db: None) -> None:
    answer = client.get("/admin/accounts_app/user/?q=a", follow=True)
    assert answer.redirect_chain[-1] == ("/login?next=/admin/accounts_app/user/%3Fq%3Da", 302)
    assert "<h1>Sign in</h1>" in answer.content.decode()


def test_who_signs_in_comes_to_the_page(operator: User, client: Client) -> None:
    operator.set_password("right password")
    operator.save()
    form = {"username": "operator", "password": "right password", "next": "/admin/sessions_app/session/"}
    assert client.post("/login", form)["Location"] == "/admin/sessions_app/session/"


@pytest.mark.parametrize("path", [INDEX, "/admin/login/?next=/admin/", "/admin/accounts_app/user/", "/admin/nowhere"])
def test_who_is_no_staff_is_told_so(path: str, owner: User) -> None:
    answer = signed_in(owner).get(path, follow=True)
    assert answer.status_code == 403
    assert "<h1>Not allowed</h1>" in answer.content.decode()


def test_signing_out_of_the_admin_leads_to_the_door(operator: User) -> None:
    assert signed_in(operator).post("/admin/logout/")["Location"] == "/login"


# -- the menu --------------------------------------------------------------------------------------------


def test_the_menu_names_every_list() -> None:
    named = {entry.model for entries in MENU.values() for entry in entries}
    assert named == {model._meta.label for model in admin.site._registry}


@pytest.mark.parametrize(
    ("role", "missing"),
    [(Role.OWNER, {"Installation"}), (Role.BUILDER, {"Installation", "Connectors"})],
)
def test_the_menu_is_what_the_role_allows(workspace: Workspace, role: Role, missing: set[str]) -> None:
    groups = overview(staff(workspace, role))["sidebar_navigation"]
    assert set(MENU) - {group.get("title") for group in groups} == missing


def test_staff_without_a_workspace_sees_no_list(db: None) -> None:
    person = User.objects.create_user("nobody", is_staff=True)
    titles = [group.get("title") for group in overview(signed_in(person))["sidebar_navigation"]]
    assert titles == [None, "Elsewhere"]


# -- the overview ----------------------------------------------------------------------------------------


def make_session(workspace: Workspace, name: str, **values: Any) -> Session:
    return Session.objects.create(
        **{"id": name, "workspace": workspace, "transport": "websocket", "created_at": timezone.now()} | values
    )


def test_the_overview_counts_the_last_day(operator: User, workspace: Workspace) -> None:
    now = timezone.now()
    make_session(workspace, "s1", state="live")
    make_session(workspace, "s2", state="failed", ended_at=now)
    make_session(workspace, "s3", state="failed", ended_at=now - timedelta(days=2), created_at=now - timedelta(days=2))
    shown = overview(signed_in(operator))
    assert (shown["live"], shown["waiting"], shown["begun"], shown["failed"]) == (1, 0, 2, 1)
    make_session(workspace, "s4")
    assert (overview(signed_in(operator))["live"], overview(signed_in(operator))["waiting"]) == (1, 1)


def test_the_overview_is_of_ones_own_workspaces(workspace: Workspace, other_workspace: Workspace, agent: Agent) -> None:
    session = make_session(workspace, "s1", state="live")
    told = {"workspace": workspace, "session": session, "role": "llm", "at": timezone.now()}
    Incident.objects.create(event_id="e", kind="reply.failed", **told)
    shown = overview(staff(other_workspace, Role.OWNER))
    assert (shown["live"], shown["begun"], shown["agents"]) == (0, 0, 0)
    assert not shown["drafts"] and not shown["missing"] and not shown["incidents"]


def test_the_overview_counts_turns_that_failed(operator: User, workspace: Workspace) -> None:
    session = make_session(workspace, "s1")
    for number, state in enumerate(["failed", "failed", "answered", "discarded"]):
        row = {"workspace": workspace, "session": session, "state": state, "started_at": timezone.now()}
        Turn.objects.create(number=number, **row)
    client = signed_in(operator)
    assert overview(client)["failed_turns"] == 2
    assert "<b>2</b> turns failed</a>" in client.get(INDEX).content.decode()


def test_the_overview_names_frequent_incidents(operator: User, workspace: Workspace) -> None:
    session = make_session(workspace, "s1")
    for number in range(3):
        told = {"workspace": workspace, "session": session, "role": "tts", "at": timezone.now()}
        Incident.objects.create(event_id=f"e{number}", kind="provider.failed", provider="azure", **told)
    page = signed_in(operator).get(INDEX).content.decode()
    assert "Provider failed" in page and "azure (tts)" in page and "3 times" in page


def test_the_overview_names_unpublished_drafts(operator: User, agent: Agent) -> None:
    client = signed_in(operator)
    assert "never published" in client.get(INDEX).content.decode()
    publish_agent(agent=agent)
    assert overview(client)["drafts"] == []
    redraft(agent, make_document(system_prompt="Another."))
    assert "changed since version 1" in client.get(INDEX).content.decode()


def test_only_what_takes_a_key_leads_to_one(operator: User, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MESHAG_PIPER_VOICES"):
        monkeypatch.delenv(name, raising=False)
    document = make_document()
    document["connectors"]["tts"] = {"primary": "piper", "config": {}}
    redraft(agent, document)
    page = signed_in(operator).get(INDEX).content.decode()
    assert "credential/add/?provider=openai&" in page and "provider=piper" not in page
    assert "which needs MESHAG_PIPER_VOICES" in page


def test_the_overview_names_missing_keys(
    operator: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client = signed_in(operator)
    assert [one.provider for one in overview(client)["missing"]] == ["openai"]
    Credential.objects.create(workspace=version.agent.workspace, provider="openai", name="Billing")
    assert overview(client)["missing"] == []
    Credential.objects.update(test_passed=False, test_outcome="OpenAI refuses the key.")
    assert "whose credential “Billing”: its last test failed: OpenAI refuses the key." in client.get(INDEX).text


def test_a_key_in_the_environment_is_none_missing(
    operator: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert overview(signed_in(operator))["missing"] == []


def test_the_overview_does_not_grow_in_queries(
    workspace: Workspace, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = staff(workspace, Role.OWNER)
    for number in range(5):
        make_session(workspace, f"s{number}")
        Agent.objects.create(workspace=workspace, slug=f"a{number}", name="A", draft=make_document())
    client.get(INDEX)  # Django keeps the ids of content types
    with django_assert_num_queries(11):
        client.get(INDEX)


# -- what pages may load and use -------------------------------------------------------------------------


def test_only_the_admin_evaluates_scripts(operator: User) -> None:
    client = signed_in(operator)
    assert directives(client, INDEX)["script-src"] == "'self' 'unsafe-eval'"
    for path in ("/sessions/", "/login", "/administration", "/nowhere"):
        assert directives(client, path)["script-src"] == "'self'"


def test_the_admin_is_as_strict_in_the_rest(operator: User) -> None:
    client = signed_in(operator)
    strict, here = directives(client, "/sessions/"), directives(client, INDEX)
    assert here == strict | {"script-src": "'self' 'unsafe-eval'", "style-src-attr": "'unsafe-inline'"}


@pytest.mark.parametrize("path", [INDEX, "/admin/sessions_app/session/", "/admin/accounts_app/apikey/add/"])
def test_admin_pages_carry_no_inline_code(operator: User, path: str) -> None:
    page = signed_in(operator).get(path).content.decode()
    assert "<style" not in page
    assert page.count("<script") == page.count("<script src=") + page.count('<script id="')  # data, not code


def test_admin_pages_load_nothing_from_elsewhere(operator: User) -> None:
    page = signed_in(operator).get(INDEX).content.decode()
    for start in ('src="http', 'src="//', '<link href="http'):
        assert start not in page


@pytest.mark.parametrize(("path", "answer"), [("/call/", "microphone=(self)"), ("/login", "microphone=()")])
def test_only_the_call_page_listens(client: Client, db: None, path: str, answer: str) -> None:
    policy = client.get(path)["Permissions-Policy"]
    assert answer in policy and "camera=()" in policy


def test_every_answer_keeps_to_itself(client: Client, db: None) -> None:
    answer = client.get("/login")
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


def test_cookies_are_out_of_scripts_reach(client: Client, owner: User) -> None:
    owner.set_password("right password")
    owner.save()
    client.get("/login")
    client.post("/login", {"username": "owner", "password": "right password"})
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["httponly"] and cookie["samesite"] == "Lax"


def test_pages_send_the_token_with_htmx(owner: User) -> None:
    page = signed_in(owner).get("/sessions/").content.decode()
    assert 'hx-headers=\'{"X-CSRFToken": "' in page
