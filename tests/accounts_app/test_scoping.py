"""What staff may do in the admin: by the role in the row's workspace, and in no other."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.test import Client

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Membership, Role, User, Workspace
from connectors_app.models import Credential
from pipelines_app.actions import import_agent
from pipelines_app.models import Agent
from sessions_app.models import Session
from tests.world import make_document, make_member, signed_in

NO_MEMBERS = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
"""Of the table of members on a workspace's page."""


@pytest.fixture
def staff(stranger: User) -> Client:
    """May do everything that a model permission allows, in the workspace `boats`."""
    stranger.is_staff = True
    stranger.save()
    stranger.user_permissions.set(Permission.objects.all())
    return signed_in(stranger)


def address(model: type[models.Model], tail: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{tail}"


def test_a_stranger_draws_no_foreign_key(staff: Client, workspace: Workspace) -> None:
    page = staff.post(address(APIKey, "add/"), {"workspace": workspace.pk, "name": "mine"})
    assert page.status_code == 200 and not APIKey.objects.exists()


def test_staff_draws_keys_at_home(staff: Client, other_workspace: Workspace) -> None:
    staff.post(address(APIKey, "add/"), {"workspace": other_workspace.pk, "name": "mine"})
    assert APIKey.objects.get().workspace == other_workspace


def test_a_stranger_moves_nothing_elsewhere(staff: Client, workspace: Workspace, other_workspace: Workspace) -> None:
    agent = import_agent(workspace=other_workspace, slug="ferry", document=make_document(), publish=False)
    form = {"workspace": workspace.pk, "slug": "ferry", "name": "Ferry", "capabilities": "[]", "draft": '{"a": 1}'}
    staff.post(address(Agent, f"{agent.pk}/change/"), form)
    agent.refresh_from_db()
    assert agent.workspace == other_workspace


def test_a_stranger_joins_no_workspace(staff: Client, stranger: User, workspace: Workspace) -> None:
    staff.post(address(Membership, "add/"), {"user": stranger.pk, "workspace": workspace.pk, "role": Role.OWNER})
    assert not workspace.memberships.exists()


@pytest.mark.parametrize("right", ["is_superuser", "is_staff"])
def test_staff_gives_nobody_rights(right: str, staff: Client, other_workspace: Workspace, stranger: User) -> None:
    person = make_member(other_workspace, "crew", Role.VIEWER)
    group = Group.objects.create(name="all")
    for user in (person, stranger):
        form = {"username": user.username, "email": "new@example.com", "groups": [group.pk], right: "on"}
        form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "is_active": "on"}
        staff.post(address(User, f"{user.pk}/change/"), form)
        user.refresh_from_db()
        assert user.email == "new@example.com"
        assert not user.is_superuser and not user.groups.exists()
    assert not person.is_staff


@pytest.mark.parametrize("path", ["change/", "password/", "delete/"])
def test_staff_takes_over_no_powerful_person(path: str, staff: Client, other_workspace: Workspace) -> None:
    chief = make_member(other_workspace, "chief", Role.OWNER)
    chief.is_superuser = True
    chief.save()
    form = {"username": "mine", "password1": "vf8-Kd2-pq", "password2": "vf8-Kd2-pq", "post": "yes"}
    assert staff.post(address(User, f"{chief.pk}/{path}"), form).status_code == 403
    chief.refresh_from_db()
    assert chief.username == "chief" and not chief.has_usable_password()


def test_staff_takes_over_nobody_from_elsewhere(staff: Client, other_workspace: Workspace, owner: User) -> None:
    Membership.objects.create(user=owner, workspace=other_workspace)
    assert staff.get(address(User, f"{owner.pk}/change/")).status_code == 200
    assert staff.post(address(User, f"{owner.pk}/password/"), {}).status_code == 403


def test_a_person_that_is_only_seen_keeps_the_hash(staff: Client, other_workspace: Workspace) -> None:
    chief = make_member(other_workspace, "chief", Role.OWNER)
    chief.is_staff = True
    chief.set_password("vf8-Kd2-pq")
    chief.save()
    page = staff.get(address(User, f"{chief.pk}/change/"))
    assert page.status_code == 200 and chief.password not in page.content.decode()


@pytest.mark.parametrize("model", [User, Workspace])
def test_only_superusers_add_people_and_workspaces(model: type[models.Model], staff: Client, operator: User) -> None:
    assert staff.get(address(model, "add/")).status_code == 403
    assert signed_in(operator).get(address(model, "add/")).status_code == 200


