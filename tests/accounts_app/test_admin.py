import re

import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Role, User, Workspace
from tests.world import make_member, signed_in

LISTS = ["user", "workspace", "membership", "apikey"]


@pytest.mark.parametrize("name", LISTS)
def test_operators_see_every_list(operator: User, owner: User, name: str) -> None:
    assert signed_in(operator).get(reverse(f"admin:accounts_app_{name}_changelist")).status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_owners_do_not_see_the_admin(owner: User, name: str) -> None:
    assert signed_in(owner).get(reverse(f"admin:accounts_app_{name}_changelist")).status_code == 403


@pytest.mark.parametrize("name", ["membership", "apikey"])
def test_lists_do_not_grow_in_queries(
    operator: User, workspace: Workspace, name: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        make_member(workspace, f"member-{number}", Role.VIEWER)
        create_api_key(workspace=workspace, name=f"key {number}")
    client = signed_in(operator)
    with django_assert_num_queries(6):
        client.get(reverse(f"admin:accounts_app_{name}_changelist"))


def test_a_new_key_is_shown_once(operator: User, workspace: Workspace) -> None:
    client = signed_in(operator)
    form = {"workspace": workspace.pk, "name": "CRM"}
    shown = client.post(reverse("admin:accounts_app_apikey_add"), form, follow=True).content.decode()
    secret = re.search(r"mag_\w{8}_[\w-]+", shown)
    assert secret is not None
    key = APIKey.objects.verify(secret[0])
    assert key is not None and key.created_by == operator
    page = client.get(reverse("admin:accounts_app_apikey_change", args=[key.pk])).content.decode()
    assert secret[0] not in page and key.secret_hash not in page and key.prefix in page


def test_operators_revoke_keys(operator: User, workspace: Workspace) -> None:
    key, secret = create_api_key(workspace=workspace, name="CRM")
    form = {"action": "revoke", "_selected_action": [key.pk]}
    signed_in(operator).post(reverse("admin:accounts_app_apikey_changelist"), form)
    assert APIKey.objects.verify(secret) is None


REVOKE = "accounts_app_apikey_revoke_this"


def test_a_key_is_revoked_on_its_page(owner: User, workspace: Workspace) -> None:
    key, secret = create_api_key(workspace=workspace, name="CRM")
    owner.is_staff = True
    owner.save()
    client, address = signed_in(owner), reverse("admin:accounts_app_apikey_change", args=[key.pk])
    assert f'name="{REVOKE}"' in client.get(address).content.decode()
    page = client.post(address, {"name": "CRM", REVOKE: ""}, follow=True).content.decode()
    assert "within 5 seconds" in page and APIKey.objects.verify(secret) is None
    assert f'name="{REVOKE}"' not in client.get(address).content.decode()


@pytest.mark.parametrize("name", ["membership_add", "workspace_change"])
def test_owners_learn_who_adds_new_people(owner: User, workspace: Workspace, name: str) -> None:
    owner.is_staff = True
    owner.save()
    address = reverse(f"admin:accounts_app_{name}", args=[workspace.pk] if name == "workspace_change" else [])
    assert "are added by a superuser" in signed_in(owner).get(address).content.decode()


def test_operators_add_people(operator: User) -> None:
    client, address = signed_in(operator), reverse("admin:accounts_app_user_add")
    assert 'name="password1"' in client.get(address).content.decode()
    form = {"username": "ada", "password1": "vf8-Kd2-pq", "password2": "vf8-Kd2-pq"}
    page = client.post(address, form | {"email": "ada@example.com", "is_staff": "on"}, follow=True)
    ada = User.objects.get(username="ada")
    assert ada.check_password("vf8-Kd2-pq") and ada.is_staff and ada.email == "ada@example.com"
    assert 'name="memberships-0-role"' in page.content.decode() or "Add another" in page.content.decode()


def test_a_new_keys_page_is_not_kept(operator: User, workspace: Workspace) -> None:
    form = {"workspace": workspace.pk, "name": "CRM"}
    page = signed_in(operator).post(reverse("admin:accounts_app_apikey_add"), form)
    assert page.status_code == 200 and "no-store" in page["Cache-Control"]
    assert not page.cookies.get("messages")


def test_a_revoked_key_says_so(operator: User, workspace: Workspace) -> None:
    create_api_key(workspace=workspace, name="CRM")[0].revoke()
    page = signed_in(operator).get(reverse("admin:accounts_app_apikey_changelist")).content.decode()
    assert "revoked" in page and "in use" not in page


def test_the_only_workspace_is_chosen_already(operator: User, workspace: Workspace) -> None:
    page = signed_in(operator).get(reverse("admin:accounts_app_apikey_add")).content.decode()
    assert f'<option value="{workspace.pk}" selected>' in page
