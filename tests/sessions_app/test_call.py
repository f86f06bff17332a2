"""The call page: who sees which agents there, what it says of them, and where a call begins."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts_app.models import User, Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from mesh.asking import Opened
from pipelines_app.actions import DEMO_PURPOSE, ensure_assistant_agent, ensure_demo_agent, publish_agent
from pipelines_app.models import Agent, AgentVersion
from sessions_app import switchboard
from sessions_app.calls import AWAY
from sessions_app.switchboard import NobodyAnswers, Refused, TransportAway
from tests.world import redraft, signed_in

URL = "/call/bicycles/shop/"
START = f"{URL}start/"
DEMO = "/call/default/demo/"
NEAR: Any = {"HTTP_HOST": "localhost:8000"}


@pytest.fixture
def demo(db: None, settings: Settings) -> Agent:
    """What `make up` leaves, while it runs."""
    settings.EMBEDDED = True
    ensure_demo_agent()
    return Agent.objects.get(slug="demo")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """What a transport was asked to open."""
    questions: list[Mapping[str, Any]] = []

    async def open_session(**question: Any) -> Opened:
        questions.append(question)
        return Opened(session="s1", path="/media/websocket/s1", token="t1", expires_in=600)

    monkeypatch.setattr(switchboard, "open_session", open_session)
    return questions


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def open_session(**question: Any) -> Opened:
        raise error

    monkeypatch.setattr(switchboard, "open_session", open_session)


def text(response: Any) -> str:
    content: bytes = response.content
    return content.decode()


# -- members ---------------------------------------------------------------------------------------------


def test_members_find_their_agent(owner: User, version: AgentVersion) -> None:
    page = text(signed_in(owner).get(URL))
    assert "Call shop" in page and START in page
    assert "Call shop" in text(signed_in(owner).get("/call/"))


def test_an_onlooker_may_not_call(teammate: User, version: AgentVersion) -> None:
    client = signed_in(teammate)
    assert (client.get(URL).status_code, client.post(START).status_code) == (403, 403)
    assert "no agent that you may call" in text(client.get("/call/"))


def test_a_stranger_finds_nothing(stranger: User, version: AgentVersion) -> None:
    client = signed_in(stranger)
    assert (client.get(URL).status_code, client.post(START).status_code) == (404, 404)


def test_signed_out_means_sign_in(client: Client, version: AgentVersion) -> None:
    assert client.get(URL).headers["Location"] == f"/login?next={URL}"
    assert client.get("/call/").headers["Location"] == "/login?next=/call/"
    assert client.post(START).status_code == 401


def test_what_is_not_published_cannot_be_called(owner: User, agent: Agent) -> None:
    assert signed_in(owner).get(URL).status_code == 404


@pytest.mark.parametrize("path", ["/call/bicycles/nobody/", "/call/nowhere/shop/", "/call/a%20b/c/", "/call/bicycles/"])
def test_strange_addresses_are_not_found(path: str, owner: User, version: AgentVersion) -> None:
    assert signed_in(owner).get(path).status_code == 404


# -- the start -------------------------------------------------------------------------------------------


def test_a_call_begins_at_the_transport(owner: User, version: AgentVersion, asked: list[Mapping[str, Any]]) -> None:
    response = signed_in(owner).post(START, headers={"host": "localhost:8000"})
    assert response.json() == {"url": "ws://localhost:8084/media/websocket/s1/t1", "session": "s1"}
    (question,) = asked
    assert (question["workspace"], question["agent"], question["agent_version"]) == ("bicycles", "shop", 1)
    assert (question["transport"], question["caller"]) == ("websocket", "owner")


def test_a_call_waits_a_minute_for_its_browser(
    owner: User, version: AgentVersion, asked: list[Mapping[str, Any]], settings: Settings
) -> None:
    signed_in(owner).post(START)
    settings.CALL_JOIN_SECONDS = 30
    signed_in(owner).post(START)
    assert [question["join_within"] for question in asked] == [60, 30]


def test_an_unknown_caller_is_a_visitor(client: Client, demo: Agent, asked: list[Mapping[str, Any]]) -> None:
    assert client.post(f"{DEMO}start/", **NEAR).status_code == 200
    assert asked[0]["caller"] == "visitor"


def test_behind_a_proxy_the_socket_is_there_too(
    owner: User, version: AgentVersion, asked: list[Mapping[str, Any]], settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://agents.example.com"
    assert signed_in(owner).post(START).json()["url"] == "wss://agents.example.com/media/websocket/s1/t1"


def test_a_refusal_says_why(owner: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, Refused(503, "No provider: openai needs OPENAI_API_KEY"))
    response = signed_in(owner).post(START)
    assert (response.status_code, response.json()) == (503, {"message": "No provider: openai needs OPENAI_API_KEY"})


@pytest.mark.parametrize("error", [NobodyAnswers(), TransportAway("No NATS at nats://secret.example. See /doctor/.")])
def test_callers_hear_nothing_of_servers(
    error: Exception, client: Client, demo: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, error)
    response = client.post(f"{DEMO}start/", **NEAR)
    assert (response.status_code, response.json()) == (503, {"message": AWAY})
    assert "/doctor/" not in text(client.get(DEMO, **NEAR))


def test_members_are_sent_to_the_doctor(owner: User, version: AgentVersion) -> None:
    assert 'data-part="doctor"' in text(signed_in(owner).get(URL))


def test_the_script_can_read_every_answer(owner: User, teammate: User, stranger: User, version: AgentVersion) -> None:
    answers = [signed_in(user).post(START) for user in (teammate, stranger)]
    assert "role" in answers[0].json()["message"] and "Reload this page" in answers[1].json()["message"]


def test_a_start_is_a_post_with_its_token(owner: User, version: AgentVersion) -> None:
    assert signed_in(owner).get(START).status_code == 405
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(START).status_code == 403


# -- the open door ---------------------------------------------------------------------------------------


def test_a_newcomer_at_this_machine_may_call(client: Client, demo: Agent, asked: list[Mapping[str, Any]]) -> None:
    assert client.get("/", **NEAR).headers["Location"] == "/call/"
    assert "Call Demo" in text(client.get("/call/", **NEAR)) and "Call Demo" in text(client.get(DEMO, **NEAR))
    assert client.post(f"{DEMO}start/", **NEAR).json()["session"] == "s1"


def test_a_newcomer_is_shown_the_way_in(client: Client, demo: Agent) -> None:
    page = text(client.get(DEMO, **NEAR))
    assert f'href="/login?next={DEMO}"' in page and "admin-password" in page
    assert "MESHAG_ADMIN_PASSWORD" in page
    assert "Edit this agent" not in page
    assert "Sign in</a>" not in text(client.get("/login"))


def test_staff_goes_on_to_edit(owner: User, version: AgentVersion) -> None:
    edit = f"/admin/pipelines_app/agent/{version.agent.pk}/change/"
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    page = text(signed_in(owner).get(URL))
    assert edit in page and "admin-password" not in page


def test_a_newcomer_sees_no_other_workspace(client: Client, demo: Agent, version: AgentVersion) -> None:
    assert "shop" not in text(client.get("/call/", **NEAR))
    assert client.get(URL, **NEAR).headers["Location"] == f"/login?next={URL}"
    assert client.post(START, **NEAR).status_code == 401


@pytest.mark.parametrize(
    "sign",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
    ],
    ids=str,
)
def test_the_door_is_open_at_this_machine_only(sign: dict[str, str], client: Client, demo: Agent) -> None:
    signs = NEAR | sign
    assert client.get("/call/", **signs).status_code == 302
    assert client.post(f"{DEMO}start/", **signs).status_code == 401


def test_a_link_elsewhere_may_lead_here(client: Client, demo: Agent) -> None:
    link = NEAR | {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "navigate"}
    assert client.get("/call/", **link).status_code == 200
    assert client.post(f"{DEMO}start/", **link).status_code == 401


@pytest.mark.parametrize(
    "setting", [{"EMBEDDED": False}, {"PUBLIC_URL": "https://agents.example.com"}, {"OPEN_DOOR": False}], ids=str
)
def test_a_deployment_has_no_open_door(
    setting: dict[str, Any], client: Client, demo: Agent, settings: Settings
) -> None:
    for name, value in setting.items():
        setattr(settings, name, value)
    assert client.get("/call/", **NEAR).headers["Location"] == "/login?next=/call/"
    assert client.get("/", **NEAR).headers["Location"].startswith("/login")
    assert client.post(f"{DEMO}start/", **NEAR).status_code == 401


# -- what the page says ----------------------------------------------------------------------------------


def test_the_demo_says_what_it_is(client: Client, demo: Agent) -> None:
    page = text(client.get("/call/", **NEAR))
    assert DEMO_PURPOSE in page
    assert page.index("I would like to book an appointment") < page.index("On Monday") < page.index("Start over")
    assert "nothing else is understood" in page


def test_a_missing_key_is_named(client: Client, demo: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_assistant_agent()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "needs OPENAI_API_KEY" in text(client.get("/call/", **NEAR))
    assert "This agent needs OPENAI_API_KEY, which is not set" in text(client.get("/call/default/assistant/", **NEAR))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert "OPENAI_API_KEY" not in text(client.get("/call/", **NEAR))


def test_a_key_of_the_workspace_is_a_key(
    owner: User, version: AgentVersion, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client = signed_in(owner)
    assert "needs OPENAI_API_KEY" in text(client.get(URL))
    keep_credential(credential=Credential(workspace=workspace, provider="openai", name="Ours"), key="sk-test")
    assert "OPENAI_API_KEY" not in text(client.get(URL))


def test_an_outdated_version_is_still_shown(owner: User, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_agent(agent=agent)
    connectors = agent.draft["connectors"] | {"stt": {"primary": "forgotten", "config": {}}}
    redraft(agent, agent.draft | {"connectors": connectors})
    monkeypatch.setattr("pipelines_app.actions.check_document", lambda *_: None)
    publish_agent(agent=agent)
    assert "forgotten" in text(signed_in(owner).get(URL))


def test_the_page_may_reach_the_transport_only(client: Client, demo: Agent) -> None:
    policy = client.get("/call/", **NEAR).headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://localhost:8084;" in policy and "unsafe" not in policy


@pytest.mark.parametrize("count", [1, 20])
def test_queries_do_not_grow(
    count: int, owner: User, version: AgentVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(count):
        other = Agent.objects.create(workspace=version.agent.workspace, slug=f"a{number}", draft=version.config)
        publish_agent(agent=other)
    client = signed_in(owner)
    with django_assert_num_queries(5):  # the login's two, the agent, the others, the keys
        client.get("/call/")
