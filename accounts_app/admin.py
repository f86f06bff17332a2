"""People, workspaces and keys in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Membership, User, Workspace
from accounts_app.scoping import WORKSPACE_FILTER, ForSuperusers, WithinWorkspaces

admin.site.site_header = admin.site.site_title = "MeshAG"
admin.site.index_title = "Admin"
admin.site.unregister(Group)

RIGHTS = ["is_staff", "is_superuser", "groups", "user_permissions"]


@admin.register(Group)
class GroupAdmin(ForSuperusers, DjangoGroupAdmin):
    """Who could change a group could give themselves every permission."""


@admin.register(User)
class UserAdmin(WithinWorkspaces, DjangoUserAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_active"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return [] if request.user.is_superuser else [*RIGHTS, "last_login", "date_joined"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_change(request, obj)


def _may_change(request: HttpRequest, person: User | None) -> bool:
    return person is None or (isinstance(request.user, User) and request.user.may_change(person))


@admin.register(Workspace)
class WorkspaceAdmin(WithinWorkspaces):
    list_display = ["slug", "name", "retention_days", "created_at"]
    search_fields = ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> list[str]:
        return ["slug"] if obj else []  # the events of running sessions carry it

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser


@admin.register(Membership)
class MembershipAdmin(WithinWorkspaces):
    list_display = ["user", "workspace", "role", "created_at"]
    list_filter = ["role", WORKSPACE_FILTER]
    search_fields = ["user__username", "workspace__slug"]
    raw_id_fields = ["user", "workspace"]
    list_select_related = ["user", "workspace"]


@admin.register(APIKey)
class APIKeyAdmin(WithinWorkspaces):
    """A new key's text is shown once; the digest never."""

    list_display = ["name", "prefix", "workspace", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_filter = [WORKSPACE_FILTER]
    search_fields = ["name", "prefix"]
    list_select_related = ["workspace"]
    readonly_fields = ["prefix", "created_by", "created_at", "last_used_at"]
    actions = ["revoke"]

    def get_exclude(self, request: HttpRequest, obj: APIKey | None = None) -> list[str]:
        return [] if obj else ["revoked_at"]

    def save_model(self, request: HttpRequest, obj: APIKey, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        assert isinstance(request.user, User)
        key, secret = create_api_key(workspace=obj.workspace, name=obj.name, by=request.user, expires_at=obj.expires_at)
        obj.pk = key.pk
        obj.refresh_from_db()
        messages.warning(request, f"Copy the key now, it is not shown again: {secret}")

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[APIKey]) -> None:
        for key in keys:
            key.revoke()
