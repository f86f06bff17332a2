"""Whose rows an admin page shows: a superuser's are all, other staff's are those of the workspaces they belong to."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db import models
from django.forms import ModelChoiceField
from django.http import HttpRequest

from accounts_app.models import Right, User

if TYPE_CHECKING:  # unfold has no types: its classes are Django's with another look
    ModelAdmin = admin.ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin

WORKSPACE_FILTER = ("workspace", admin.RelatedOnlyFieldListFilter)
"""Names only the workspaces of the rows that are shown."""


def own_rows(rows: Any, user: Any, right: Right = Right.VIEW) -> Any:
    """The rows of a model that is owned by workspaces, or of people, that this user may see in the admin."""
    if user.is_superuser:
        return rows
    if rows.model is User:
        return rows.filter(pk__in=user.colleagues())
    return rows.for_user(user, right)


class WithinWorkspaces(ModelAdmin):
    """Permissions say what staff may do; here stands with which rows. What a form points at must be theirs too."""

    right: ClassVar[Right] = Right.VIEW
    """What a member's role must allow in a workspace, for its rows to be seen here."""

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[Any]":
        rows: models.QuerySet[Any] = own_rows(super().get_queryset(request), request.user, self.right)
        return rows

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> "ModelChoiceField[Any] | None":
        kwargs["queryset"] = own_rows(db_field.remote_field.model._default_manager.all(), request.user, self.right)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ForSuperusers(ModelAdmin):
    """What belongs to the whole installation."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return request.user.is_superuser and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return request.user.is_superuser and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return request.user.is_superuser and super().has_delete_permission(request, obj)
