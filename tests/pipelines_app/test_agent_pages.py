import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts_app.models import User
from pipelines_app.actions import publish_agent
from pipelines_app.models import Agent, AgentVersion
from tests.pipelines_app.agent_forms import as_staff
from tests.world import make_document, redraft, signed_in

PAGES = ["change", "versions", "compare", "document", "export"]
ACTS = ["publish", "restore", "publish-again", "withdraw", "document"]


def address(word: str, agent: Agent) -> str:
    return reverse(f"admin:pipelines_app_agent_{word}", args=[agent.pk])


def send(client: Client, word: str, agent: Agent, **values: Any) -> Any:
    response = client.post(address(word, agent), values, follow=True)
    agent.refresh_from_db()
    return response


@pytest.mark.parametrize("word", PAGES)
def test_members_read_every_page(teammate: User, owner: User, version: AgentVersion, word: str) -> None:
    for person in (teammate, owner):
        assert as_staff(person).get(address(word, version.agent)).status_code == 200


@pytest.mark.parametrize("word", PAGES)
def test_a_stranger_finds_no_page(stranger: User, version: AgentVersion, word: str) -> None:
    assert as_staff(stranger).get(address(word, version.agent)).status_code == 404


@pytest.mark.parametrize("word", [*PAGES, *ACTS])
def test_the_signed_out_are_sent_to_sign_in(version: AgentVersion, word: str) -> None:
    response = Client().post(address(word, version.agent))
    assert response.status_code == 302 and "login" in response["Location"]


@pytest.mark.parametrize("word", ACTS)
def test_a_viewer_changes_nothing(teammate: User, version: AgentVersion, word: str) -> None:
    values = {"number": 1, "document": "{}", "sure": 1}
    assert as_staff(teammate).post(address(word, version.agent), values).status_code == 403
    version.agent.refresh_from_db()
    assert (version.agent.draft, version.agent.published) == (version.config, version)


@pytest.mark.parametrize("word", ACTS)
def test_a_stranger_changes_nothing(stranger: User, version: AgentVersion, word: str) -> None:
    assert as_staff(stranger).post(address(word, version.agent), {"number": 1}).status_code == 404


@pytest.mark.parametrize("word", ["publish", "restore", "publish-again", "withdraw"])
def test_reading_an_address_changes_nothing(owner: User, version: AgentVersion, word: str) -> None:
    assert as_staff(owner).get(address(word, version.agent)).status_code == 403


