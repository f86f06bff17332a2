"""First steps of an installation, the drawing of API keys, and the end of old logins."""

from datetime import datetime
from importlib import import_module

from django.conf import settings
from django.db import transaction

from accounts_app.models import DEFAULT_WORKSPACE, APIKey, Membership, Role, User, Workspace, digest

FIRST_OPERATOR = "admin"


@transaction.atomic
def ensure_default_workspace() -> Workspace:
    return Workspace.objects.get_or_create(slug=DEFAULT_WORKSPACE, defaults={"name": "Default"})[0]


@transaction.atomic
def create_first_operator(*, password: str) -> bool:
    """The user `admin`, owner of the default workspace. False when there is already somebody."""
    if not password:
        raise ValueError("the first operator needs a password; set MESHAG_ADMIN_PASSWORD or leave it unset to draw one")
    workspace = ensure_default_workspace()
    if User.objects.exists():
        return False
    operator = User.objects.create_superuser(FIRST_OPERATOR, password=password)
    Membership.objects.create(user=operator, workspace=workspace, role=Role.OWNER)
    return True


@transaction.atomic
def create_first_api_key(*, secret: str) -> bool:
    """A key of the default workspace with this text. False when the text was ever a key: a revoked one stays revoked.

    Raises ValueError when the text is too short.
    """
    key = APIKey(workspace=ensure_default_workspace(), name="MESHAG_API_KEY")
    key.set_secret(secret)
    if APIKey.objects.filter(secret_hash=digest(secret)).exists():
        return False
    key.save()
    return True


def create_api_key(
    *, workspace: Workspace, name: str, by: User | None = None, expires_at: datetime | None = None
) -> tuple[APIKey, str]:
    """A new key and its text, which cannot be read again."""
    key = APIKey(workspace=workspace, name=name, created_by=by, expires_at=expires_at)
    secret = key.draw_secret()
    key.save()
    return key, secret


def forget_expired_logins() -> None:
    """Browser sessions that nobody can use any longer."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
