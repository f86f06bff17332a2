import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import User, Workspace
from pipelines_app.actions import import_agent, publish_agent
from pipelines_app.models import Agent, AgentVersion
from tests.pipelines_app.agent_forms import as_staff
from tests.world import make_document, redraft, signed_in


@pytest.mark.parametrize("name", ["agent", "agentversion"])
def test_operators_see_every_page(operator: User, version: AgentVersion, name: str) -> None:
    client = signed_in(operator)
    row = version.agent if name == "agent" else version
    assert client.get(reverse(f"admin:pipelines_app_{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:pipelines_app_{name}_change", args=[row.pk])).status_code == 200


@pytest.mark.parametrize("name", ["agent", "agentversion"])
def test_owners_do_not_see_the_admin(owner: User, version: AgentVersion, name: str) -> None:
    response = signed_in(owner).get(reverse(f"admin:pipelines_app_{name}_changelist"))
    assert response.status_code == 403


@pytest.mark.parametrize("name", ["agent", "agentversion"])
def test_staff_sees_its_workspaces_only(teammate: User, stranger: User, version: AgentVersion, name: str) -> None:
    row = version.agent if name == "agent" else version
    address = reverse(f"admin:pipelines_app_{name}_change", args=[row.pk])
    assert as_staff(teammate).get(address).status_code == 200
    assert as_staff(stranger).get(address).status_code in (302, 404)


@pytest.mark.parametrize(("name", "queries"), [("agent", 6), ("agentversion", 7)])
def test_lists_do_not_grow_in_queries(
    operator: User, workspace: Workspace, name: str, queries: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        import_agent(workspace=workspace, slug=f"agent-{number}", document=make_document(), publish=True)
    client = signed_in(operator)
    with django_assert_num_queries(queries):
        client.get(reverse(f"admin:pipelines_app_{name}_changelist"))


def test_the_list_publishes_drafts(operator: User, agent: Agent) -> None:
    form = {"action": "publish", "_selected_action": [agent.pk]}
    page = signed_in(operator).post(reverse("admin:pipelines_app_agent_changelist"), form, follow=True)
    agent.refresh_from_db()
    assert agent.published is not None and agent.published.published_by == operator
    assert "New calls of shop run version 1" in page.content.decode()


def test_a_wrong_draft_is_explained(operator: User, version: AgentVersion) -> None:
    redraft(version.agent, {"system_prompt": "x"})
    form = {"action": "publish", "_selected_action": [version.agent_id]}
    page = signed_in(operator).post(reverse("admin:pipelines_app_agent_changelist"), form, follow=True)
    assert "Not published: shop: " in page.content.decode()
    assert "connectors: is missing" in page.content.decode()
    assert version.agent.versions.count() == 1


def test_the_list_publishes_a_version_again(operator: User, version: AgentVersion) -> None:
    agent = redraft(version.agent, make_document(greeting="Hello!"))
    publish_agent(agent=agent)
    form = {"action": "publish_again", "_selected_action": [version.pk]}
    page = signed_in(operator).post(reverse("admin:pipelines_app_agentversion_changelist"), form, follow=True)
    agent.refresh_from_db()
    assert agent.published is not None and agent.published.published_by == operator
    assert (agent.published.number, agent.published.config) == (3, version.config)
    assert "run version 3: Back to version 1" in page.content.decode()


def test_only_one_version_is_published_again(operator: User, version: AgentVersion) -> None:
    other = publish_agent(agent=redraft(version.agent, make_document(greeting="Hello!")))
    form = {"action": "publish_again", "_selected_action": [version.pk, other.pk]}
    page = signed_in(operator).post(reverse("admin:pipelines_app_agentversion_changelist"), form, follow=True)
    assert "choose one version" in page.content.decode()
    assert version.agent.versions.count() == 2


def test_viewers_publish_nothing_again(teammate: User, version: AgentVersion) -> None:
    form = {"action": "publish_again", "_selected_action": [version.pk]}
    as_staff(teammate).post(reverse("admin:pipelines_app_agentversion_changelist"), form)
    assert version.agent.versions.count() == 1


def test_versions_are_read_only(operator: User, version: AgentVersion) -> None:
    client = signed_in(operator)
    change = reverse("admin:pipelines_app_agentversion_change", args=[version.pk])
    assert client.post(change, {"note": "changed"}).status_code == 403
    assert client.post(reverse("admin:pipelines_app_agentversion_delete", args=[version.pk])).status_code == 403
    assert client.get(reverse("admin:pipelines_app_agentversion_add")).status_code == 403


@pytest.mark.parametrize("name", ["agent", "pipeline"])
def test_the_slug_is_proposed_from_the_name(operator: User, workspace: Workspace, name: str) -> None:
    page = signed_in(operator).get(reverse(f"admin:pipelines_app_{name}_add")).content.decode()
    assert "#id_slug" in page and "prepopulate_init.js" in page
