"""What migrations do to rows that are there already."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from mesh.config.json_text import fingerprint, revision

BEFORE, AFTER = [("pipelines_app", name) for name in ("0003_pipelines", "0004_prompts_move_into_documents")]
TEXTS = {"user_template": "Dear {input_data}", "context_instructions": "In Ulm."}


def migrated(to: tuple[str, str]) -> Any:
    """The models as they are then."""
    executor = MigrationExecutor(connection)
    return executor.migrate([to]).apps


@pytest.fixture
def before(transactional_db: None) -> Iterator[Any]:
    yield migrated(BEFORE)
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def make_version(models: Any, slug: str, document: Any, **texts: str) -> None:
    workspace, _ = models.get_model("accounts_app", "Workspace").objects.get_or_create(slug="w", name="W")
    agents, versions = (models.get_model("pipelines_app", name).objects for name in ("Agent", "AgentVersion"))
    agent = agents.create(workspace=workspace, slug=slug, name=slug, draft=document, **texts)
    versions.create(agent=agent, number=1, config=document, sha256="old", revision="old", **texts)


def test_prompts_move_into_documents(before: Any) -> None:
    make_version(before, "with", {"greeting": "Hello."}, **TEXTS)
    make_version(before, "own", {"user_template": "Mine"}, user_template="Theirs")
    make_version(before, "none", {})
    make_version(before, "odd", ["not", "a", "document"], **TEXTS)
    agents = migrated(AFTER).get_model("pipelines_app", "Agent").objects
    documents = {agent.slug: agent.draft for agent in agents.all()}
    assert documents == {
        "with": {"greeting": "Hello."} | TEXTS,
        "own": {"user_template": "Mine"},
        "none": {},
        "odd": ["not", "a", "document"],
    }
    for version in (agent.versions.get() for agent in agents.all()):
        content = documents[version.agent.slug]
        assert (version.config, version.sha256, version.revision) == (content, fingerprint(content), revision(content))


def test_versions_are_guarded_on_both_sides(before: Any) -> None:
    make_version(before, "with", {}, **TEXTS)
    for name, columns in ((AFTER, ("config", "sha256")), (BEFORE, ("config", *TEXTS))):
        migrated(name)
        for column in columns:
            with pytest.raises(DatabaseError, match="a published version"), connection.cursor() as cursor:
                cursor.execute(f"UPDATE pipelines_app_agentversion SET {column} = {column}")


def test_going_back_takes_prompts_out_again(before: Any) -> None:
    make_version(before, "with", {"greeting": "Hello."}, **TEXTS)
    migrated(AFTER)
    agent = migrated(BEFORE).get_model("pipelines_app", "Agent").objects.get()
    for row, document in ((agent, agent.draft), (agent.versions.get(), agent.versions.get().config)):
        assert {name: getattr(row, name) for name in TEXTS} == TEXTS and document == {"greeting": "Hello."}
