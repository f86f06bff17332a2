"""Sessions in the admin: to be read. Events write them, and nobody else."""

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts_app.scoping import WORKSPACE_FILTER, ForSuperusers, WithinWorkspaces
from sessions_app.models import BridgeCursor, Incident, Session, TranscriptEntry, Turn, Usage


class ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class TranscriptInline(ReadOnly, TabularInline):
    model = TranscriptEntry
    fields = ("at", "speaker", "text", "turn", "interrupted", "provider")


@admin.register(Session)
class SessionAdmin(ReadOnly, WithinWorkspaces):
    list_display = ("id", "name", "workspace", "state", "reason", "transport", "caller", "created_at", "duration")
    list_filter = ("state", "transport", WORKSPACE_FILTER)
    search_fields = ("id", "name", "caller", "called", "call_id")
    list_select_related = ("workspace",)
    date_hierarchy = "created_at"
    inlines = (TranscriptInline,)


@admin.register(Turn)
class TurnAdmin(ReadOnly, WithinWorkspaces):
    list_display = ("session", "number", "state", "cause", "text", "reply", "started_at")
    list_filter = ("state", "cause", WORKSPACE_FILTER)
    search_fields = ("session__id", "text", "reply")
    list_select_related = ("session",)


@admin.register(TranscriptEntry)
class TranscriptEntryAdmin(ReadOnly, WithinWorkspaces):
    list_display = ("session", "at", "speaker", "text", "interrupted")
    list_filter = ("speaker", WORKSPACE_FILTER)
    search_fields = ("session__id", "text")
    list_select_related = ("session",)


@admin.register(Usage)
class UsageAdmin(ReadOnly, WithinWorkspaces):
    list_display = ("session", "at", "role", "provider", "model", "quantity", "unit", "micros")
    list_filter = ("role", "provider", "unit", WORKSPACE_FILTER)
    search_fields = ("session__id", "model")
    list_select_related = ("session",)


@admin.register(Incident)
class IncidentAdmin(ReadOnly, WithinWorkspaces):
    list_display = ("session", "at", "kind", "role", "provider", "successor", "error", "detail")
    list_filter = ("kind", "role", "provider", WORKSPACE_FILTER)
    search_fields = ("session__id", "detail")
    list_select_related = ("session",)


@admin.register(BridgeCursor)
class BridgeCursorAdmin(ReadOnly, ForSuperusers):
    list_display = ("stream", "sequence", "stream_created", "moved_at")
