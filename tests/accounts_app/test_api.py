"""The API about oneself and the workspaces' keys."""

import pytest
from django.test import Client

from accounts_app.models import APIKey, Membership, Role, User, Workspace
from tests.api import Program, paths, person, program

LISTED = ("agents", "pipelines", "sessions")


def test_a_key_knows_its_workspace(workspace: Workspace) -> None:
    found = program(workspace).get("me").json()
    assert (found["user"], found["key"]) == (None, "Test")
    assert found["workspaces"] == [{"slug": "bicycles", "name": "Bicycles", "rights": ["view", "run", "build"]}]


def test_a_viewer_may_only_view(teammate: User) -> None:
    found = person(teammate).get("me").json()
    assert (found["user"], found["workspaces"][0]["rights"]) == ("teammate", ["view"])


def test_the_other_header_is_the_same_key(workspace: Workspace) -> None:
    asker = program(workspace)
    asker.headers = {"X-API-Key": asker.headers["Authorization"].removeprefix("Bearer ")}
    assert asker.get("me").json()["key"] == "Test"


@pytest.mark.parametrize("path", ["me", "api-keys", *LISTED])
def test_without_credentials_nothing_is_shown(path: str, db: None) -> None:
    answer = Program().get(path)
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["error"]


@pytest.mark.parametrize("key", ["wrong", "\u00fc" * 20, "mag_aaaaaaaa_x", " "])
def test_a_wrong_key_is_refused(key: str, owner: User) -> None:
    asker = person(owner)
    asker.headers = {"Authorization": f"Bearer {key}"}
    assert asker.get("me").status_code == 401


def test_a_revoked_key_is_refused(workspace: Workspace) -> None:
    asker = program(workspace)
    APIKey.objects.get().revoke()
    assert asker.get("me").status_code == 401


def test_a_drawn_key_opens_the_workspace(owner: User) -> None:
    answer = person(owner).post("api-keys", {"name": "Booking"})
    assert answer.status_code == 201
    assert Program(key=answer.json()["secret"]).get("me").json()["key"] == "Booking"


def test_a_key_is_shown_without_its_text(owner: User) -> None:
    drawn = person(owner).post("api-keys", {"name": "Booking"}).json()
    shown = person(owner).get(f"api-keys/{drawn['id']}").json()
    assert "secret" not in shown and shown["prefix"] == drawn["prefix"]
    assert person(owner).get("api-keys").json()["results"] == [shown]


def test_a_revoked_key_stays_in_the_list(owner: User) -> None:
    number = person(owner).post("api-keys", {"name": "Booking"}).json()["id"]
    assert person(owner).ask("DELETE", f"api-keys/{number}").status_code == 204
    assert person(owner).get("api-keys").json()["results"][0]["revoked_at"]


def test_no_key_draws_another(workspace: Workspace) -> None:
    asker = program(workspace)
    assert asker.post("api-keys", {"name": "Booking"}).status_code == 403
    assert asker.get("api-keys").status_code == 403
    assert asker.ask("DELETE", f"api-keys/{APIKey.objects.get().pk}").status_code == 403


def test_a_viewer_draws_no_key(teammate: User) -> None:
    assert person(teammate).post("api-keys", {"name": "Booking"}).status_code == 403
    assert person(teammate).get("api-keys").status_code == 403


def test_a_stranger_finds_no_key(owner: User, stranger: User) -> None:
    number = person(owner).post("api-keys", {"name": "Booking"}).json()["id"]
    assert person(stranger).get(f"api-keys/{number}").status_code == 404
    assert person(stranger).ask("DELETE", f"api-keys/{number}").status_code == 404
    assert person(stranger).get("api-keys").json()["results"] == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "role": "owner"}, "role"),
        ({"name": "a", "workspace": "boats"}, "workspace"),
        ({"name": "a", "expires_at": "soon"}, "expires_at"),
        ([], ""),
    ],
)
def test_a_wrong_field_is_named(body: object, path: str, owner: User) -> None:
    answer = person(owner).post("api-keys", body)
    assert (answer.status_code, paths(answer)) == (422, [path])


def test_who_has_two_workspaces_names_one(owner: User, other_workspace: Workspace) -> None:
    Membership.objects.create(user=owner, workspace=other_workspace, role=Role.OWNER)
    answer = person(owner).post("api-keys", {"name": "Booking"})
    assert (answer.status_code, paths(answer)) == (400, ["workspace"])
    assert "bicycles, boats" in answer.json()["error"]
    named = person(owner).post("api-keys", {"name": "Booking", "workspace": "boats"})
    assert named.json()["workspace"] == "boats"


def test_a_browser_needs_its_token(owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert Program(client).post("api-keys", {"name": "Booking"}).status_code == 403
