"""Agents, their versions and pipelines in the admin. Everything goes through the same actions as everywhere."""

import json
import os
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts_app.models import Right, Workspace
from accounts_app.scoping import WORKSPACE_FILTER, ReadOnly, WithinWorkspaces, allows, own_rows
from pipelines_app.actions import save_agent
from pipelines_app.agent_pages import AgentPages, publish_again, tell_draft
from pipelines_app.forms import AgentForm
from pipelines_app.models import Agent, AgentVersion
from pipelines_app.pipeline_admin import PipelineAdmin as PipelineAdmin  # registers itself


@admin.register(Agent)
class AgentAdmin(AgentPages):
    form = AgentForm
    list_display = ["name", "slug", "workspace", "phone_number", "default", "runs", "updated_at"]
    list_filter = [WORKSPACE_FILTER, "is_default"]
    search_fields = ["slug", "name", "phone_number"]
    list_select_related = ["workspace", "published"]
    fields = ["workspace", "name", "slug", "description", "phone_number", "capabilities"]
    actions = ["publish"]
    change_form_template = "admin/pipelines_app/agent/change_form.html"

    class Media:
        css = {"all": ["pipelines_app/admin.css"]}
        js = ["pipelines_app/agent_form.js", "pipelines_app/unsaved.js"]

    @display(description="default", ordering="is_default", label="success", empty_value="")
    def default(self, agent: Agent) -> str | None:
        return "Default" if agent.is_default else None

    @display(description="calls run", ordering="published__number", empty_value="not published")
    def runs(self, agent: Agent) -> str | None:
        return str(agent.published) if agent.published else None

    def get_exclude(self, request: HttpRequest, obj: Agent | None = None) -> list[str]:
        return ["workspace"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Agent | None = None) -> list[Any]:
        return [name for name in super().get_fields(request, obj) if name not in self.get_exclude(request, obj)]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Agent | None = None) -> dict[str, Sequence[str]]:
        return {} if obj else {"slug": ("name",)}

    def get_form(self, request: HttpRequest, obj: Agent | None = None, change: bool = False, **settings: Any) -> Any:
        form = super().get_form(request, obj, change=change, **settings)
        workspaces = own_rows(Workspace.objects.all(), request.user, Right.BUILD)
        return type("AgentForm", (form,), {"workspaces": workspaces, "environ": os.environ})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        agent = self.find(request, object_id)
        if not self.has_change_permission(request, agent):
            return self.read_page(request, agent)
        facts = self.facts(request, agent) | {"page": "change"}
        return super().change_view(request, object_id, form_url, {**facts, **(extra_context or {})})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Past calls keep the versions that they ran: an agent that has one is taken out of service instead."""
        agent = self.get_object(request, obj) if isinstance(obj, str) else obj
        was_published = agent is not None and agent.versions.exists()
        return not was_published and super().has_delete_permission(request, agent)

    def get_actions(self, request: HttpRequest) -> Any:
        """Deleting is asked for on an agent's own page, where it is told whether it can be deleted."""
        return {name: act for name, act in super().get_actions(request).items() if name != "delete_selected"}

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        default = form.cleaned_data["default"] if "default" in form.changed_data else None
        save_agent(agent=obj, changed=form.changed_columns(), default=default)

    def response_add(self, request: HttpRequest, obj: Agent, post_url_continue: str | None = None) -> HttpResponse:
        return self.response_change(request, obj)

    def response_change(self, request: HttpRequest, obj: Agent) -> HttpResponse:
        if "_publish" in request.POST:
            self.publish_one(request, obj, request.POST.get("note", ""))
        else:
            tell_draft(request, obj)
        return redirect(reverse("admin:pipelines_app_agent_change", args=[obj.pk]))

    @admin.action(description="Publish the drafts", permissions=["change"])
    def publish(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        for agent in agents:
            self.publish_one(request, agent)


@admin.register(AgentVersion)
class AgentVersionAdmin(ReadOnly, WithinWorkspaces):
    change_right = Right.BUILD
    list_display = ["agent", "number", "revision", "note", "published_at", "published_by"]
    list_filter = [("agent__workspace", admin.RelatedOnlyFieldListFilter), ("agent", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["agent__slug", "note", "revision"]
    list_select_related = ["agent", "published_by"]
    fields = [("agent", "number"), ("published_at", "published_by"), "note", "configuration", "revision", "sha256"]
    readonly_fields = ["configuration"]
    actions = ["publish_again"]

    @display(description="configuration document")
    def configuration(self, version: AgentVersion) -> SafeString:
        document = json.dumps(version.config, indent=2, ensure_ascii=False)
        return format_html('<pre class="document">{}</pre>', document)

    @admin.action(description="Publish again", permissions=["publish"])
    def publish_again(self, request: HttpRequest, versions: QuerySet[AgentVersion]) -> None:
        chosen = list(versions.select_related("agent"))
        if len({version.agent_id for version in chosen}) < len(chosen):
            messages.error(request, "Nothing was published: choose one version of an agent, not several.")
            return
        for version in chosen:
            publish_again(request, version.agent, version.number)

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return allows(request, Right.BUILD)
