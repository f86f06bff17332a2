import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries, Settings

from accounts_app.actions import ensure_default_workspace
from accounts_app.models import User, Workspace
from mesh.config.json_text import revision
from mesh.config.problems import ConfigError
from pipelines_app import actions
from pipelines_app.models import Agent, AgentVersion
from tests.world import make_document, redraft

OTHER = make_document(system_prompt="You answer the phone of a boat yard.")


def make_published(workspace: Workspace, slug: str, **identity: Any) -> AgentVersion:
    agent = actions.import_agent(
        workspace=workspace, slug=slug, document=make_document(), publish=True, identity=actions.Identity(**identity)
    )
    assert agent.published is not None
    return agent.published


# -- edit ------------------------------------------------------------------------------------------------


def test_saving_an_old_copy_undoes_no_publish(version: AgentVersion) -> None:
    old_copy = Agent.objects.get(pk=version.agent_id)
    newer = actions.publish_agent(agent=redraft(version.agent, OTHER))
    old_copy.name = "Renamed"
    actions.save_agent(agent=old_copy, changed=["name"])
    row = Agent.objects.get(pk=version.agent_id)
    assert (row.name, row.published, row.draft) == ("Renamed", newer, OTHER)
    assert old_copy.published == newer


# -- publish ---------------------------------------------------------------------------------------------


def test_the_first_version_is_number_one(agent: Agent, owner: User) -> None:
    version = actions.publish_agent(agent=agent, by=owner, note="Opening day")
    assert (version.number, version.published_by, version.note) == (1, owner, "Opening day")
    assert version.config == make_document()
    assert version.revision == revision(make_document())
    assert agent.published == version


def test_a_change_is_a_new_version(version: AgentVersion) -> None:
    agent = redraft(version.agent, OTHER)
    newer = actions.publish_agent(agent=agent)
    agent.refresh_from_db()
    assert (newer.number, newer.config, agent.published) == (2, OTHER, newer)


def test_the_same_content_is_no_new_version(version: AgentVersion) -> None:
    shuffled = dict(reversed(make_document().items()))
    agent = redraft(version.agent, shuffled)
    assert actions.publish_agent(agent=agent, note="again") == version
    assert agent.versions.count() == 1


@pytest.mark.parametrize("text", ["user_template", "context_instructions"])
def test_prompts_are_part_of_a_version(version: AgentVersion, text: str) -> None:
    newer = actions.publish_agent(agent=redraft(version.agent, make_document(**{text: "Be brief."})))
    assert (newer.number, newer.config[text]) == (2, "Be brief.")
    assert newer.revision == newer.sha256[:12] != version.revision


def test_a_draft_may_be_wrong(agent: Agent) -> None:
    redraft(agent, {"system_prompt": 1})
    with pytest.raises(ConfigError, match="system_prompt: must be a string"):
        actions.publish_agent(agent=agent)
    agent.refresh_from_db()
    assert agent.published is None and not agent.versions.exists()


def test_publishing_checks_the_providers(agent: Agent) -> None:
    document = make_document()
    document["connectors"]["stt"]["primary"] = "nobody"
    redraft(agent, document)
    with pytest.raises(ConfigError, match=r"connectors\.stt\.primary: “nobody” is not a known stt provider"):
        actions.publish_agent(agent=agent)


def test_publishing_from_an_old_copy_counts_on(version: AgentVersion) -> None:
    old_copy = Agent.objects.get(pk=version.agent_id)
    actions.publish_agent(agent=redraft(version.agent, OTHER))
    third = make_document(greeting="Hello!")
    assert actions.publish_agent(agent=redraft(old_copy, third)).number == 3


def test_rolling_back_publishes_again(version: AgentVersion, owner: User) -> None:
    agent = redraft(version.agent, OTHER)
    actions.publish_agent(agent=agent)
    back = actions.roll_back_agent(agent=agent, number=1, by=owner)
    assert (back.number, back.config, back.note) == (3, version.config, "Back to version 1")
    agent.refresh_from_db()
    assert agent.published == back
    assert agent.draft == OTHER


def test_rolling_back_needs_that_version(version: AgentVersion) -> None:
    with pytest.raises(actions.NeverPublished, match="shop has no version 7"):
        actions.roll_back_agent(agent=version.agent, number=7)


# -- who answers -----------------------------------------------------------------------------------------


@pytest.fixture
def default_agent(db: None) -> AgentVersion:
    return make_published(ensure_default_workspace(), "reception", default=True)


