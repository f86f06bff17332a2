"""The API of agents, versions and pipelines."""

from typing import Any

import pytest

from accounts_app.models import Membership, Role, User, Workspace
from pipelines_app import actions
from pipelines_app.models import Agent, AgentVersion
from tests.api import Program, paths, person, program
from tests.world import make_document, redraft

STEPS = [{"from": "transport", "to": "llm", "stream": "text"}, {"from": "llm", "to": "transport", "stream": "text"}]
READS = ("agents/shop", "agents/shop/document", "agents/shop/compare", "agents/shop/versions", "agents/shop/versions/1")
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("PATCH", "agents/shop", {"name": "Other"}),
    ("POST", "agents/shop/publish", {}),
    ("PUT", "agents/shop/document", make_document(greeting="Hello.")),
    ("POST", "agents/shop/versions/1/restore", {"overwrite_draft": True}),
    ("POST", "agents/shop/versions/1/roll-back", {}),
    ("POST", "agents/shop/withdraw", {}),
)


@pytest.fixture
def key(workspace: Workspace) -> Program:
    return program(workspace)


def test_an_agent_is_created_and_published(key: Program, workspace: Workspace) -> None:
    body = {"slug": "shop", "draft": make_document(), "publish": True, "is_default": True, "capabilities": ["repairs"]}
    answer = key.post("agents", body)
    assert answer.status_code == 201
    assert {"slug": "shop", "name": "shop", "published": 1, "workspace": "bicycles"}.items() <= answer.json().items()
    assert key.get("agents/shop").json() == answer.json()


def test_a_new_default_replaces_the_old(key: Program, agent: Agent) -> None:
    key.ask("PATCH", "agents/shop", {"is_default": True})
    key.post("agents", {"slug": "other", "draft": make_document(), "is_default": True})
    assert [each["slug"] for each in key.get("agents").json()["results"] if each["is_default"]] == ["other"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"slug": "Big"}, "slug"),
        ({"slug": "shop"}, "slug"),
        ({"phone_number": "12"}, "phone_number"),
        ({"capabilities": [" "]}, "capabilities"),
        ({"capabilities": "x"}, "capabilities"),
        ({"draft": []}, "draft"),
        ({"draft": make_document(greeting=5)}, "draft.greeting"),
        ({"draft": make_document(greeting="\0")}, "draft.greeting"),
        ({"owner": "me"}, "owner"),
        ({"\ud800": "me"}, "?"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], path: str, key: Program, agent: Agent) -> None:
    answer = key.post("agents", {"slug": "new", "draft": make_document()} | change)
    assert (answer.status_code, paths(answer)) == (422, [path])
    assert Agent.objects.count() == 1


def test_a_wrong_provider_is_named_by_its_path(key: Program, agent: Agent) -> None:
    document = make_document()
    document["connectors"]["llm"]["primary"] = "nobody"
    answer = key.ask("PUT", "agents/shop/document", document)
    assert (answer.status_code, paths(answer)) == (422, ["connectors.llm.primary"])


def test_a_draft_is_published_as_the_next_version(key: Program, version: AgentVersion) -> None:
    key.ask("PUT", "agents/shop/document", make_document(greeting="Hello."))
    published = key.post("agents/shop/publish", {"note": "Greets"}).json()
    assert (published["number"], published["note"], published["config"]["greeting"]) == (2, "Greets", "Hello.")
    assert key.post("agents/shop/publish").json()["number"] == 2


def test_a_broken_draft_is_not_published(key: Program, agent: Agent) -> None:
    redraft(agent, {"system_prompt": 5})
    assert key.post("agents/shop/publish").status_code == 422


def test_what_is_exported_can_be_imported(key: Program, version: AgentVersion) -> None:
    redraft(version.agent, make_document(greeting="Draft."))
    exported = key.get("agents/shop/document").json()
    assert exported == make_document()
    assert key.get("agents/shop/document", version="draft").json()["greeting"] == "Draft."
    assert key.ask("PUT", "agents/shop/document", exported).json()["draft"] == exported


def test_versions_are_compared_path_by_path(key: Program, version: AgentVersion) -> None:
    redraft(version.agent, make_document(greeting="Hello."))
    found = key.get("agents/shop/compare").json()
    assert found == {"old": "1", "new": "draft", "differences": [{"path": "greeting", "new": "Hello."}]}


@pytest.mark.parametrize("query", [{"old": "9"}, {"old": "1", "new": "7"}])
def test_a_version_that_is_not_there(query: dict[str, str], key: Program, version: AgentVersion) -> None:
    assert key.get("agents/shop/compare", **query).status_code == 404
    assert key.get("agents/shop/compare", old="first").status_code == 422
    assert key.get("agents/shop/versions/9").status_code == 404


def test_a_restored_version_is_the_draft(key: Program, version: AgentVersion) -> None:
    actions.publish_agent(agent=redraft(version.agent, make_document(greeting="Hello.")))
    done = key.post("agents/shop/versions/1/restore").json()
    assert (done["restored"], done["published"], done["draft"]) == (1, 2, make_document())


def test_restoring_refuses_to_lose_a_draft(key: Program, version: AgentVersion) -> None:
    redraft(version.agent, make_document(greeting="Hello."))
    refused = key.post("agents/shop/versions/1/restore")
    assert refused.status_code == 409 and '"overwrite_draft": true' in refused.json()["error"]
    assert key.get("agents/shop").json()["draft"]["greeting"] == "Hello."
    assert key.post("agents/shop/versions/1/restore", {"overwrite_draft": True}).json()["draft"] == make_document()


