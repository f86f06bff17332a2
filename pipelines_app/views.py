"""The page of agents: who can be called, and what each is made of."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts_app.models import Right
from connectors_app import registry
from connectors_app.base.connector import Role
from pipelines_app import drafts
from pipelines_app.chosen_credentials import Kept, kept_by, serving
from pipelines_app.models import Agent
from pipelines_app.providers import Keys

MOST = 200
VERBS = {Role.STT: "Hears", Role.LLM: "Thinks", Role.TTS: "Speaks"}


@dataclass(frozen=True, slots=True)
class Provider:
    label: str
    needs: str
    """The settings without which it cannot be used, in words; empty when they are there."""


@dataclass(frozen=True, slots=True)
class Line:
    """An agent in the list."""

    agent: Agent
    providers: tuple[tuple[str, tuple[Provider, ...]], ...]
    """For each thing that it does, whom it asks, in their order."""
    may_run: bool


@login_required
@require_safe
def agent_list(request: HttpRequest) -> HttpResponse:
    own = Agent.objects.for_user(request.user).select_related("workspace", "published")
    agents = list(own.order_by("workspace__slug", "-is_default", "name")[:MOST])
    runnable = set(Agent.objects.for_user(request.user, Right.RUN).values_list("pk", flat=True))
    kept = kept_by({agent.workspace_id for agent in agents})
    lines = [Line(agent, _providers(agent, kept[agent.workspace_id]), agent.pk in runnable) for agent in agents]
    return render(request, "pipelines_app/list.html", {"lines": lines})


def _providers(agent: Agent, kept: Collection[Kept]) -> tuple[tuple[str, tuple[Provider, ...]], ...]:
    """Of the published version, else of the draft."""
    document = agent.published.config if agent.published else agent.draft
    keys = Keys(os.environ, serving(document, kept))
    asked = ((verb, _chain(role, drafts.chain(document, role), keys)) for role, verb in VERBS.items())
    return tuple((verb, chain) for verb, chain in asked if chain)


def _chain(role: Role, slugs: Iterable[str], keys: Keys) -> tuple[Provider, ...]:
    known, missing = registry.names(role), keys.missing(role)
    return tuple(
        Provider(registry.get(role, slug).label, ", ".join(missing.get(slug, ())))
        if slug in known
        else Provider(slug, "a connector that is here")
        for slug in slugs
    )
