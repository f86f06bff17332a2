"""The database and the first credentials of an installation; the second start finds everything there."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.core.management import call_command

from accounts_app.actions import create_first_api_key, create_first_operator
from accounts_app.models import APIKey
from pipelines_app.actions import ensure_demo_agent

PASSWORD_FILE = "admin-password"
KEY_FILE = "api-key"


@dataclass(frozen=True, slots=True)
class FirstCredentials:
    """What this start has drawn, to be shown once; empty when it was there already, or was given."""

    password: str = ""
    api_key: str = ""


def prepare_database(environ: Mapping[str, str], data_dir: Path) -> FirstCredentials:
    """Migrate, and create what the first sign-in, the first API call and the first call need."""
    call_command("migrate", interactive=False, verbosity=0)
    password = first_secret(
        data_dir / PASSWORD_FILE,
        given=environ.get("MESHAG_ADMIN_PASSWORD", ""),
        draw=lambda: secrets.token_urlsafe(12),
        create=lambda secret: create_first_operator(password=secret),
    )
    api_key = first_secret(
        data_dir / KEY_FILE,
        given=environ.get("MESHAG_API_KEY", "").strip(),
        draw=lambda: APIKey().draw_secret(),
        create=lambda secret: create_first_api_key(secret=secret),
    )
    ensure_demo_agent()
    return FirstCredentials(password=password, api_key=api_key)


def first_secret(file: Path, *, given: str, draw: Callable[[], str], create: Callable[[str], bool]) -> str:
    """The secret that was drawn and that `create` made use of, else nothing. The file holds the one that is in use."""
    kept = file.read_text().strip() if file.exists() else ""
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


def write_secret(file: Path, secret: str) -> None:
    """Only the user who runs us can read it."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(f"{secret}\n")
