from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, Membership, Right, Role, User, Workspace
from tests.world import make_member


@pytest.fixture
def drawn(workspace: Workspace) -> tuple[APIKey, str]:
    return create_api_key(workspace=workspace, name="CRM")


# -- workspaces ------------------------------------------------------------------------------------------


def test_members_see_their_own_workspace(owner: User, teammate: User, stranger: User) -> None:
    assert [workspace.slug for workspace in Workspace.objects.for_user(owner)] == ["bicycles"]
    assert [workspace.slug for workspace in Workspace.objects.for_user(teammate)] == ["bicycles"]
    assert [workspace.slug for workspace in Workspace.objects.for_user(stranger)] == ["boats"]


def test_nobody_signed_in_sees_nothing(owner: User) -> None:
    assert not Workspace.objects.for_user(AnonymousUser()).exists()
    assert not APIKey.objects.for_user(AnonymousUser()).exists()


def test_a_dismissed_member_sees_nothing(owner: User) -> None:
    owner.is_active = False
    assert not Workspace.objects.for_user(owner).exists()


def test_keys_stay_in_their_workspace(drawn: tuple[APIKey, str], owner: User, stranger: User) -> None:
    key, _ = drawn
    assert list(APIKey.objects.for_user(owner)) == [key]
    assert not APIKey.objects.for_user(stranger).exists()
    assert not APIKey.objects.for_workspace(Workspace.objects.get(slug="boats")).exists()


def test_a_person_joins_a_workspace_once(owner: User, workspace: Workspace) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        Membership.objects.create(user=owner, workspace=workspace, role=Role.VIEWER)


def test_the_database_refuses_unknown_roles(workspace: Workspace) -> None:
    with pytest.raises(IntegrityError, match="membership_role_is_known"):
        make_member(workspace, "guest", "emperor")  # type: ignore[arg-type]


# -- API keys --------------------------------------------------------------------------------------------


def test_a_drawn_key_opens_its_workspace(drawn: tuple[APIKey, str], workspace: Workspace) -> None:
    key, secret = drawn
    found = APIKey.objects.verify(secret)
    assert found == key
    assert found.workspace == workspace


def test_a_drawn_key_shows_its_prefix(drawn: tuple[APIKey, str]) -> None:
    key, secret = drawn
    assert secret.startswith(f"mag_{key.prefix}_")
    assert len(secret) > 40


def test_only_a_digest_is_kept(drawn: tuple[APIKey, str]) -> None:
    key, secret = drawn
    kept = " ".join(str(value) for value in APIKey.objects.values_list().get(pk=key.pk))
    assert secret not in kept
    assert secret.split("_", 2)[2] not in kept


@pytest.mark.parametrize("change", ["longer", "shorter", "other prefix", "empty", "nul", "not ascii"])
def test_any_other_text_opens_nothing(drawn: tuple[APIKey, str], change: str) -> None:
    _, secret = drawn
    texts = {
        "longer": f"{secret}x",
        "shorter": secret[:-1],
        "other prefix": f"mag_aaaaaaaa_{secret.split('_', 2)[2]}",
        "empty": "",
        "nul": f"{secret}\0",
        "not ascii": "mag_äöüäöüäö_ß",
    }
    assert APIKey.objects.verify(texts[change]) is None


def test_half_a_character_opens_nothing(db: None) -> None:
    assert APIKey.objects.verify("\ud800 is no text at all") is None


def test_a_key_may_be_chosen_freely(workspace: Workspace) -> None:
    key = APIKey(workspace=workspace, name="chosen")
    key.set_secret("mag_but not of our shape, ü")
    key.save()
    assert APIKey.objects.verify("mag_but not of our shape, ü") == key
    assert APIKey.objects.verify("mag_but not of our shape, u") is None


def test_a_revoked_key_opens_nothing(drawn: tuple[APIKey, str]) -> None:
    key, secret = drawn
    key.revoke()
    assert APIKey.objects.verify(secret) is None


def test_an_expired_key_opens_nothing(workspace: Workspace) -> None:
    _, secret = create_api_key(workspace=workspace, name="trial", expires_at=timezone.now() - timedelta(seconds=1))
    assert APIKey.objects.verify(secret) is None


def test_a_key_is_found_in_one_query(
    drawn: tuple[APIKey, str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = drawn
    APIKey.objects.verify(secret)
    with django_assert_num_queries(1):
        found = APIKey.objects.verify(secret)
        assert found is not None and found.workspace.slug == "bicycles"


def test_use_is_noted_to_the_minute(drawn: tuple[APIKey, str]) -> None:
    key, secret = drawn
    before = timezone.now() - timedelta(minutes=2)
    APIKey.objects.filter(pk=key.pk).update(last_used_at=before)
    APIKey.objects.verify(secret)
    key.refresh_from_db()
    assert key.last_used_at is not None and key.last_used_at > before


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.OWNER, {Right.VIEW, Right.RUN, Right.BUILD, Right.MANAGE}),
        (Role.ADMIN, {Right.VIEW, Right.RUN, Right.BUILD, Right.MANAGE}),
        (Role.BUILDER, {Right.VIEW, Right.RUN, Right.BUILD}),
        (Role.OPERATOR, {Right.VIEW, Right.RUN}),
        (Role.VIEWER, {Right.VIEW}),
    ],
)
def test_a_role_has_its_rights(workspace: Workspace, role: Role, rights: set[Right]) -> None:
    member = make_member(workspace, "member", role)
    assert {right for right in Right if Workspace.objects.for_user(member, right).exists()} == rights
