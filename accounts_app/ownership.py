"""Who owns a workspace: owners make and unmake owners, and one who can sign in stays.

Checks lock the workspaces that they are about until the transaction's end: of two owners who go at the same moment, the
second finds that the first is gone. (On SQLite the transaction itself is the lock.)
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts_app.models import Membership, Role, User, Workspace

BY_OWNERS = "Only an owner of the workspace gives or takes the role owner."
ONE_STAYS = "A workspace keeps an owner: make somebody else owner first."

Owners: TypeAlias = set[tuple[int | None, int | None]]
"""By the ids of workspace and person."""

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Membership]
    InlineFormSet = forms.BaseInlineFormSet[Membership, Any, ModelForm]
else:
    ModelForm = forms.ModelForm
    InlineFormSet = forms.BaseInlineFormSet


def owners_among(memberships: Iterable[Any]) -> Owners:
    """Of these memberships as they are stored."""
    stored = Membership.objects.filter(pk__in=memberships, role=Role.OWNER)
    return set(stored.values_list("workspace_id", "user_id"))


def check_owners(by: User, before: Owners, after: Owners) -> None:
    """Whether this user may have these owners become those; raises ValidationError."""
    changed = {workspace for workspace, _ in before ^ after}
    _lock(changed)
    own = set(by.memberships.filter(role=Role.OWNER).values_list("workspace_id", flat=True))
    if not by.is_superuser and changed - own:
        raise ValidationError(BY_OWNERS)
    for workspace in {workspace for workspace, _ in before - after}:
        coming = {person for place, person in after if place == workspace}
        others = _owners_of(workspace).exclude(user__in={person for place, person in before if place == workspace})
        if not others.exists() and not User.objects.filter(pk__in=coming, is_active=True).exists():
            raise ValidationError(ONE_STAYS)


def check_absence(person: User) -> None:
    """Whether every workspace does without this owner; raises ValidationError."""
    owned = set(person.memberships.filter(role=Role.OWNER).values_list("workspace_id", flat=True))
    _lock(owned)
    if not all(_owners_of(workspace).exclude(user=person).exists() for workspace in owned):
        raise ValidationError(ONE_STAYS)


def _owners_of(workspace: int | None) -> QuerySet[Membership]:
    """Those who can sign in."""
    return Membership.objects.filter(workspace=workspace, role=Role.OWNER, user__is_active=True)


def _lock(workspaces: Iterable[int | None]) -> None:
    list(Workspace.objects.select_for_update().filter(pk__in=workspaces).order_by("pk"))


def why_kept(by: User, memberships: Iterable[Any]) -> list[str]:
    """Why these memberships may not be deleted."""
    try:
        check_owners(by, owners_among(memberships), set())
    except ValidationError as error:
        return error.messages
    return []


class MembershipForm(ModelForm):
    by: ClassVar[User]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        kept = self.instance if self.instance.pk else None
        workspace, person = (kept.workspace, kept.user) if kept else (data.get("workspace"), data.get("user"))
        if not self.errors and workspace and person:
            after: Owners = {(workspace.pk, person.pk)} if data["role"] == Role.OWNER else set()
            check_owners(self.by, owners_among([kept.pk] if kept else []), after)
        return data


class MembershipFormSet(InlineFormSet):
    """Several at once: who hands the workspace over makes another owner in the same step."""

    by: ClassVar[User]

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        staying = [form for form in self.forms if form not in self.deleted_forms]
        after: Owners = {
            (form.instance.workspace_id, form.instance.user_id)
            for form in staying
            if form.cleaned_data.get("role") == Role.OWNER
        }
        check_owners(self.by, owners_among(form.instance.pk for form in self.initial_forms), after)
