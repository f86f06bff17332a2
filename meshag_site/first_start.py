"""The database and the first credentials of an installation; the second start finds everything there."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from django.core.management import call_command

from accounts_app.actions import FIRST_OPERATOR, create_first_api_key, create_first_operator, ensure_default_workspace
from accounts_app.models import APIKey, User, digest
from mesh.environment import Environment
from pipelines_app.actions import ensure_assistant_agent, ensure_demo_agent, ensure_pipelines

PASSWORD_FILE = "admin-password"
KEY_FILE = "api-key"


@dataclass(frozen=True, slots=True)
class GivenCredentials:
    """The first password and key that the operator has set; empty: drawn."""

    password: str = ""
    api_key: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Raises BadSetting."""
        env = Environment(environ)
        return cls(password=env.text("MESHAG_ADMIN_PASSWORD"), api_key=env.text("MESHAG_API_KEY"))


@dataclass(frozen=True, slots=True)
class FirstCredentials:
    """What this start has drawn, to be shown once; empty when it was there already, or was given."""

    password: str = ""
    api_key: str = ""
    notices: tuple[str, ...] = ()
    """What was given and has not, or not only, the effect that one may expect."""


def prepare_database(given: GivenCredentials, data_dir: Path) -> FirstCredentials:
    """Migrate, and create what the first sign-in, the first API call and the first call need.

    Raises ValueError when the given key cannot be one.
    """
    call_command("migrate", interactive=False, verbosity=0)
    notices = [_key_notice(given.api_key)]
    password = first_secret(
        data_dir / PASSWORD_FILE,
        given=given.password,
        draw=lambda: secrets.token_urlsafe(12),
        create=lambda secret: create_first_operator(password=secret),
    )
    api_key = first_secret(
        data_dir / KEY_FILE,
        given=given.api_key,
        draw=lambda: APIKey().draw_secret(),
        create=lambda secret: create_first_api_key(secret=secret),
    )
    ensure_demo_agent()
    ensure_pipelines(workspace=ensure_default_workspace())
    if Environment(os.environ).text("OPENAI_API_KEY"):
        ensure_assistant_agent()
    notices.append(_password_notice(given.password, data_dir / PASSWORD_FILE))
    return FirstCredentials(password=password, api_key=api_key, notices=tuple(filter(None, notices)))


def _password_notice(given: str, file: Path) -> str:
    if not given or _kept(file) == given:
        return ""
    operator = User.objects.filter(username=FIRST_OPERATOR).first()
    if operator and operator.check_password(given):
        return ""
    return (
        f"MESHAG_ADMIN_PASSWORD is read at the first start only, and is not the password of {FIRST_OPERATOR}: "
        f"to change that, run `.venv/bin/python manage.py changepassword {FIRST_OPERATOR}`"
    )


def _key_notice(given: str) -> str:
    """Asked before the key is created."""
    its = APIKey.objects.filter(secret_hash=digest(given))
    if not given or its.valid().exists():
        return ""
    if its.exists():
        return "MESHAG_API_KEY was revoked or has expired, and stays so: set another one"
    if APIKey.objects.valid().exists():
        return "MESHAG_API_KEY is added to the keys that were there, which stay valid: revoke them under /admin/"
    return ""


def first_secret(file: Path, *, given: str, draw: Callable[[], str], create: Callable[[str], bool]) -> str:
    """The secret that was drawn and that `create` made use of, else nothing. The file holds the one that is in use."""
    kept = _kept(file)
    secret = given or kept or draw()
    is_used = False
    if not kept:
        write_secret(file, secret)
    try:
        is_used = create(secret)
    finally:
        if not is_used and not kept:
            file.unlink()
    if is_used and kept != secret:
        write_secret(file, secret)
    return secret if is_used and not given else ""


def _kept(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def write_secret(file: Path, secret: str) -> None:
    """Only the user who runs us can read it."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(f"{secret}\n")