def test_the_named_agent_answers(default_agent: AgentVersion, version: AgentVersion) -> None:
    assert actions.resolve_agent(workspace_slug="bicycles", slug="shop", number="+49301") == version
    assert actions.resolve_agent(slug="reception") == default_agent


def test_nobody_answers_for_another_name(default_agent: AgentVersion, version: AgentVersion) -> None:
    assert actions.resolve_agent(slug="nobody") is None
    assert actions.resolve_agent(slug="shop") is None
    assert actions.resolve_agent(workspace_slug="boats", slug="shop") is None


def test_the_called_number_finds_its_agent(default_agent: AgentVersion, workspace: Workspace) -> None:
    shop = make_published(workspace, "shop", number="+4930123456")
    assert actions.resolve_agent(number="+4930123456") == shop
    assert actions.resolve_agent(workspace_slug="bicycles", number="+4930123456") == shop
    assert actions.resolve_agent(workspace_slug="default", number="+4930123456") == default_agent


def test_other_numbers_reach_the_default(default_agent: AgentVersion) -> None:
    assert actions.resolve_agent(number="+4930999999") == default_agent
    assert actions.resolve_agent() == default_agent


def test_without_a_default_nobody_answers(version: AgentVersion) -> None:
    assert actions.resolve_agent() is None
    assert actions.resolve_agent(workspace_slug="bicycles") is None


def test_a_draft_never_answers(agent: Agent) -> None:
    assert actions.resolve_agent(workspace_slug="bicycles", slug="shop") is None


def test_the_current_version_answers(version: AgentVersion) -> None:
    newer = actions.publish_agent(agent=redraft(version.agent, OTHER))
    assert actions.resolve_agent(workspace_slug="bicycles", slug="shop") == newer


def test_who_answers_takes_one_query(version: AgentVersion, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        found = actions.resolve_agent(workspace_slug="bicycles", slug="shop")
        assert found is not None and found.agent.workspace.slug == "bicycles"


# -- import and export -----------------------------------------------------------------------------------


def test_an_import_replaces_the_draft_only(version: AgentVersion) -> None:
    agent = actions.import_agent(workspace=version.agent.workspace, slug="shop", document=OTHER, publish=False)
    assert (agent.draft, agent.published) == (OTHER, version)
    assert actions.export_agent(agent=agent) == make_document()


def test_an_import_keeps_what_it_does_not_say(workspace: Workspace) -> None:
    make_published(workspace, "shop", name="The shop", number="+4930123456", default=True)
    again = make_published(workspace, "shop").agent
    assert (again.name, again.phone_number, again.is_default) == ("The shop", "+4930123456", True)


def test_the_default_moves(workspace: Workspace) -> None:
    first = make_published(workspace, "first", default=True)
    second = make_published(workspace, "second", default=True)
    assert actions.resolve_agent(workspace_slug="bicycles") == second
    first.agent.refresh_from_db()
    assert not first.agent.is_default


def test_a_bad_import_keeps_nothing(workspace: Workspace) -> None:
    with pytest.raises(ConfigError):
        actions.import_agent(workspace=workspace, slug="shop", document={}, publish=False)
    with pytest.raises(ValidationError):
        actions.import_agent(workspace=workspace, slug="Not A Slug", document=make_document(), publish=True)
    assert not Agent.objects.exists() and not AgentVersion.objects.exists()


@pytest.fixture
def demo_file(tmp_path: Path, settings: Settings) -> Path:
    settings.BASE_DIR = tmp_path
    file = tmp_path / "config" / "demo-agent.json"
    file.parent.mkdir()
    file.write_text(json.dumps(make_document()))
    return file


def test_the_demo_agent_answers_at_once(db: None, demo_file: Path) -> None:
    assert actions.ensure_demo_agent()
    found = actions.resolve_agent()
    assert found is not None and found.agent.slug == "demo"
    assert "no AI" in found.agent.description


def test_the_demo_agent_is_made_once(db: None, demo_file: Path) -> None:
    actions.ensure_demo_agent()
    demo_file.write_text(json.dumps(OTHER))
    assert not actions.ensure_demo_agent()
    assert AgentVersion.objects.get().config == make_document()


def test_the_assistant_is_made_once_beside_the_demo(db: None) -> None:
    assert actions.ensure_demo_agent() and actions.ensure_assistant_agent()
    assert not actions.ensure_assistant_agent()
    default = actions.resolve_agent()
    assert default is not None and default.agent.slug == "demo"
    assert Agent.objects.get(slug="assistant").published is not None


def test_the_demo_agent_displaces_nobody(default_agent: AgentVersion, demo_file: Path) -> None:
    assert actions.ensure_demo_agent()
    assert actions.resolve_agent() == default_agent
