"""The first start creates the operator, the key and the demo agent; the second changes nothing."""

import stat
from pathlib import Path

import pytest

from accounts_app.models import APIKey, User
from meshag_site.first_start import KEY_FILE, PASSWORD_FILE, first_secret, prepare_database
from pipelines_app.models import Agent

pytestmark = pytest.mark.django_db


def test_first_start_draws_the_credentials(tmp_path: Path) -> None:
    first = prepare_database({}, tmp_path)
    assert User.objects.get(username="admin").check_password(first.password)
    assert APIKey.objects.verify(first.api_key)
    assert Agent.objects.filter(slug="demo").exists()


def test_credentials_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    first = prepare_database({}, tmp_path)
    for name, secret in ((PASSWORD_FILE, first.password), (KEY_FILE, first.api_key)):
        assert (tmp_path / name).read_text() == f"{secret}\n"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_second_start_shows_no_password(tmp_path: Path) -> None:
    prepare_database({}, tmp_path)
    again = prepare_database({}, tmp_path)
    assert (again.password, again.api_key) == ("", "")
    assert User.objects.count() == APIKey.objects.count() == 1


def test_credentials_can_be_given(tmp_path: Path) -> None:
    given = {"MESHAG_ADMIN_PASSWORD": "correct horse", "MESHAG_API_KEY": "a-key-of-the-operators-own-choice-1234"}
    first = prepare_database(given, tmp_path)
    assert (first.password, first.api_key) == ("", "")
    assert User.objects.get(username="admin").check_password("correct horse")
    assert APIKey.objects.verify(given["MESHAG_API_KEY"])


def test_key_given_later_is_added(tmp_path: Path) -> None:
    drawn = prepare_database({}, tmp_path).api_key
    prepare_database({"MESHAG_API_KEY": "a-key-of-the-operators-own-choice-1234"}, tmp_path)
    assert APIKey.objects.verify(drawn)
    assert (tmp_path / KEY_FILE).read_text() == "a-key-of-the-operators-own-choice-1234\n"


def test_password_that_nobody_uses_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / PASSWORD_FILE
    assert first_secret(file, given="", draw=lambda: "drawn", create=lambda secret: False) == ""
    assert not file.exists()


def test_key_that_is_refused_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        prepare_database({"MESHAG_API_KEY": "short"}, tmp_path)
    assert not (tmp_path / KEY_FILE).exists()
