"""An agent names which of its workspace's credentials it uses."""

from typing import Any

import pytest
from django.urls import reverse

from accounts_app.models import User, Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from mesh.config.problems import ConfigError
from pipelines_app import actions
from pipelines_app.chosen_credentials import kept_by, serving
from pipelines_app.models import Agent, AgentVersion
from pipelines_app.providers import call_warnings
from tests.pipelines_app.agent_forms import save, shown_form
from tests.world import make_document, redraft, signed_in

pytestmark = pytest.mark.django_db


def make_credential(workspace: Workspace, name: str, provider: str = "openai", **fields: Any) -> Credential:
    credential = Credential(workspace=workspace, provider=provider, name=name, **fields)
    keep_credential(credential=credential, key="sk-of-the-tests-0123456789")
    return credential


def naming(**names: str) -> dict[str, Any]:
    return make_document() | {"credentials": names}


def refusal(agent: Agent, document: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        actions.publish_agent(agent=redraft(agent, document))
    return [str(problem) for problem in caught.value.problems]


def test_a_name_of_the_workspace_is_published(agent: Agent) -> None:
    make_credential(agent.workspace, "Billing account")
    version = actions.publish_agent(agent=redraft(agent, naming(openai="Billing account")))
    assert version.config["credentials"] == {"openai": "Billing account"}


def test_an_unknown_name_is_not_published(agent: Agent) -> None:
    make_credential(agent.workspace, "Trial")
    [problem] = refusal(agent, naming(openai="Billing account"))
    assert problem.startswith("credentials.openai: the workspace has no OpenAI credential “Billing account”")
    assert problem.endswith("there are: Trial")


def test_a_name_of_another_workspace_is_unknown(agent: Agent, other_workspace: Workspace) -> None:
    make_credential(other_workspace, "Of the boats")
    [problem] = refusal(agent, naming(openai="Of the boats"))
    assert problem.endswith("it has none of this provider")


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("openai_realtime", "goes by the credential of openai: name it there"),
        ("espeak", "is no provider with credentials; allowed: anthropic, azure"),
    ],
)
def test_only_providers_with_credentials_are_named(agent: Agent, slug: str, message: str) -> None:
    [problem] = refusal(agent, naming(**{slug: "Main"}))
    assert problem.startswith(f"credentials.{slug}: {message}")


def test_a_name_that_is_gone_is_warned_of(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    document, workspace = naming(openai="Gone"), agent.workspace_id
    assert "The workspace has no OpenAI credential “Gone”; it has none of this provider: calls pass it over." in (
        call_warnings(document, workspace)
    )
    make_credential(agent.workspace, "Gone", is_active=False)
    assert not any("Gone" in warning for warning in call_warnings(document, workspace))


def test_a_named_one_that_is_aside_is_a_key(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    make_credential(agent.workspace, "Billing account", is_active=False)
    without = call_warnings(make_document(), agent.workspace_id)
    assert len(call_warnings(naming(openai="Billing account"), agent.workspace_id)) < len(without)


def make_failed(workspace: Workspace) -> Credential:
    credential = make_credential(workspace, "Old account")
    Credential.objects.filter(pk=credential.pk).update(test_passed=False, test_outcome="OpenAI refuses the key.")
    return credential


def test_one_whose_test_failed_is_warned_of_once(agent: Agent) -> None:
    make_failed(agent.workspace)
    said = [warning for warning in call_warnings(make_document(), agent.workspace_id) if "test" in warning]
    assert said == ["The OpenAI credential “Old account”: its last test failed: OpenAI refuses the key."]
    make_credential(agent.workspace, "New account")
    assert not any("test" in warning for warning in call_warnings(make_document(), agent.workspace_id))


# -- the form --------------------------------------------------------------------------------------------


def test_a_card_says_that_its_test_failed(operator: User, agent: Agent) -> None:
    make_failed(agent.workspace)
    models = shown_form(signed_in(operator), agent).providers[1]
    cards = {card.slug: (card.badge, card.failed) for card in models.cards}
    failed = ("last test failed", "“Old account”: its last test failed: OpenAI refuses the key.")
    assert cards["openai"] == cards["openai_responses"] == failed and cards["script"] == ("", "")


def test_the_form_offers_the_workspaces_own(operator: User, agent: Agent, other_workspace: Workspace) -> None:
    make_credential(agent.workspace, "Billing account")
    make_credential(other_workspace, "Of the boats")
    form = shown_form(signed_in(operator), agent)
    choices = [name for name, _ in form.credentials.fields["openai"].choices]  # type: ignore[attr-defined]
    assert list(form.credentials.fields) == ["openai"] and choices == ["", "Billing account"]


def test_a_choice_is_written_and_taken_back(operator: User, agent: Agent) -> None:
    make_credential(agent.workspace, "Billing account")
    client = signed_in(operator)
    save(client, agent, **{"credentials-openai": "Billing account"})
    assert agent.draft["credentials"] == {"openai": "Billing account"}
    save(client, agent, name="Renamed")
    assert agent.draft["credentials"] == {"openai": "Billing account"}
    save(client, agent, **{"credentials-openai": ""})
    assert agent.draft["credentials"] == {}


def test_without_credentials_the_document_says_nothing(operator: User, agent: Agent) -> None:
    save(signed_in(operator), agent, name="Renamed")
    assert "credentials" not in agent.draft


def test_a_name_of_another_workspace_is_no_choice(operator: User, agent: Agent, other_workspace: Workspace) -> None:
    make_credential(agent.workspace, "Billing account")
    make_credential(other_workspace, "Of the boats")
    page = save(signed_in(operator), agent, **{"credentials-openai": "Of the boats"})
    assert "Select a valid choice" in page.content.decode() and "credentials" not in agent.draft


def test_a_name_that_is_gone_stays_in_the_draft(operator: User, agent: Agent) -> None:
    redraft(agent, naming(openai="Gone"))
    page = save(signed_in(operator), agent, name="Renamed").content.decode()
    assert agent.draft["credentials"] == {"openai": "Gone"} and agent.name == "Renamed"
    assert "cannot be published yet: credentials.openai: the workspace has no OpenAI credential “Gone”" in page


# -- the credential's side -------------------------------------------------------------------------------


def test_who_names_it_is_told_before_it_goes(operator: User, agent: Agent) -> None:
    credential = make_credential(agent.workspace, "Billing account")
    actions.publish_agent(agent=redraft(agent, naming(openai="Billing account")))
    page = signed_in(operator).get(reverse("admin:connectors_app_credential_delete", args=[credential.pk]))
    assert (
        f"Published agents name “Billing account”: {agent.name}. Without it their calls pass OpenAI over."
        in page.content.decode()
    )


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def in_html(text: str) -> str:
    return text.replace("'", "&#x27;")


def asked_to_delete(user: User, *credentials: Credential) -> str:
    """The page that asks whether to."""
    if len(credentials) == 1:
        address = reverse("admin:connectors_app_credential_delete", args=[credentials[0].pk])
        return signed_in(user).get(address).content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [credential.pk for credential in credentials]}
    return signed_in(user).post(reverse("admin:connectors_app_credential_changelist"), chosen).content.decode()


def test_who_uses_it_is_told_before_it_goes(operator: User, agent: Agent, without_keys: None) -> None:
    actions.publish_agent(agent=agent)
    aside = make_credential(agent.workspace, "Trial", is_active=False)
    used = make_credential(agent.workspace, "Billing account")
    uses = f"Published agents use “Billing account”: {agent.name}."
    page = asked_to_delete(operator, used)
    assert f"{uses} Without it their next calls pass OpenAI over." in page
    assert "“Trial” is kept, too, but not in use: put it in use instead." in page
    page = asked_to_delete(operator, used, aside)
    assert uses in page and "is kept, too" not in page
    assert "Published agents" not in asked_to_delete(operator, aside)


def test_the_environments_key_is_told_before_it_goes(
    operator: User, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    actions.publish_agent(agent=agent)
    page = asked_to_delete(operator, make_credential(agent.workspace, "Billing account"))
    assert in_html("Without it their next calls use the environment's key for OpenAI.") in page


def test_one_that_nobody_asks_goes_without_a_word(operator: User, version: AgentVersion) -> None:
    credential = make_credential(version.agent.workspace, "Main", provider="deepgram")
    assert "Published agents" not in asked_to_delete(operator, credential)


def test_who_used_it_is_told_when_it_is_put_aside(operator: User, version: AgentVersion, without_keys: None) -> None:
    make_credential(version.agent.workspace, "Trial", is_active=False)
    credential = make_credential(version.agent.workspace, "Billing account")
    address = reverse("admin:connectors_app_credential_change", args=[credential.pk])
    page = signed_in(operator).post(address, {"name": "Billing account"}, follow=True).content.decode()
    assert (
        f"Published agents used “Billing account”: {version.agent.name}. Without it their next calls pass OpenAI over."
        in page
    )
    assert "“Trial” is kept, too, but not in use: put it in use instead." in page
    page = signed_in(operator).post(address, {"name": "Billing account"}, follow=True).content.decode()
    assert "Published agents" not in page


def test_who_names_it_is_told_when_it_is_renamed(operator: User, agent: Agent) -> None:
    credential = make_credential(agent.workspace, "Billing account")
    actions.publish_agent(agent=redraft(agent, naming(openai="Billing account")))
    address = reverse("admin:connectors_app_credential_change", args=[credential.pk])
    page = signed_in(operator).post(address, {"name": "Bills", "in_use": "on"}, follow=True).content.decode()
    assert f"Published agents name it “Billing account” still: {agent.name}." in page


def test_a_document_is_served_by_the_one_it_names(agent: Agent) -> None:
    make_credential(agent.workspace, "Billing account", is_active=False)
    kept = kept_by([agent.workspace_id])[agent.workspace_id]
    assert serving(naming(openai="Billing account"), kept) == {"openai"}
    assert serving(make_document(), kept) == serving(naming(openai="Gone"), kept) == frozenset()
