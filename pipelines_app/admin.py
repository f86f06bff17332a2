"""Agents and their versions in the admin. Publishing goes through the same action as everywhere."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts_app.models import User
from mesh.config import ConfigError
from pipelines_app.actions import publish_agent
from pipelines_app.models import Agent, AgentVersion


@admin.register(Agent)
class AgentAdmin(admin.ModelAdmin):
    list_display = ["slug", "name", "workspace", "phone_number", "is_default", "published", "updated_at"]
    list_filter = ["workspace", "is_default"]
    search_fields = ["slug", "name", "phone_number"]
    raw_id_fields = ["workspace"]
    list_select_related = ["workspace", "published"]
    readonly_fields = ["published", "created_at", "updated_at"]
    actions = ["publish"]

    @admin.action(description="Publish the drafts", permissions=["change"])
    def publish(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        for agent in agents:
            self.publish_one(request, agent)

    def publish_one(self, request: HttpRequest, agent: Agent) -> None:
        assert isinstance(request.user, User)
        try:
            version = publish_agent(agent=agent, by=request.user)
        except ConfigError as error:
            messages.error(request, f"Not published: {agent}: {'; '.join(map(str, error.problems))}")
        else:
            messages.success(request, f"New sessions of {agent} run version {version.number}")

    def response_change(self, request: HttpRequest, obj: Agent) -> HttpResponse:
        if "_publish" not in request.POST:
            return super().response_change(request, obj)
        self.publish_one(request, obj)
        return redirect(request.path)


@admin.register(AgentVersion)
class AgentVersionAdmin(admin.ModelAdmin):
    list_display = ["agent", "number", "revision", "note", "published_at", "published_by"]
    list_filter = ["agent__workspace"]
    search_fields = ["agent__slug", "note", "revision"]
    list_select_related = ["agent", "published_by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AgentVersion | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AgentVersion | None = None) -> bool:
        return False
