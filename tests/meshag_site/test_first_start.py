"""The first start creates the operator, the key and the demo agent; the second changes nothing."""

import stat
from pathlib import Path

import pytest
from django.utils import timezone

from accounts_app.models import APIKey, User
from mesh.environment import BadSetting
from meshag_site.first_start import KEY_FILE, PASSWORD_FILE, GivenCredentials, first_secret, prepare_database
from pipelines_app.models import Agent

pytestmark = pytest.mark.django_db

OWN_KEY = "a-key-of-the-operators-own-choice-1234"


def test_first_start_draws_the_credentials(tmp_path: Path) -> None:
    first = prepare_database(GivenCredentials(), tmp_path)
    assert User.objects.get(username="admin").check_password(first.password)
    assert APIKey.objects.verify(first.api_key)
    assert Agent.objects.filter(slug="demo").exists()


@pytest.mark.parametrize(("key", "agents"), [("", ["demo"]), ("sk-test", ["assistant", "demo"])])
def test_a_key_for_openai_brings_the_assistant(
    key: str, agents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    prepare_database(GivenCredentials(), tmp_path)
    assert list(Agent.objects.order_by("slug").values_list("slug", flat=True)) == agents


def test_credentials_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    first = prepare_database(GivenCredentials(), tmp_path)
    for name, secret in ((PASSWORD_FILE, first.password), (KEY_FILE, first.api_key)):
        assert (tmp_path / name).read_text() == f"{secret}\n"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_second_start_shows_no_password(tmp_path: Path) -> None:
    prepare_database(GivenCredentials(), tmp_path)
    again = prepare_database(GivenCredentials(), tmp_path)
    assert (again.password, again.api_key) == ("", "")
    assert User.objects.count() == APIKey.objects.count() == 1


def test_credentials_can_be_given(tmp_path: Path) -> None:
    given = GivenCredentials(password="correct horse", api_key=OWN_KEY)
    first = prepare_database(given, tmp_path)
    assert (first.password, first.api_key) == ("", "")
    assert User.objects.get(username="admin").check_password("correct horse")
    assert APIKey.objects.verify(OWN_KEY)


def test_key_given_later_is_added(tmp_path: Path) -> None:
    drawn = prepare_database(GivenCredentials(), tmp_path).api_key
    prepare_database(GivenCredentials(api_key=OWN_KEY), tmp_path)
    assert APIKey.objects.verify(drawn)
    assert (tmp_path / KEY_FILE).read_text() == f"{OWN_KEY}\n"


def test_password_that_nobody_uses_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / PASSWORD_FILE
    assert first_secret(file, given="", draw=lambda: "drawn", create=lambda secret: False) == ""
    assert not file.exists()


def test_key_that_is_refused_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        prepare_database(GivenCredentials(api_key="short"), tmp_path)
    assert not (tmp_path / KEY_FILE).exists()


def test_credentials_can_come_from_files(tmp_path: Path) -> None:
    for name, secret in (("password", "correct horse"), ("key", OWN_KEY)):
        (tmp_path / name).write_text(f"{secret}\n")
    environ = {"MESHAG_ADMIN_PASSWORD_FILE": str(tmp_path / "password"), "MESHAG_API_KEY_FILE": str(tmp_path / "key")}
    prepare_database(GivenCredentials.from_environ(environ), tmp_path)
    assert User.objects.get(username="admin").check_password("correct horse")
    assert APIKey.objects.verify(OWN_KEY)


def test_credentials_file_that_is_missing() -> None:
    with pytest.raises(BadSetting, match="MESHAG_API_KEY_FILE: cannot read '/nowhere'"):
        GivenCredentials.from_environ({"MESHAG_API_KEY_FILE": "/nowhere"})


def test_same_credentials_bring_no_notice(tmp_path: Path) -> None:
    given = GivenCredentials(password="correct horse", api_key=OWN_KEY)
    assert prepare_database(given, tmp_path).notices == ()
    (tmp_path / PASSWORD_FILE).unlink()
    assert prepare_database(given, tmp_path).notices == ()


def test_password_given_later_is_told(tmp_path: Path) -> None:
    prepare_database(GivenCredentials(), tmp_path)
    (notice,) = prepare_database(GivenCredentials(password="correct horse"), tmp_path).notices
    assert notice.startswith("MESHAG_ADMIN_PASSWORD is read at the first start only")
    assert "correct horse" not in notice


def test_second_key_is_told(tmp_path: Path) -> None:
    prepare_database(GivenCredentials(), tmp_path)
    (notice,) = prepare_database(GivenCredentials(api_key=OWN_KEY), tmp_path).notices
    assert "keys that were there, which stay valid" in notice
    assert prepare_database(GivenCredentials(api_key=OWN_KEY), tmp_path).notices == ()


def test_revoked_key_is_told(tmp_path: Path) -> None:
    prepare_database(GivenCredentials(api_key=OWN_KEY), tmp_path)
    APIKey.objects.update(revoked_at=timezone.now())
    (notice,) = prepare_database(GivenCredentials(api_key=OWN_KEY), tmp_path).notices
    assert "MESHAG_API_KEY was revoked" in notice