def test_an_agent_is_taken_out_of_service(key: Program, version: AgentVersion) -> None:
    for _ in range(2):
        answer = key.post("agents/shop/withdraw")
        assert (answer.status_code, answer.json()["published"]) == (200, None)
    back = key.post("agents/shop/publish").json()
    assert (back["number"], back["is_new"]) == (1, False)


@pytest.mark.parametrize("path", ["publish", "versions/1/restore", "versions/1/roll-back"])
def test_missing_keys_are_warned_of(
    path: str, key: Program, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    roles = ("Hearing", "Thinking", "Speaking")
    expected = [f"No provider for {role} is set up: calls will fail." for role in roles]
    assert key.post(f"agents/shop/{path}").json()["warnings"] == expected
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    assert key.post(f"agents/shop/{path}").json()["warnings"] == []


@pytest.mark.accepts("C36")
def test_too_long_answers_are_warned_of(key: Program, version: AgentVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    document = make_document()
    document["connectors"]["llm"] = {"primary": "openai", "config": {"model": "gpt-4", "max_tokens": 9_000}}
    version.agent.draft = document
    version.agent.save()
    long, gone = key.post("agents/shop/publish").json()["warnings"]
    assert long.startswith("Thinking: OpenAI: max_tokens is 9000, but gpt-4 takes 8192")
    assert gone.startswith("Thinking: OpenAI: gpt-4 was switched off")


def test_names_without_a_value_are_warned_of(
    key: Program, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    redraft(version.agent, make_document(context_instructions="In {town}."))
    (warning,) = key.post("agents/shop/publish").json()["warnings"]
    assert warning.startswith("Looks like a mistake: Context instructions: {town} stays empty")


def test_rolling_back_publishes_anew(key: Program, version: AgentVersion) -> None:
    actions.publish_agent(agent=redraft(version.agent, make_document(greeting="Hello.")))
    back = key.post("agents/shop/versions/1/roll-back").json()
    assert (back["number"], back["is_new"], back["config"]) == (3, True, make_document())
    assert [each["number"] for each in key.get("agents/shop/versions").json()["results"]] == [3, 2, 1]


@pytest.mark.parametrize("path", READS)
def test_reading_is_for_members(path: str, version: AgentVersion, teammate: User, stranger: User) -> None:
    assert person(teammate).get(path).status_code == 200
    assert person(stranger).get(path).status_code == 404
    assert Program().get(path).status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_changing_is_for_builders(
    method: str, path: str, body: Any, version: AgentVersion, owner: User, teammate: User, stranger: User
) -> None:
    statuses = [each.ask(method, path, body).status_code for each in map(person, (teammate, stranger, owner))]
    assert statuses == [403, 404, 200]
    assert Program().ask(method, path, body).status_code == 401


def test_a_name_in_two_workspaces_is_told_apart(owner: User, agent: Agent, other_workspace: Workspace) -> None:
    Membership.objects.create(user=owner, workspace=other_workspace, role=Role.VIEWER)
    actions.import_agent(workspace=other_workspace, slug="shop", document=make_document(), publish=False)
    assert person(owner).get("agents/shop").status_code == 400
    assert person(owner).get("agents/shop", workspace="boats").json()["workspace"] == "boats"
    assert person(owner).ask("PATCH", "agents/shop?workspace=boats", {"name": "x"}).status_code == 403


# -- pipelines -------------------------------------------------------------------------------------------


def test_a_pipeline_is_kept_changed_and_deleted(key: Program) -> None:
    made = key.post("pipelines", {"slug": "chat", "steps": STEPS})
    assert (made.status_code, made.json()["steps"]) == (201, STEPS)
    changed = key.ask("PATCH", "pipelines/chat", {"name": "Chat", "steps": STEPS[:1]}).json()
    assert (changed["name"], changed["steps"]) == ("Chat", STEPS[:1])
    assert key.get("pipelines/chat").json() == changed
    assert key.ask("DELETE", "pipelines/chat").status_code == 204
    assert key.get("pipelines").json()["results"] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"from": "llm", "to": "llm", "stream": "text"}]}, "steps[0]"),
        ({"steps": [{"from": "llm", "to": "ear", "stream": "text"}]}, "steps[0].to"),
        ({"steps": "all"}, "steps"),
        ({"slug": "-"}, "slug"),
        ({"slug": "taken"}, "slug"),
    ],
)
def test_a_wrong_pipeline_is_named(change: dict[str, Any], path: str, key: Program, workspace: Workspace) -> None:
    workspace.pipelines.create(slug="taken", name="Taken")
    answer = key.post("pipelines", {"slug": "chat", "steps": STEPS} | change)
    assert (answer.status_code, paths(answer)) == (422, [path])


def test_pipelines_are_for_builders(workspace: Workspace, owner: User, teammate: User, stranger: User) -> None:
    workspace.pipelines.create(slug="chat", name="Chat")
    changes = [
        each.ask("PATCH", "pipelines/chat", {"name": "x"}).status_code for each in map(person, (teammate, owner))
    ]
    assert changes == [403, 200]
    assert person(teammate).post("pipelines", {"slug": "new", "steps": STEPS}).status_code == 403
    assert person(stranger).get("pipelines/chat").status_code == 404
    assert person(stranger).ask("DELETE", "pipelines/chat").status_code == 404
