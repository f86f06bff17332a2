"""Agents and their versions in the admin. Publishing goes through the same action as everywhere."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts_app.models import User
from accounts_app.scoping import WORKSPACE_FILTER, WithinWorkspaces
from mesh.config import ConfigError
from pipelines_app.actions import check_document, publish_agent, roll_back_agent
from pipelines_app.models import Agent, AgentVersion


class Indented(json.JSONEncoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"indent": 2})


class AgentForm(forms.ModelForm):
    draft = forms.JSONField(
        encoder=Indented,
        help_text="The configuration document that will be published next.",
        widget=forms.Textarea(attrs={"rows": 32, "cols": 100, "spellcheck": "false"}),
    )

    class Meta:
        model = Agent
        fields = ["workspace", "slug", "name", "description", "phone_number", "is_default", "capabilities", "draft"]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 3, "cols": 100}),
            "capabilities": forms.Textarea(attrs={"rows": 1, "cols": 100}),
        }


@admin.register(Agent)
class AgentAdmin(WithinWorkspaces):
    form = AgentForm
    list_display = ["slug", "name", "workspace", "phone_number", "is_default", "published", "updated_at"]
    list_filter = [WORKSPACE_FILTER, "is_default"]
    search_fields = ["slug", "name", "phone_number"]
    list_select_related = ["workspace", "published"]
    readonly_fields = ["published", "created_at", "updated_at"]
    actions = ["publish"]

    class Media:
        css = {"all": ["pipelines_app/admin.css"]}

    def save_model(self, request: HttpRequest, obj: Agent, form: forms.ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "_publish" in request.POST:
            return  # which says the same, and why
        try:
            check_document(obj.draft)
        except ConfigError as error:
            messages.warning(request, f"The draft is kept, but cannot be published yet: {_told(error)}")

    @admin.action(description="Publish the drafts", permissions=["change"])
    def publish(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        for agent in agents:
            self.publish_one(request, agent)

    def publish_one(self, request: HttpRequest, agent: Agent) -> None:
        assert isinstance(request.user, User)
        try:
            version = publish_agent(agent=agent, by=request.user)
        except ConfigError as error:
            messages.error(request, f"Not published: {agent}: {_told(error)}")
        else:
            messages.success(request, f"New sessions of {agent} run version {version.number}")

    def response_change(self, request: HttpRequest, obj: Agent) -> HttpResponse:
        if "_publish" not in request.POST:
            return super().response_change(request, obj)
        self.publish_one(request, obj)
        return redirect(request.path)


@admin.register(AgentVersion)
class AgentVersionAdmin(WithinWorkspaces):
    list_display = ["agent", "number", "revision", "note", "published_at", "published_by"]
    list_filter = [("agent__workspace", admin.RelatedOnlyFieldListFilter), ("agent", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["agent__slug", "note", "revision"]
    list_select_related = ["agent", "published_by"]
    exclude = ["user_template", "context_instructions"]  # without effect yet
    actions = ["publish_again"]

    @admin.action(description="Publish again", permissions=["publish"])
    def publish_again(self, request: HttpRequest, versions: QuerySet[AgentVersion]) -> None:
        chosen = list(versions.select_related("agent"))
        if len({version.agent_id for version in chosen}) < len(chosen):
            messages.error(request, "Nothing was published: choose one version of an agent, not several.")
            return
        for version in chosen:
            self.publish_one_again(request, version)

    def publish_one_again(self, request: HttpRequest, version: AgentVersion) -> None:
        assert isinstance(request.user, User)
        agent = version.agent
        try:
            newest = roll_back_agent(agent=agent, number=version.number, by=request.user)
        except ConfigError as error:
            messages.error(request, f"Not published: {agent} {version}: {_told(error)}")
        else:
            messages.success(request, f"New sessions of {agent} run version {newest.number}: {newest.note}")

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("pipelines_app.change_agent")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AgentVersion | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AgentVersion | None = None) -> bool:
        return False


def _told(error: ConfigError) -> str:
    return "; ".join(map(str, error.problems))