def test_a_workspace_keeps_its_slug(operator: User, workspace: Workspace) -> None:
    form = {"slug": "renamed", "name": "New name", **NO_MEMBERS}
    signed_in(operator).post(address(Workspace, f"{workspace.pk}/change/"), form)
    workspace.refresh_from_db()
    assert (workspace.slug, workspace.name) == ("bicycles", "New name")


def colleague(workspace: Workspace, role: Role) -> Client:
    """Staff without a single permission of Django's."""
    person = make_member(workspace, f"staff-{role}", role)
    person.is_staff = True
    person.save()
    return signed_in(person)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("model", [Agent, Membership, Session])
def test_every_role_sees_its_workspace(workspace: Workspace, agent: Agent, role: Role, model: type[Any]) -> None:
    assert colleague(workspace, role).get(address(model)).status_code == 200


@pytest.mark.parametrize(("role", "status"), [(Role.ADMIN, 200), (Role.BUILDER, 403), (Role.VIEWER, 403)])
@pytest.mark.parametrize("model", [APIKey, Credential])
def test_keys_are_for_who_manages(workspace: Workspace, role: Role, status: int, model: type[Any]) -> None:
    staff = colleague(workspace, role)
    assert staff.get(address(model)).status_code == status
    assert staff.get(address(model, "add/")).status_code == status


@pytest.mark.parametrize(("role", "status"), [(Role.OWNER, 200), (Role.BUILDER, 200), (Role.OPERATOR, 403)])
def test_agents_are_added_by_builders(workspace: Workspace, role: Role, status: int) -> None:
    assert colleague(workspace, role).get(address(Agent, "add/")).status_code == status


@pytest.mark.parametrize(("role", "becomes"), [(Role.OWNER, Role.BUILDER), (Role.BUILDER, Role.VIEWER)])
def test_managers_change_members(workspace: Workspace, teammate: User, role: Role, becomes: Role) -> None:
    member = teammate.memberships.get()
    form = {"user": teammate.pk, "workspace": workspace.pk, "role": Role.BUILDER}
    colleague(workspace, role).post(address(Membership, f"{member.pk}/change/"), form)
    member.refresh_from_db()
    assert member.role == becomes


@pytest.mark.parametrize(("role", "name"), [(Role.OWNER, "New name"), (Role.OPERATOR, "Bicycles")])
def test_managers_rename_their_workspace(workspace: Workspace, role: Role, name: str) -> None:
    form = {"name": "New name", **NO_MEMBERS}
    colleague(workspace, role).post(address(Workspace, f"{workspace.pk}/change/"), form)
    workspace.refresh_from_db()
    assert workspace.name == name


def test_members_are_added_on_the_workspace(operator: User, workspace: Workspace, stranger: User) -> None:
    form = {"name": "Bicycles", **NO_MEMBERS, "memberships-TOTAL_FORMS": 1}
    form |= {"memberships-0-user": stranger.pk, "memberships-0-role": Role.VIEWER}
    signed_in(operator).post(address(Workspace, f"{workspace.pk}/change/"), form)
    assert workspace.memberships.get().user == stranger


def test_a_role_counts_in_its_own_workspace(staff: Client, stranger: User, workspace: Workspace) -> None:
    """Owner in one, viewer in the other: the other's rows are listed, and stay as they are."""
    Membership.objects.create(user=stranger, workspace=workspace, role=Role.VIEWER)
    own, _ = create_api_key(workspace=stranger.memberships.exclude(workspace=workspace).get().workspace, name="own")
    foreign = import_agent(workspace=workspace, slug="shop", document=make_document(), publish=False)
    form = {"action": "publish", "_selected_action": [foreign.pk]}
    page = staff.post(address(Agent), form, follow=True)
    assert "1 left out" in page.content.decode()
    foreign.refresh_from_db()
    assert foreign.published is None
    assert staff.get(address(APIKey, f"{own.pk}/change/")).status_code == 200


def test_viewers_take_over_nobody(workspace: Workspace, owner: User) -> None:
    staff = colleague(workspace, Role.VIEWER)
    assert staff.get(address(User, f"{owner.pk}/change/")).status_code == 200
    assert staff.get(address(User, f"{owner.pk}/password/")).status_code == 403


def test_nobody_deletes_themselves(staff: Client, stranger: User) -> None:
    assert staff.post(address(User, f"{stranger.pk}/delete/"), {"post": "yes"}).status_code == 403
