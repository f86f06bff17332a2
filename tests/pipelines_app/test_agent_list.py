"""The page of agents."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import User
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from pipelines_app import actions
from pipelines_app.models import Agent, AgentVersion
from tests.world import make_document, signed_in

URL = "/agents/"
CALL = 'href="/call/bicycles/shop/"'


def page(user: User) -> str:
    return signed_in(user).get(URL).content.decode()


def test_a_member_finds_whom_to_call(version: AgentVersion, owner: User) -> None:
    shown = page(owner)
    assert CALL in shown and "/sessions/new/?agent=bicycles/shop" in shown and ">Hears<" in shown


def test_a_draft_cannot_be_called(agent: Agent, owner: User) -> None:
    assert "not published yet" in page(owner) and CALL not in page(owner)


def test_a_missing_key_is_named(version: AgentVersion, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "needs OPENAI_API_KEY" in page(owner)
    keep_credential(credential=Credential(workspace=version.agent.workspace, provider="openai", name="x"), key="sk-1")
    assert "needs OPENAI_API_KEY" not in page(owner)


def test_a_viewer_may_only_look(version: AgentVersion, teammate: User) -> None:
    assert "shop" in page(teammate) and CALL not in page(teammate)


def test_a_stranger_sees_none_of_them(version: AgentVersion, stranger: User) -> None:
    assert "shop" not in page(stranger) and "no agents" in page(stranger)


def test_signed_out_means_sign_in(client: Client, db: None) -> None:
    assert client.get(URL).headers["Location"] == f"/login?next={URL}"


def test_an_unreadable_document_is_no_failure(agent: Agent, owner: User) -> None:
    Agent.objects.update(draft={"connectors": ["what"]})
    assert signed_in(owner).get(URL).status_code == 200


@pytest.mark.parametrize("count", [1, 12])
def test_queries_do_not_grow(
    count: int, version: AgentVersion, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(count):
        actions.import_agent(
            workspace=version.agent.workspace, slug=f"a{number}", document=make_document(), publish=True
        )
    client = signed_in(owner)
    with django_assert_num_queries(5):  # the login's two, the agents, which may be run, and the keys
        client.get(URL)