def test_viewers_get_a_page_without_fields(
    teammate: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    page = as_staff(teammate).get(address("change", version.agent)).content.decode()
    assert "You answer the phone of a bicycle shop." in page
    assert "<dt>Thinking</dt>" in page and "<strong>OpenAI</strong>" in page and "Temperature: 0.5" in page
    assert "no key yet" in page
    assert 'name="system_prompt"' not in page and "Save" not in page


def test_a_local_model_lacks_no_key(operator: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MESHAG_PIPER_VOICES"):
        monkeypatch.delenv(name, raising=False)
    page = signed_in(operator).get(address("change", version.agent)).content.decode()
    for slug, badge, can_be_entered in (("openai", "no key yet", True), ("piper", "not set up yet", False)):
        card = page.partition(f'<li class="agent-provider" data-provider="{slug}"')[2].partition("</li>")[0]
        assert badge in card and ("add a credential" in card) is can_be_entered


def test_the_state_tells_what_changed(operator: User, version: AgentVersion) -> None:
    agent = redraft(version.agent, make_document(greeting="Hello!"))
    page = signed_in(operator).get(address("change", agent)).content.decode()
    assert "The draft differs from version 1" in page and '<span title="greeting">Greeting</span>' in page


def test_the_state_tells_what_is_wrong(operator: User, agent: Agent) -> None:
    redraft(agent, {"system_prompt": "x"})
    page = signed_in(operator).get(address("change", agent)).content.decode()
    assert "cannot be published yet" in page and "connectors: is missing" in page


def test_publishing_keeps_the_note(owner: User, agent: Agent) -> None:
    page = send(as_staff(owner), "publish", agent, note="The first")
    assert agent.published is not None
    assert (agent.published.note, agent.published.published_by) == ("The first", owner)
    assert "New calls of shop run version 1." in page.content.decode()


def test_publishing_tells_of_a_wrong_stream(owner: User, agent: Agent) -> None:
    document = make_document()
    document["pipeline"]["flow"][0]["stream"] = "text"
    page = send(as_staff(owner), "publish", redraft(agent, document)).content.decode()
    assert agent.published is not None
    assert "Looks like a mistake: Step 1: carries: transport to stt carries audio." in page


def test_publishing_twice_says_that_nothing_is_new(owner: User, version: AgentVersion) -> None:
    page = send(as_staff(owner), "publish", version.agent)
    assert "Nothing new to publish" in page.content.decode()
    assert version.agent.versions.count() == 1


def test_only_the_draft_that_was_seen_is_published(owner: User, agent: Agent) -> None:
    client = as_staff(owner)
    seen = client.get(address("versions", agent)).context["publish_form"]["seen"].value()
    redraft(agent, make_document(greeting="Theirs"))
    page = send(client, "publish", agent, seen=seen)
    assert agent.published is None
    assert "Not published: somebody else has changed the draft" in page.content.decode()


def test_restoring_changes_the_draft_only(owner: User, version: AgentVersion) -> None:
    agent = redraft(version.agent, make_document(greeting="Hello!"))
    published = publish_agent(agent=agent)
    send(as_staff(owner), "restore", agent, number=1)
    assert (agent.draft, agent.published) == (version.config, published)


def test_restoring_asks_before_a_draft_is_lost(owner: User, version: AgentVersion) -> None:
    agent, client = redraft(version.agent, make_document(greeting="Hello!")), as_staff(owner)
    page = send(client, "restore", agent, number=1)
    assert agent.draft["greeting"] == "Hello!"
    assert "This would be lost" in page.content.decode() and "Hello!" in page.content.decode()
    send(client, "restore", agent, number=1, lost=page.context["lost"])
    assert agent.draft == version.config


@pytest.mark.parametrize("word", ["restore", "publish-again"])
def test_missing_keys_are_warned_of(
    word: str, owner: User, version: AgentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    page = send(as_staff(owner), word, version.agent, number=1).content.decode()
    assert "No provider for Thinking is set up: calls will fail." in page


def test_restoring_asks_again_about_another_draft(owner: User, version: AgentVersion) -> None:
    agent, client = redraft(version.agent, make_document(greeting="Mine")), as_staff(owner)
    lost = send(client, "restore", agent, number=1).context["lost"]
    redraft(agent, make_document(greeting="Theirs"))
    send(client, "restore", agent, number=1, lost=lost)
    assert agent.draft["greeting"] == "Theirs"


def test_out_of_service_and_back(owner: User, version: AgentVersion) -> None:
    agent, client = version.agent, as_staff(owner)
    page = send(client, "withdraw", agent)
    assert agent.published == version and "Take shop out of service?" in page.content.decode()
    page = send(client, "withdraw", agent, sure=1)
    assert agent.published is None and "Out of service." in page.content.decode()
    send(client, "publish", agent)
    assert agent.published == version


def test_what_was_published_is_not_deleted(operator: User, version: AgentVersion) -> None:
    client = signed_in(operator)
    assert address("delete", version.agent) not in client.get(address("change", version.agent)).content.decode()
    assert client.post(address("delete", version.agent), {"post": "yes"}).status_code == 403


def test_what_was_never_published_is_deleted(operator: User, agent: Agent) -> None:
    client = signed_in(operator)
    assert address("delete", agent) in client.get(address("change", agent)).content.decode()
    client.post(address("delete", agent), {"post": "yes"})
    assert not Agent.objects.exists()


def test_publishing_again_makes_a_new_version(owner: User, version: AgentVersion) -> None:
    agent = redraft(version.agent, make_document(greeting="Hello!"))
    publish_agent(agent=agent)
    send(as_staff(owner), "publish-again", agent, number=1)
    assert agent.published is not None
    assert (agent.published.number, agent.published.config) == (3, version.config)
    assert agent.draft["greeting"] == "Hello!"


@pytest.mark.parametrize("word", ["restore", "publish-again"])
@pytest.mark.parametrize("number", ["9", "x", ""])
def test_a_version_that_is_not_there(owner: User, version: AgentVersion, word: str, number: str) -> None:
    assert send(as_staff(owner), word, version.agent, number=number).status_code == 404


def test_versions_are_compared(teammate: User, version: AgentVersion) -> None:
    agent = redraft(version.agent, make_document(greeting="Hello!"))
    page = as_staff(teammate).get(address("compare", agent), {"old": "1", "new": "draft"}).content.decode()
    assert (
        '<span title="greeting">Greeting</span>' in page
        and "<del>not set</del>" in page
        and "<ins>Hello!</ins>" in page
    )


def test_comparing_with_nothing_is_explained(teammate: User, version: AgentVersion) -> None:
    page = as_staff(teammate).get(address("compare", version.agent), {"old": "9", "new": "draft"})
    assert page.status_code == 200 and "9 is not one of the available choices" in page.content.decode()


@pytest.mark.parametrize(("query", "name"), [({}, "shop-draft.json"), ({"version": "1"}, "shop-version-1.json")])
def test_export_is_a_file(teammate: User, version: AgentVersion, query: dict[str, str], name: str) -> None:
    response = as_staff(teammate).get(address("export", version.agent), query)
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    assert json.loads(response.content) == version.config


@pytest.mark.parametrize("number", ["9", "x", "-1"])
def test_export_of_nothing_is_not_found(teammate: User, version: AgentVersion, number: str) -> None:
    assert as_staff(teammate).get(address("export", version.agent), {"version": number}).status_code == 404


def test_the_whole_document_is_replaced(owner: User, agent: Agent) -> None:
    document = make_document(greeting="Grüße!")
    page = send(as_staff(owner), "document", agent, document=json.dumps(document))
    assert agent.draft == document
    assert "Grüße!" in page.content.decode()


def test_an_unfinished_document_is_kept(owner: User, agent: Agent) -> None:
    page = send(as_staff(owner), "document", agent, document='{"system_prompt": "x"}')
    assert agent.draft == {"system_prompt": "x"}
    assert "saved, but cannot be published yet" in page.content.decode()


@pytest.mark.parametrize(
    ("text", "told"), [("{", "is not JSON"), ("[]", "one JSON object"), ('{"a": 1, "a": 2}', "stands twice")]
)
def test_what_is_no_document_is_refused(owner: User, agent: Agent, text: str, told: str) -> None:
    before = agent.draft
    page = send(as_staff(owner), "document", agent, document=text)
    assert agent.draft == before and told in page.content.decode()


def test_what_somebody_else_saved_is_not_replaced(owner: User, agent: Agent) -> None:
    client = as_staff(owner)
    seen = client.get(address("document", agent)).context["form"]["seen"].value()
    redraft(agent, make_document(greeting="Theirs"))
    page = send(client, "document", agent, document="{}", seen=seen)
    assert agent.draft["greeting"] == "Theirs"
    assert "Somebody else has saved this agent" in page.content.decode()


def test_a_viewer_reads_templates_and_variables(teammate: User, agent: Agent) -> None:
    """Whatever the variables are called, and whatever a draft has in their place."""
    client, path = as_staff(teammate), address("change", agent)
    redraft(agent, make_document(user_template="Of {items}: {input_data}", variables={"items": "wheels"}))
    page = client.get(path).content.decode()
    assert "Of {items}: {input_data}" in page and "items: wheels" in page
    redraft(agent, make_document(variables="none"))
    assert client.get(path).status_code == 200


def test_an_old_version_that_is_no_longer_valid_is_restored(owner: User, version: AgentVersion) -> None:
    old = AgentVersion.objects.create(
        agent=version.agent, number=2, config={"system_prompt": 1}, sha256="", revision=""
    )
    page = send(as_staff(owner), "restore", version.agent, number=old.number)
    assert page.status_code == 200 and version.agent.draft == old.config
