"""What stands on the admin's pages around its forms: the menu, and the overview that it opens with."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts_app.models import Right
from accounts_app.scoping import allows, own_rows
from connectors_app import registry
from connectors_app.base.connector import Role
from pipelines_app import drafts
from pipelines_app.agent_pages import enterable_credentials
from pipelines_app.chosen_credentials import asked_by, failed_tests, kept_by, serving
from pipelines_app.models import Agent
from pipelines_app.providers import Keys
from sessions_app.models import Incident, Session, State, Turn, TurnState

LATELY = timedelta(days=1)
MOST_SHOWN = 8
MOST_AGENTS = 200
"""More are not looked through on the overview."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A list of the admin in the menu. `icon` is a name of Material Symbols."""

    title: str
    icon: str
    model: str

    def link(self) -> str:
        return reverse(f"admin:{self.model.replace('.', '_').lower()}_changelist")

    def is_open_to(self, request: HttpRequest) -> bool:
        return admin.site.get_model_admin(apps.get_model(self.model)).has_view_permission(request)


MENU = {
    "Agents": (
        Entry("Agents", "support_agent", "pipelines_app.Agent"),
        Entry("Pipelines", "account_tree", "pipelines_app.Pipeline"),
        Entry("Versions", "history", "pipelines_app.AgentVersion"),
    ),
    "Sessions": (
        Entry("Sessions", "call", "sessions_app.Session"),
        Entry("Turns", "forum", "sessions_app.Turn"),
        Entry("Transcripts", "subtitles", "sessions_app.TranscriptEntry"),
        Entry("Incidents", "warning", "sessions_app.Incident"),
        Entry("Usage", "bar_chart", "sessions_app.Usage"),
    ),
    "Connectors": (Entry("Credentials", "key", "connectors_app.Credential"),),
    "People": (
        Entry("Users", "person", "accounts_app.User"),
        Entry("Workspaces", "workspaces", "accounts_app.Workspace"),
        Entry("Memberships", "badge", "accounts_app.Membership"),
        Entry("API keys", "vpn_key", "accounts_app.APIKey"),
    ),
    "Installation": (Entry("Bridge", "sync_alt", "sessions_app.BridgeCursor"),),
}
ELSEWHERE = (
    ("Dashboard", "dashboard", "/"),
    ("Health check", "monitor_heart", "/doctor/"),
    ("API documentation", "api", "/api/docs/"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu, without what the user may not see."""
    groups: list[dict[str, Any]] = [
        {"items": [{"title": "Overview", "icon": "home", "link": reverse("admin:index")}]},
    ]
    for title, entries in MENU.items():
        items = [
            {"title": entry.title, "icon": entry.icon, "link": entry.link()}
            for entry in entries
            if entry.is_open_to(request)
        ]
        groups += [{"title": title, "items": items}] if items else []
    outside = [{"title": title, "icon": icon, "link": link, "active": False} for title, icon, link in ELSEWHERE]
    return [*groups, {"title": "Elsewhere", "items": outside}]


def without_inline_style(request: HttpRequest) -> dict[str, Any]:
    """unfold would write its colours into each page, which the content policy forbids."""
    return {"colors": None}


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What matters now, in the user's workspaces."""
    since = timezone.now() - LATELY
    sessions = own_rows(Session.objects.all(), request.user)
    turns = own_rows(Turn.objects.filter(started_at__gte=since), request.user)
    incidents = own_rows(Incident.objects.filter(at__gte=since), request.user)
    agents = list(_agents(request))
    return context | {
        "title": "Overview",
        "live": sessions.live().count(),
        "waiting": sessions.waiting().count(),
        "begun": sessions.filter(created_at__gte=since).count(),
        "failed": sessions.filter(state=State.FAILED, ended_at__gte=since).count(),
        "failed_turns": turns.filter(state=TurnState.FAILED).count(),
        "since": since,
        "incidents": _most_frequent(incidents),
        "drafts": [agent for agent in agents if _has_draft(agent)][:MOST_SHOWN],
        "missing": list(_lacking(request, agents))[:MOST_SHOWN],
        "agents": len(agents),
        "may_build": allows(request, Right.BUILD),
    }


def _agents(request: HttpRequest) -> QuerySet[Agent]:
    agents: QuerySet[Agent] = own_rows(Agent.objects.select_related("workspace", "published"), request.user)
    return agents.order_by("workspace__slug", "name")[:MOST_AGENTS]


def _has_draft(agent: Agent) -> bool:
    return agent.published is None or agent.draft != agent.published.config


def _most_frequent(incidents: QuerySet[Incident]) -> list[dict[str, Any]]:
    kinds = incidents.order_by().values("kind", "role", "provider").annotate(times=Count("id")).order_by("-times")
    names = dict(Incident.Kind.choices)
    return [row | {"name": names[row["kind"]].capitalize()} for row in kinds[:MOST_SHOWN]]


@dataclass(frozen=True, slots=True)
class Lacking:
    agent: Agent
    provider: str
    settings: tuple[str, ...]
    credential: str
    """The slug of the one that this person can enter for it; empty: none."""
    failed: str = ""
    """Nothing is missing, but this is what the last test of its credential says against it."""

    @property
    def needs(self) -> str:
        return ", ".join(self.settings)


def _lacking(request: HttpRequest, agents: list[Agent]) -> Iterator[Lacking]:
    """What each agent's own chain asks though nobody has what it needs, or though its credential's test failed."""
    kept = kept_by({agent.workspace_id for agent in agents})
    for agent in agents:
        document = agent.published.config if agent.published else agent.draft
        keys = Keys(os.environ, serving(document, kept[agent.workspace_id]))
        needed = {
            slug: names
            for role in (Role.STT, Role.LLM, Role.TTS)
            for slug, names in keys.missing(role).items()
            if slug in drafts.chain(document, role)
        }
        enterable = enterable_credentials(request, agent) if needed else frozenset()
        for slug, names in needed.items():
            credential = registry.credential_of(slug)
            yield Lacking(agent, slug, names, credential if credential in enterable else "")
        asked = asked_by(document)
        for slug, said in failed_tests(document, kept[agent.workspace_id]).items():
            if slug in asked:
                yield Lacking(agent, slug, (), "", said)
