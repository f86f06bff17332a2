"""Whose rows an admin page shows, and what may be done there: the member's role in the row's workspace says so.

Superusers may do everything. Other staff need no permissions of Django's, and would gain nothing by them.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db import models
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse

from accounts_app.models import Membership, Right, User, Workspace, roles_with

if TYPE_CHECKING:  # unfold has no types: its classes are Django's with another look
    ModelAdmin = admin.ModelAdmin[Any]
    StackedInline = admin.StackedInline[Any, Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline

WORKSPACE_FILTER = ("workspace", admin.RelatedOnlyFieldListFilter)
"""Names only the workspaces of the rows that are shown."""


def own_rows(rows: Any, user: Any, right: Right = Right.VIEW) -> Any:
    """The rows of a model that is owned by workspaces, or of people, that this user may see in the admin."""
    if user.is_superuser:
        return rows
    if rows.model is User:
        return rows.filter(pk__in=user.colleagues())
    return rows.for_user(user, right)


def workspaces_with(request: HttpRequest, right: Right) -> set[int]:
    """Where the user's role allows this. Read once for each request: every page asks it for each model."""
    kept = vars(request)
    if "_roles" not in kept:
        memberships = Membership.objects.filter(user=request.user.pk) if request.user.is_active else ()
        kept["_roles"] = {membership.workspace_id: membership.role for membership in memberships}
    return {workspace for workspace, role in kept["_roles"].items() if role in roles_with(right)}


def allows(request: HttpRequest, right: Right, row: Any = None) -> bool:
    """Whether the user may do this with the row; without a row, whether they may anywhere."""
    if request.user.is_superuser:
        return True
    workspaces = workspaces_with(request, right)
    return bool(workspaces) if row is None else workspace_of(row) in workspaces


def workspace_of(row: Any) -> int | None:
    """The id of the workspace that owns the row."""
    if isinstance(row, Workspace):
        return row.pk
    *way, last = type(row)._default_manager.all().workspace_path.split("__")
    for name in way:
        row = getattr(row, name)
    owner: int | None = getattr(row, f"{last}_id")
    return owner


class OwnChoices:
    """What a form points at must be the user's, too."""

    change_right: ClassVar[Right] = Right.MANAGE
    """What a member's role must allow in a workspace, for its rows to be added, changed and deleted here."""

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> "ModelChoiceField[Any] | None":
        choices = own_rows(db_field.remote_field.model._default_manager.all(), request.user, self.change_right)
        if choices.model is Workspace and len(workspaces := choices[:2]) == 1:
            kwargs.setdefault("initial", workspaces[0])
        kwargs["queryset"] = choices
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]
        return field

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        """Without the buttons that open a second form beside a choice."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field


class WithinWorkspaces(OwnChoices, ModelAdmin):
    """Rows of workspaces: a viewer's staff sees them, and who has `change_right` there changes them."""

    right: ClassVar[Right] = Right.VIEW
    """What a member's role must allow in a workspace, for its rows to be seen here."""

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[Any]":
        rows: models.QuerySet[Any] = own_rows(super().get_queryset(request), request.user, self.right)
        return rows

    def has_module_permission(self, request: HttpRequest) -> bool:
        return allows(request, self.right)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allows(request, self.right, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return allows(request, self.change_right)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allows(request, self.change_right, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allows(request, self.change_right, obj)

    def allows(self, request: HttpRequest, right: Right, row: Any) -> bool:
        if isinstance(row, str | int):  # unfold's actions hand over the row's id
            found = self.get_object(request, str(row))
            return found is not None and allows(request, right, found)
        return allows(request, right, row)

    def response_action(self, request: HttpRequest, queryset: "models.QuerySet[Any]") -> HttpResponse | None:
        """Actions get the rows that may be changed: who builds in one workspace may only look into another."""
        changeable = own_rows(queryset, request.user, self.change_right)
        chosen = queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        if not request.user.is_superuser and (left_out := chosen.exclude(pk__in=changeable.values("pk")).count()):
            messages.warning(request, f"{left_out} left out: your role in their workspace does not allow this.")
        return super().response_action(request, changeable)


class WithItsParent(OwnChoices):
    """An inline whose rows are in the hands of those who have the row above them."""

    if TYPE_CHECKING:
        admin_site: admin.AdminSite
        parent_model: type[models.Model]

    @property
    def above(self) -> Any:
        return self.admin_site.get_model_admin(self.parent_model)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.above.has_view_permission(request, obj))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.above.has_change_permission(request, obj))

    has_change_permission = has_delete_permission = has_add_permission


class TabularRows(WithItsParent, TabularInline):
    """A table of rows below the row that they belong to."""


class StackedRows(WithItsParent, StackedInline):
    """Forms of rows below the row that they belong to."""


class ReadOnly:
    """Rows that nobody writes by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ForSuperusers(ModelAdmin):
    """What belongs to the whole installation."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser
