"""People and what they own: an owner and a teammate share a workspace, a stranger has another; an operator runs it all.

Imported by tests/conftest.py, so that every test can ask for them.
"""

from typing import Any

import pytest
from django.test import Client

from accounts_app.models import Membership, Role, User, Workspace
from pipelines_app import actions
from pipelines_app.models import Agent, AgentVersion


def make_document(**changes: Any) -> dict[str, Any]:
    """A small document that is valid wherever the OpenAI connectors are."""
    loop = ("transport stt audio", "stt llm text", "llm tts text", "tts transport audio")
    return {
        "system_prompt": "You answer the phone of a bicycle shop.",
        "pipeline": {
            "name": "voice_chat",
            "flow": [dict(zip(("from", "to", "stream"), step.split(), strict=True)) for step in loop],
        },
        "connectors": {
            "stt": {"primary": "openai", "config": {}},
            "llm": {"primary": "openai", "config": {"openai": {"temperature": 0.5}}},
            "tts": {"primary": "openai", "config": {}},
            "transport": {"primary": "websocket", "config": {}},
        },
    } | changes


def redraft(agent: Agent, document: object, **texts: str) -> Agent:
    """The agent with another draft, as somebody who edits it leaves it behind."""
    for name, value in {"draft": document, **texts}.items():
        setattr(agent, name, value)
    agent.save(update_fields=["draft", *texts])
    return agent


def make_member(workspace: Workspace, username: str, role: Role) -> User:
    user = User.objects.create_user(username)  # without a password: hashing one is slow, and `signed_in` needs none
    Membership.objects.create(user=user, workspace=workspace, role=role)
    return user


@pytest.fixture
def workspace(db: None) -> Workspace:
    return Workspace.objects.create(slug="bicycles", name="Bicycles")


@pytest.fixture
def other_workspace(db: None) -> Workspace:
    return Workspace.objects.create(slug="boats", name="Boats")


@pytest.fixture
def owner(workspace: Workspace) -> User:
    return make_member(workspace, "owner", Role.OWNER)


@pytest.fixture
def teammate(workspace: Workspace) -> User:
    return make_member(workspace, "teammate", Role.VIEWER)


@pytest.fixture
def stranger(other_workspace: Workspace) -> User:
    return make_member(other_workspace, "stranger", Role.OWNER)


@pytest.fixture
def operator(db: None) -> User:
    """Staff, in no workspace."""
    return User.objects.create_superuser("operator")


@pytest.fixture
def agent(workspace: Workspace) -> Agent:
    """Nothing of it is published yet."""
    return actions.import_agent(workspace=workspace, slug="shop", document=make_document(), publish=False)


@pytest.fixture
def version(agent: Agent) -> AgentVersion:
    return actions.publish_agent(agent=agent)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
