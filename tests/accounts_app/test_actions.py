from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts_app.actions import create_first_api_key, create_first_operator, forget_expired_logins
from accounts_app.models import APIKey, Membership, Role, User, Workspace

pytestmark = pytest.mark.django_db
CHOSEN = "a key that an operator chose"


def test_the_first_operator_owns_the_default_workspace() -> None:
    assert create_first_operator(password="first password")
    operator = authenticate(username="admin", password="first password")
    assert isinstance(operator, User) and operator.is_superuser
    assert operator.memberships.get(workspace__slug="default").role == Role.OWNER


def test_there_is_one_first_operator() -> None:
    create_first_operator(password="first password")
    assert not create_first_operator(password="second password")
    assert authenticate(username="admin", password="second password") is None


def test_any_user_keeps_the_first_operator_away(owner: User) -> None:
    assert not create_first_operator(password="first password")
    assert not User.objects.filter(username="admin").exists()
    assert Workspace.objects.filter(slug="default").exists()


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(ValueError, match="MESHAG_ADMIN_PASSWORD"):
        create_first_operator(password="")
    assert not User.objects.exists() and not Membership.objects.exists()


def test_the_first_key_opens_the_default_workspace() -> None:
    assert create_first_api_key(secret=CHOSEN)
    key = APIKey.objects.verify(CHOSEN)
    assert key is not None and key.workspace.slug == "default"


def test_the_first_key_is_made_once() -> None:
    create_first_api_key(secret=CHOSEN)
    assert not create_first_api_key(secret=CHOSEN)
    assert APIKey.objects.count() == 1


def test_a_revoked_first_key_stays_revoked() -> None:
    create_first_api_key(secret=CHOSEN)
    APIKey.objects.get().revoke()
    assert not create_first_api_key(secret=CHOSEN)
    assert APIKey.objects.verify(CHOSEN) is None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters, this one has 5"):
        create_first_api_key(secret="short")


def test_expired_logins_are_forgotten() -> None:
    now = timezone.now()
    for key, days in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, expire_date=now + timedelta(days=days))
    forget_expired_logins()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
