"""What the bridge answers to the transports: what a key opens, which agent takes a call, and with whose credentials."""

from typing import Any

import msgspec

from accounts_app.models import APIKey
from connectors_app.models import Credential
from pipelines_app.actions import resolve_agent


class KeyQuestion(msgspec.Struct, frozen=True):
    key: str


class AgentQuestion(msgspec.Struct, frozen=True):
    workspace: str | None = None
    slug: str = ""
    number: str = ""


class CredentialsQuestion(msgspec.Struct, frozen=True):
    workspace: str
    providers: list[str]
    names: dict[str, str] = {}
    """By provider, of the credential that the agent names."""


Answer = dict[str, Any]


def answer_key(payload: bytes) -> Answer:
    """{workspace}, or {error} that says why there is none."""
    question = msgspec.json.decode(payload, type=KeyQuestion)
    key = APIKey.objects.verify(question.key)
    if key is None:
        return {"error": "This API key is not known, expired or revoked. Draw a new one in the admin."}
    return {"workspace": key.workspace.slug}


def answer_agent(payload: bytes) -> Answer:
    """{workspace, agent, version, config}, or {error} that says what is missing."""
    question = msgspec.json.decode(payload, type=AgentQuestion)
    version = resolve_agent(workspace_slug=question.workspace, slug=question.slug, number=question.number)
    if version is None:
        return {"error": _no_agent(question)}
    return {
        "workspace": version.agent.workspace.slug,
        "agent": version.agent.slug,
        "version": version.number,
        "config": version.config,
    }


def answer_credentials(payload: bytes) -> Answer:
    """{sealed, named}: by provider, as they are kept; empty where there is none of the name. Only a worker opens them.

    `named` shows that names were looked at.
    """
    question = msgspec.json.decode(payload, type=CredentialsQuestion)
    sealed = Credential.objects.sealed_for(question.workspace, question.providers, question.names)
    return {"sealed": sealed, "named": sorted(question.names)}


def _no_agent(question: AgentQuestion) -> str:
    where = f"workspace {question.workspace!r}" if question.workspace else "the default workspace"
    if question.slug:
        return f"agent: {where} has no published agent {question.slug!r}. Publish it in the admin or correct the name."
    if question.number:
        return f"No published agent has the number {question.number}, and {where} has no published default agent."
    return f"{where.capitalize()} has no published default agent. Mark one as default in the admin and publish it."
