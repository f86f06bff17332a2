"""People, workspaces and keys in the admin."""

from contextlib import nullcontext
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Membership, Right, User, Workspace
from accounts_app.ownership import MembershipForm, MembershipFormSet, check_absence, why_kept
from accounts_app.scoping import WORKSPACE_FILTER, OwnChoices, TabularRows, WithinWorkspaces, own_rows

admin.site.unregister(Group)  # roles in workspaces say who may do what

MEANINGS = {
    "is_active": "Whether they can sign in at all. Take this away instead of deleting somebody who has left.",
    "is_staff": "Whether they can open the admin, where their role in a workspace says what they may do.",
    "is_superuser": "Whether they may do everything, in every workspace.",
}
DRAWN = "drawn"
"""Where a new key's text waits for the answer that shows it, in memory only."""

RIGHTS = ("is_active", "is_staff", "is_superuser")


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


class InOneTransaction(WithinWorkspaces):
    """What an action checks holds until it has acted, as on the other pages."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        with transaction.atomic() if request.method == "POST" else nullcontext():
            return super().changelist_view(request, extra_context)


class PersonForm(UserChangeForm):
    def clean_is_active(self) -> bool:
        stays: bool = self.cleaned_data["is_active"]
        if not stays and self.instance.pk:
            check_absence(self.instance)
        return stays


@admin.register(User)
class UserAdmin(InOneTransaction, DjangoUserAdmin):
    """Without Django's groups and permissions: they have no effect here."""

    form = PersonForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "full_name", "email", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_active"]
    filter_horizontal = []
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": RIGHTS}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    ]

    add_fieldsets = [
        (None, {"fields": ("username", "password1", "password2")}),
        ("Access", {"fields": ("email", "is_staff"), "description": "Workspaces are given on the next page."}),
    ]

    @display(description="name")
    def full_name(self, person: User) -> str:
        return person.get_full_name()

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **settings: Any) -> Any:
        return super().get_form(request, obj, change=change, help_texts=MEANINGS, **settings)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return [*self.readonly_fields, *([] if request.user.is_superuser else RIGHTS)]

    def get_inlines(self, request: HttpRequest, obj: User | None = None) -> Any:
        return [MembershipsOfPerson] if obj and request.user.is_superuser else []

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return super().has_view_permission(request)
        seen: bool = own_rows(User.objects.all(), request.user).filter(pk=obj.pk).exists()
        return seen

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return super().has_change_permission(request)
        return isinstance(request.user, User) and request.user.may_change(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj != request.user and self.has_change_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """With what stands in the way: nobody goes while a workspace has no other owner."""
        *found, protected = super().get_deleted_objects(objs, request)
        memberships = Membership.objects.filter(user__in=objs).values_list("pk", flat=True)
        return *found, protected + why_kept(_person(request), memberships)


class ColleaguesOnly(OwnChoices):
    """Says why somebody may not be among the people to choose from."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not request.user.is_superuser:
            kwargs["help_text"] = "People who are in none of your workspaces are added by a superuser."
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class MembershipRows(ColleaguesOnly, TabularRows):
    model = Membership
    formset = MembershipFormSet

    def get_formset(self, request: HttpRequest, obj: Any = None, **settings: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **settings)
        formset.by = request.user
        return formset


class MembershipsOfPerson(MembershipRows):
    fields = ["workspace", "role"]
    extra = 0
    hide_title = True
    verbose_name_plural = "workspaces"


class Members(MembershipRows):
    fields = ["user", "role"]
    autocomplete_fields = ["user"]
    extra = 0
    hide_title = True
    verbose_name_plural = "members"


@admin.register(Workspace)
class WorkspaceAdmin(WithinWorkspaces):
    list_display = ["name", "slug", "people", "retention", "created_at"]
    search_fields = ["slug", "name"]
    ordering = ["slug"]
    fields = ["name", "slug", "retention_days"]
    inlines = [Members]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(people=Count("memberships", distinct=True))
        return rows

    @admin.display(description="members", ordering="people")
    def people(self, workspace: Any) -> int:
        count: int = workspace.people
        return count

    @admin.display(description="sessions are kept", ordering="retention_days")
    def retention(self, workspace: Workspace) -> str:
        return f"{workspace.retention_days} days" if workspace.retention_days else "for ever"

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> list[str]:
        return ["slug"] if obj else []  # the events of running sessions carry it

    def save_model(self, request: HttpRequest, obj: Workspace, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.retention_days and "retention_days" in form.changed_data and (past := obj.sessions_past_retention()):
            told = "1 session is" if past == 1 else f"{past} sessions are"
            self.message_user(request, f"{told} older and will be deleted within the hour.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser


@admin.register(Membership)
class MembershipAdmin(ColleaguesOnly, InOneTransaction):
    list_display = ["user", "workspace", "role", "created_at"]
    list_filter = ["role", WORKSPACE_FILTER]
    search_fields = ["user__username", "workspace__slug"]
    autocomplete_fields = ["user"]
    list_select_related = ["user", "workspace"]

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> list[str]:
        return ["user", "workspace"] if obj else []

    def get_form(self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **more: Any) -> Any:
        form = type("MembershipForm", (MembershipForm,), {"by": request.user})
        return super().get_form(request, obj, change, **more | {"form": form})

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        *found, protected = super().get_deleted_objects(objs, request)
        return *found, protected + why_kept(_person(request), [membership.pk for membership in objs])


@admin.register(APIKey)
class APIKeyAdmin(WithinWorkspaces):
    """A new key's text is shown once; the digest never."""

    right = Right.MANAGE
    list_display = ["name", "prefix", "workspace", "state", "created_at", "expires_at", "last_used_at"]
    list_filter = [WORKSPACE_FILTER]
    search_fields = ["name", "prefix"]
    list_select_related = ["workspace"]
    readonly_fields = ["prefix", "created_by", "created_at", "last_used_at", "revoked_at"]
    actions = ["revoke"]
    actions_submit_line = ["revoke_this"]

    @display(description="state", label={"in use": "success", "expired": "warning", "revoked": "danger"})
    def state(self, key: APIKey) -> str:
        return key.state

    def get_fields(self, request: HttpRequest, obj: APIKey | None = None) -> Any:
        return ["workspace", "name", "expires_at", *(self.readonly_fields if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: APIKey | None = None) -> Any:
        return ["workspace", *self.readonly_fields] if obj else []

    def save_model(self, request: HttpRequest, obj: APIKey, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        assert isinstance(request.user, User)
        key, secret = create_api_key(workspace=obj.workspace, name=obj.name, by=request.user, expires_at=obj.expires_at)
        obj.pk = key.pk
        obj.refresh_from_db()
        vars(obj)[DRAWN] = secret

    @method_decorator(never_cache)
    def response_add(self, request: HttpRequest, obj: APIKey, post_url_continue: str | None = None) -> HttpResponse:
        """The page itself shows the text: a message would lie in a cookie until it is read."""
        facts = {"title": "Copy the new key", "key": obj, "secret": vars(obj)[DRAWN], "opts": self.opts}
        template = "admin/accounts_app/apikey/drawn.html"
        return TemplateResponse(request, template, self.admin_site.each_context(request) | facts)

    @admin.action(description="Revoke: they stop working within 5 seconds", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[APIKey]) -> None:
        for key in keys:
            key.revoke()

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> Any:
        key = self.get_object(request, str(object_id))
        return [] if key is None or key.revoked_at else super().get_actions_submit_line(request, object_id)  # type: ignore[misc]

    @action(description="Revoke", permissions=["change"])
    def revoke_this(self, request: HttpRequest, key: APIKey) -> None:
        key.revoke()
        self.message_user(request, f"{key} is revoked: it stops working within 5 seconds.")
