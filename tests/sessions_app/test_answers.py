"""What transports get to hear."""

import msgspec
import pytest

from accounts_app.actions import create_api_key
from accounts_app.models import Workspace
from pipelines_app.models import Agent, AgentVersion
from sessions_app.answers import Answer, answer_agent, answer_credentials, answer_key
from tests.connectors_app.test_credentials import SECRET, make_credential


def ask_agent(**question: object) -> Answer:
    return answer_agent(msgspec.json.encode(question))


def test_a_key_opens_its_workspace(workspace: Workspace) -> None:
    _, secret = create_api_key(workspace=workspace, name="CRM")
    assert answer_key(msgspec.json.encode({"key": secret})) == {"workspace": "bicycles"}


def test_a_revoked_key_opens_nothing(workspace: Workspace) -> None:
    key, secret = create_api_key(workspace=workspace, name="CRM")
    key.revoke()
    assert "revoked" in answer_key(msgspec.json.encode({"key": secret}))["error"]


def test_a_published_agent_answers(version: AgentVersion) -> None:
    answer = ask_agent(workspace="bicycles", slug="shop")
    assert (answer["workspace"], answer["agent"], answer["version"]) == ("bicycles", "shop", 1)
    assert answer["config"] == version.config


def test_a_called_number_finds_its_agent(version: AgentVersion) -> None:
    Agent.objects.update(phone_number="+4930123456")
    assert ask_agent(number="+4930123456")["agent"] == "shop"


@pytest.mark.parametrize("question", [{"workspace": "boats", "slug": "shop"}, {"slug": "nobody"}, {"number": "+1"}, {}])
def test_a_missing_agent_is_named(question: dict[str, str], version: AgentVersion) -> None:
    error = ask_agent(**question)["error"]
    assert question.get("slug", "") in error and question.get("number", "") in error


def test_own_credentials_travel_sealed(workspace: Workspace, other_workspace: Workspace) -> None:
    own, _ = make_credential(workspace), make_credential(other_workspace, key="dg-secret-of-the-boats")
    make_credential(workspace, provider="openai", name="Aside", is_active=False)
    question = {"workspace": "bicycles", "providers": ["deepgram", "openai", "espeak"]}
    payload = msgspec.json.encode(answer := answer_credentials(msgspec.json.encode(question)))
    assert answer == {"sealed": {"deepgram": own.sealed}, "named": []} and SECRET.encode() not in payload


def test_a_credential_is_found_by_name(workspace: Workspace, other_workspace: Workspace) -> None:
    billing, _ = make_credential(workspace, name="Billing"), make_credential(workspace)
    make_credential(other_workspace, name="Of the boats")
    for name, sealed in (("Billing", billing.sealed), ("Of the boats", "")):
        question = {"workspace": "bicycles", "providers": ["deepgram"], "names": {"deepgram": name}}
        answer = answer_credentials(msgspec.json.encode(question))
        assert answer == {"sealed": {"deepgram": sealed}, "named": ["deepgram"]}


@pytest.mark.parametrize("question", [{"workspace": "nobody"}, {"providers": []}, {"providers": ["openai"]}])
def test_only_what_was_asked_for_travels(question: dict[str, object], workspace: Workspace) -> None:
    make_credential(workspace)
    asked = {"workspace": "bicycles", "providers": ["deepgram"], **question}
    assert answer_credentials(msgspec.json.encode(asked)) == {"sealed": {}, "named": []}
