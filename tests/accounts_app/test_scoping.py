"""Staff of one workspace, with every permission, in front of another workspace's rows in the admin."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.test import Client

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Membership, Role, User, Workspace
from pipelines_app.actions import import_agent
from pipelines_app.models import Agent
from sessions_app.models import Incident, Session, TranscriptEntry, Turn, Usage
from tests.world import make_document, make_member, signed_in

APPS = ("accounts_app", "pipelines_app", "sessions_app")
INSTALLATION = ["auth/group", "sessions_app/bridgecursor"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def staff(stranger: User) -> Client:
    """May do everything that a model permission allows, in the workspace `boats`."""
    stranger.is_staff = True
    stranger.save()
    stranger.user_permissions.set(Permission.objects.all())
    return signed_in(stranger)


@pytest.fixture
def rows(workspace: Workspace, owner: User) -> dict[type[models.Model], models.Model]:
    """One row of every owned model, in the workspace `bicycles`."""
    agent = import_agent(workspace=workspace, slug="shop", document=make_document(), publish=True)
    session = Session.objects.create(id="s1", workspace=workspace, transport="websocket", created_at=NOW)
    of_session: dict[str, Any] = {"workspace": workspace, "session": session}
    event: dict[str, Any] = {**of_session, "event_id": "e", "at": NOW}
    return {
        type(row): row
        for row in (
            *(workspace, owner, owner.memberships.get(), create_api_key(workspace=workspace, name="CRM")[0]),
            *(agent, agent.versions.get(), session),
            Turn.objects.create(**of_session, number=1, started_at=NOW),
            TranscriptEntry.objects.create(**event, sequence=1, speaker="caller", text="hi"),
            Usage.objects.create(**event, role="llm", provider="p", unit="tokens", quantity=1),
            Incident.objects.create(**event, kind="reply.failed", role="llm"),
        )
    }


def owned_models() -> list[type[models.Model]]:
    found = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    return [model for model in found if f"{model._meta.app_label}/{model._meta.model_name}" not in INSTALLATION]


def address(model: type[models.Model], tail: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{tail}"


@pytest.mark.parametrize("model", owned_models())
def test_a_stranger_lists_no_foreign_row(
    model: type[models.Model], staff: Client, rows: dict[type[models.Model], models.Model]
) -> None:
    page = staff.get(address(model))
    assert page.status_code == 200
    assert rows[model] not in page.context["cl"].queryset
    assert "bicycles" not in page.content.decode()


@pytest.mark.parametrize("verb", ["change", "delete", "history"])
@pytest.mark.parametrize("model", owned_models())
def test_a_stranger_opens_no_foreign_row(
    model: type[models.Model], verb: str, staff: Client, rows: dict[type[models.Model], models.Model]
) -> None:
    answer = staff.post(address(model, f"{rows[model].pk}/{verb}/"), {"post": "yes"})
    assert answer.status_code in (302, 403, 405)
    assert model._default_manager.filter(pk=rows[model].pk).exists()
    assert staff.get(address(model, f"{rows[model].pk}/{verb}/")).status_code in (302, 403)


@pytest.mark.parametrize("model", owned_models())
def test_a_superuser_lists_every_row(
    model: type[models.Model], operator: User, rows: dict[type[models.Model], models.Model]
) -> None:
    assert rows[model] in signed_in(operator).get(address(model)).context["cl"].queryset


@pytest.mark.parametrize("page", INSTALLATION)
def test_the_installation_is_for_superusers(page: str, staff: Client, operator: User) -> None:
    assert staff.get(f"/admin/{page}/").status_code == 403
    assert signed_in(operator).get(f"/admin/{page}/").status_code == 200


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
    form = {"slug": "renamed", "name": "New name"}
    signed_in(operator).post(address(Workspace, f"{workspace.pk}/change/"), form)
    workspace.refresh_from_db()
    assert (workspace.slug, workspace.name) == ("bicycles", "New name")
