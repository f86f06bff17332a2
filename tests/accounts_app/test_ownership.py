"""Owners make and unmake owners, and a workspace keeps one."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts_app.models import Membership, Role, User, Workspace
from accounts_app.ownership import BY_OWNERS, ONE_STAYS
from tests.world import make_member, signed_in

MEMBERSHIP = "admin:accounts_app_membership_"


def staff(person: User) -> Client:
    person.is_staff = True
    person.save()
    return signed_in(person)


@pytest.fixture
def admin(workspace: Workspace) -> Client:
    return staff(make_member(workspace, "admin-of-bicycles", Role.ADMIN))


def give(client: Client, membership: Membership, role: Role) -> str:
    page = client.post(reverse(f"{MEMBERSHIP}change", args=[membership.pk]), {"role": role}, follow=True)
    membership.refresh_from_db()
    return page.content.decode()


def test_an_admin_makes_no_owner(admin: Client, owner: User, teammate: User) -> None:
    membership = teammate.memberships.get()
    assert BY_OWNERS in give(admin, membership, Role.OWNER) and membership.role == Role.VIEWER
    give(admin, membership, Role.BUILDER)
    assert membership.role == Role.BUILDER


def test_an_admin_unmakes_no_owner(admin: Client, owner: User, workspace: Workspace) -> None:
    make_member(workspace, "second", Role.OWNER)
    membership = owner.memberships.get()
    assert BY_OWNERS in give(admin, membership, Role.VIEWER) and membership.role == Role.OWNER
    admin.post(reverse(f"{MEMBERSHIP}delete", args=[membership.pk]), {"post": "yes"})
    assert owner.memberships.exists()


def test_an_owner_makes_another(owner: User, teammate: User) -> None:
    membership = teammate.memberships.get()
    give(staff(owner), membership, Role.OWNER)
    assert membership.role == Role.OWNER


def test_the_last_owner_stays(operator: User, owner: User) -> None:
    client, membership = signed_in(operator), owner.memberships.get()
    assert ONE_STAYS in give(client, membership, Role.ADMIN) and membership.role == Role.OWNER
    page = client.post(reverse(f"{MEMBERSHIP}delete", args=[membership.pk]), {"post": "yes"})
    assert ONE_STAYS in page.content.decode() and owner.memberships.exists()
    client.post(reverse("admin:accounts_app_user_delete", args=[owner.pk]), {"post": "yes"})
    assert User.objects.filter(pk=owner.pk).exists()


def test_all_owners_do_not_go_at_once(operator: User, owner: User, workspace: Workspace) -> None:
    make_member(workspace, "second", Role.OWNER)
    chosen = list(workspace.memberships.values_list("pk", flat=True))
    form = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    signed_in(operator).post(reverse(f"{MEMBERSHIP}changelist"), form)
    assert workspace.memberships.count() == 2


def members_form(workspace: Workspace, **roles: str) -> dict[str, object]:
    """The workspace's page with these people's roles."""
    rows: dict[str, object] = {"name": workspace.name, "retention_days": ""}
    rows |= {"memberships-TOTAL_FORMS": len(roles), "memberships-INITIAL_FORMS": len(roles)}
    for number, (name, role) in enumerate(roles.items()):
        membership = workspace.memberships.get(user__username=name)
        fields = {"id": membership.pk, "workspace": workspace.pk, "user": membership.user_id, "role": role}
        rows |= {f"memberships-{number}-{field}": value for field, value in fields.items()}
    return rows


@pytest.mark.parametrize(
    ("mine", "theirs", "owners"), [("viewer", "owner", {"teammate"}), ("viewer", "viewer", {"owner"})]
)
def test_a_workspace_is_handed_over(
    owner: User, teammate: User, workspace: Workspace, mine: str, theirs: str, owners: set[str]
) -> None:
    form = members_form(workspace, owner=mine, teammate=theirs)
    staff(owner).post(reverse("admin:accounts_app_workspace_change", args=[workspace.pk]), form)
    assert set(workspace.memberships.filter(role=Role.OWNER).values_list("user__username", flat=True)) == owners


def test_an_admin_does_not_become_an_owner(admin: Client, owner: User, workspace: Workspace) -> None:
    """By that owner's password."""
    assert not User.objects.get(username="admin-of-bicycles").may_change(owner)
    assert make_member(workspace, "second", Role.OWNER).may_change(owner)
