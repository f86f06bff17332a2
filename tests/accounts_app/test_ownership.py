"""Owners make and unmake owners, and a workspace keeps one."""

from collections.abc import Callable
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from accounts_app import ownership
from accounts_app.models import Membership, Role, User, Workspace
from accounts_app.ownership import BY_OWNERS, ONE_STAYS, check_owners
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


def deactivate(client: Client, person: User) -> str:
    fields = {"username": person.username, "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    rows = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    page = client.post(reverse("admin:accounts_app_user_change", args=[person.pk]), fields | rows, follow=True)
    person.refresh_from_db()
    return page.content.decode()


def test_the_last_owner_is_not_shut_out(operator: User, owner: User, teammate: User, workspace: Workspace) -> None:
    client = signed_in(operator)
    assert ONE_STAYS in deactivate(client, owner) and owner.is_active
    deactivate(client, teammate)
    assert not teammate.is_active
    make_member(workspace, "second", Role.OWNER)
    deactivate(client, owner)
    assert not owner.is_active


def test_an_owner_who_cannot_sign_in_does_not_count(operator: User, owner: User, workspace: Workspace) -> None:
    second = make_member(workspace, "second", Role.OWNER)
    deactivate(signed_in(operator), second)
    assert ONE_STAYS in give(signed_in(operator), owner.memberships.get(), Role.ADMIN)
    assert owner.memberships.get().role == Role.OWNER


def step_down(client: Client, membership: Membership) -> None:
    give(client, membership, Role.ADMIN)


def remove(client: Client, membership: Membership) -> None:
    form = {"action": "delete_selected", "_selected_action": [membership.pk], "post": "yes"}
    client.post(reverse(f"{MEMBERSHIP}changelist"), form)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("go", [step_down, remove])
def test_of_two_owners_who_go_together_one_stays(
    go: Callable[[Client, Membership], None], owner: User, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other between the check and the change, as long as the other can come."""
    second, both = make_member(workspace, "second", Role.OWNER), Barrier(2)

    def checked(*about: Any) -> None:
        check_owners(*about)
        with suppress(BrokenBarrierError):
            both.wait(0.3)

    def leave(client: Client, membership: Membership) -> None:
        go(client, membership)
        connections.close_all()

    monkeypatch.setattr(ownership, "check_owners", checked)
    threads = [Thread(target=leave, args=(staff(one), one.memberships.get())) for one in (owner, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert workspace.memberships.filter(role=Role.OWNER).count() == 1


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
