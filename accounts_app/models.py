"""Who may do what: users, the workspaces they share, and the keys of programs."""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Self, TypeVar

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

DEFAULT_WORKSPACE = "default"
"""The slug of the workspace that every installation has."""

Row = TypeVar("Row", bound=models.Model, covariant=True)

SHORTEST_KEY = 16
_DRAWN_KEY = re.compile(r"mag_([a-z0-9]{8})_.+", re.ASCII | re.DOTALL)
_USED_AGAIN_AFTER = timedelta(minutes=1)

validate_slug = RegexValidator(r"\A[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z", "Use small letters, digits and inner hyphens.")


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    BUILDER = "builder"
    OPERATOR = "operator"
    VIEWER = "viewer"


class Right(StrEnum):
    VIEW = "view"  # agents, sessions, transcripts
    RUN = "run"  # start, end and speak into sessions
    BUILD = "build"  # change and publish agents and pipelines
    MANAGE = "manage"  # credentials, API keys, members


_ROLES = {
    Right.VIEW: frozenset(Role),
    Right.RUN: frozenset(Role) - {Role.VIEWER},
    Right.BUILD: frozenset({Role.OWNER, Role.ADMIN, Role.BUILDER}),
    Right.MANAGE: frozenset({Role.OWNER, Role.ADMIN}),
}


def roles_with(right: Right) -> frozenset[Role]:
    return _ROLES[right]


class User(AbstractUser):
    """A person. Custom from the first migration on, because it cannot become so later."""

    def colleagues(self) -> models.QuerySet["User"]:
        """Everybody who shares a workspace with this user, who is always among them."""
        fellows = Membership.objects.filter(workspace__in=Workspace.objects.for_user(self))
        return User.objects.filter(Q(pk=self.pk) | Q(pk__in=fellows.values("user")))

    def may_change(self, other: "User") -> bool:
        """Oneself, and who has no rights in the admin and belongs to no workspace besides those that one manages,
        nor owns one that one does not own.

        Who sets somebody's password becomes that person, so nobody with more rights is in other staff's hands.
        """
        if self.is_superuser or other == self:
            return True
        if other.is_superuser or other.is_staff:
            return False
        managed = Workspace.objects.for_user(self, Right.MANAGE)
        owned = managed.filter(memberships__role=Role.OWNER, memberships__user=self)
        held = other.memberships.exclude(Q(role=Role.OWNER) & ~Q(workspace__in=owned))
        within = held.filter(workspace__in=managed)
        return other.memberships.exists() and within.count() == other.memberships.count()


class OwnedQuerySet(models.QuerySet[Row]):
    """Rows that belong to a workspace. `workspace_path` is the way to it where it is not the row's own column."""

    workspace_path: ClassVar[str] = "workspace"

    def for_workspace(self, workspace: "Workspace") -> Self:
        return self.filter(**{self.workspace_path: workspace})

    def for_user(self, user: User | AnonymousUser, right: Right = Right.VIEW) -> Self:
        """What a member of a workspace may see, or do more with. Superusers have the admin for the rest."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        membership = f"{self.workspace_path}__memberships"
        return self.filter(**{f"{membership}__user": user, f"{membership}__role__in": roles_with(right)})


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def for_user(self, user: User | AnonymousUser, right: Right = Right.VIEW) -> Self:
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(memberships__user=user, memberships__role__in=roles_with(right))


class Workspace(models.Model):
    """The owner of everything: agents, sessions and keys belong to a workspace, never to a person."""

    slug = models.CharField(
        "short name",
        max_length=64,
        unique=True,
        validators=[validate_slug],
        help_text="In addresses and events: small letters, digits and hyphens. It stays for ever.",
    )
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)
    retention_days = models.PositiveIntegerField(
        "keep sessions for, in days",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36_500)],
        help_text="Sessions that ended longer ago are deleted with all that was said in them; "
        "what they used stays for the bill. Empty: they are kept for ever.",
    )

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(retention_days=None) | Q(retention_days__gte=1), name="retention_is_a_day_or_more"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    def sessions_past_retention(self) -> int:
        """How many need not be kept any longer."""
        if self.retention_days is None:
            return 0
        before = timezone.now() - timedelta(days=self.retention_days)
        return self.sessions.forgettable(ended_before=before).count()


class MembershipQuerySet(OwnedQuerySet["Membership"]):
    pass


class Membership(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ["workspace_id", "user_id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="one_membership_per_user"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace}: {self.role}"


def digest(secret: str) -> str:
    """Keys are random or long, so a plain hash is enough and quick enough for every request."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def lookup_prefix(secret: str) -> str:
    """What a key is found by: the public part of a drawn key, 32 bits of a digest of one that an operator gave."""
    drawn = _DRAWN_KEY.fullmatch(secret)
    return drawn[1] if drawn else digest(f"prefix:{secret}")[:8]


class APIKeyQuerySet(OwnedQuerySet["APIKey"]):
    def valid(self) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)

    def verify(self, secret: str) -> "APIKey | None":
        """The valid key that has this text, noted as used; None for every other text."""
        wanted = digest(secret)
        for key in self.valid().filter(prefix=lookup_prefix(secret)).select_related("workspace"):
            if hmac.compare_digest(key.secret_hash, wanted):
                key.note_use()
                return key
        return None


class APIKey(models.Model):
    """A program's way into one workspace. Only a digest is kept; the text is shown once, when it is drawn."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120, help_text="What uses the key, such as “Booking system”.")
    prefix = models.CharField(max_length=8, editable=False, db_index=True)
    secret_hash = models.CharField(max_length=64, editable=False, unique=True)
    created_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(
        "expires",
        null=True,
        blank=True,
        help_text="From then on it no longer works. Empty: it works until it is revoked.",
    )
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    def set_secret(self, secret: str) -> None:
        """Take a text that somebody else chose."""
        if len(secret) < SHORTEST_KEY:
            raise ValueError(f"an API key needs at least {SHORTEST_KEY} characters, this one has {len(secret)}")
        self.prefix, self.secret_hash = lookup_prefix(secret), digest(secret)

    def draw_secret(self) -> str:
        """Draw a new text, and return it: it cannot be read again."""
        alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
        secret = f"mag_{''.join(secrets.choice(alphabet) for _ in range(8))}_{secrets.token_urlsafe(32)}"
        self.set_secret(secret)
        return secret

    def note_use(self) -> None:
        """To the minute, so that a busy key does not write at every request."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > _USED_AGAIN_AFTER:
            self.last_used_at = now
            self.save(update_fields=["last_used_at"])

    @property
    def state(self) -> str:
        """As people read it: in use, expired or revoked."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "in use"

    def revoke(self) -> None:
        self.revoked_at = self.revoked_at or timezone.now()
        self.save(update_fields=["revoked_at"])
