import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection
from django.db.models import ProtectedError

from accounts_app.models import User, Workspace
from pipelines_app.actions import publish_agent
from pipelines_app.models import Agent, AgentVersion, ImmutableVersion
from tests.world import make_document


def test_agents_stay_in_their_workspace(agent: Agent, owner: User, teammate: User, stranger: User) -> None:
    assert list(Agent.objects.for_user(owner)) == [agent]
    assert list(Agent.objects.for_user(teammate)) == [agent]
    assert not Agent.objects.for_user(stranger).exists()


def test_versions_stay_in_their_workspace(version: AgentVersion, owner: User, stranger: User) -> None:
    assert list(AgentVersion.objects.for_user(owner)) == [version]
    assert list(AgentVersion.objects.for_workspace(version.agent.workspace)) == [version]
    assert not AgentVersion.objects.for_user(stranger).exists()


def test_a_slug_is_free_in_another_workspace(agent: Agent, other_workspace: Workspace) -> None:
    Agent.objects.create(workspace=other_workspace, slug=agent.slug, name="Also a shop")
    with pytest.raises(IntegrityError, match="slug"):
        Agent.objects.create(workspace=agent.workspace, slug=agent.slug, name="Twice")


def test_a_number_belongs_to_one_agent(workspace: Workspace, other_workspace: Workspace) -> None:
    Agent.objects.create(workspace=workspace, slug="a", name="A", phone_number="+4930123456")
    with pytest.raises(IntegrityError, match="phone_number"):
        Agent.objects.create(workspace=other_workspace, slug="b", name="B", phone_number="+4930123456")


def test_many_agents_have_no_number(workspace: Workspace) -> None:
    for slug in ("a", "b"):
        Agent.objects.create(workspace=workspace, slug=slug, name=slug)
    assert Agent.objects.filter(phone_number="").count() == 2


def test_a_workspace_has_one_default(workspace: Workspace) -> None:
    Agent.objects.create(workspace=workspace, slug="a", name="A", is_default=True)
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        Agent.objects.create(workspace=workspace, slug="b", name="B", is_default=True)


@pytest.mark.parametrize("number", ["030 123456", "+0123", "+49-30-123", "+1234567890123456", "+49١٢٣", "+49301\n"])
def test_numbers_are_international(workspace: Workspace, number: str) -> None:
    with pytest.raises(ValidationError, match="international form"):
        Agent(workspace=workspace, slug="a", name="A", phone_number=number, draft={"a": 1}).full_clean()


@pytest.mark.parametrize("capabilities", ["booking", {"booking": True}, [1], [""]])
def test_capabilities_are_words(workspace: Workspace, capabilities: object) -> None:
    with pytest.raises(ValidationError, match="list of words"):
        Agent(workspace=workspace, slug="a", name="A", draft={"a": 1}, capabilities=capabilities).full_clean()


# -- versions --------------------------------------------------------------------------------------------


def test_a_version_cannot_be_saved_again(version: AgentVersion) -> None:
    version.note = "changed"
    with pytest.raises(ImmutableVersion):
        version.save()


def test_a_version_cannot_be_deleted(version: AgentVersion) -> None:
    with pytest.raises(ImmutableVersion):
        version.delete()
    with pytest.raises(ImmutableVersion):
        AgentVersion.objects.all().delete()


def test_versions_cannot_be_updated_together(version: AgentVersion) -> None:
    with pytest.raises(ImmutableVersion):
        AgentVersion.objects.update(note="changed")
    version.note = "changed"
    with pytest.raises(ImmutableVersion):
        AgentVersion.objects.bulk_update([version], ["note"])


@pytest.mark.parametrize("column", ["number", "config", "sha256", "note"])
def test_the_database_keeps_versions_too(version: AgentVersion, column: str) -> None:
    with pytest.raises(DatabaseError, match="a published version cannot be changed"), connection.cursor() as cursor:
        cursor.execute(f"UPDATE pipelines_app_agentversion SET {column} = {column}")


def test_an_agent_with_versions_stays(version: AgentVersion) -> None:
    with pytest.raises(ProtectedError):
        version.agent.delete()
    with pytest.raises(ProtectedError):
        version.agent.workspace.delete()


def test_a_draft_can_go(agent: Agent) -> None:
    agent.delete()
    assert not Agent.objects.exists()


def test_a_version_outlives_its_publisher(agent: Agent, owner: User) -> None:
    version = publish_agent(agent=agent, by=owner)
    owner.delete()
    version.refresh_from_db()
    assert version.published_by is None


def test_editing_leaves_versions_alone(version: AgentVersion) -> None:
    version.agent.draft = make_document(system_prompt="Something else.")
    version.agent.save()
    version.refresh_from_db()
    assert version.config == make_document()
