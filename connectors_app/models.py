"""The workspaces' own keys for providers: kept sealed, written and never shown."""

from collections.abc import Iterable, Mapping
from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts_app.models import OwnedQuerySet, User, Workspace, validate_slug
from connectors_app import registry
from connectors_app.addresses import address_problem
from connectors_app.base.connector import Connector
from connectors_app.sealing import CannotOpen, Sealing

HINT = 4
LONG_KEY = 20
"""Of shorter ones not even the end is shown."""


def failed_test(passed: bool | None, outcome: str) -> str:
    """What the last test of a credential says against it."""
    return f"its last test failed: {outcome}" if passed is False else ""


def validate_base_url(value: str) -> None:
    if address_problem(value):
        raise ValidationError("Use an address such as https://models.example.com/v1, without a password or a query.")


class CredentialQuerySet(OwnedQuerySet["Credential"]):
    def in_use(self) -> Self:
        return self.filter(is_active=True)

    def sealed_for(
        self, workspace_slug: str, providers: Iterable[str], names: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """By provider, the one that is named, else the one that is in use; empty where there is none of the name."""
        wanted = {provider: name for provider, name in (names or {}).items() if provider in providers}
        rows = self.filter(workspace__slug=workspace_slug, provider__in=providers)
        sealed = dict.fromkeys(wanted, "")
        for provider, name, is_active, value in rows.values_list("provider", "name", "is_active", "sealed"):
            if wanted[provider] == name if provider in wanted else is_active:
                sealed[provider] = value
        return sealed

    def unknown_names(self, workspace: int, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The providers of which the workspace has no credential of this name, with the names that there are."""
        there: dict[str, list[str]] = {provider: [] for provider in names}
        for provider, name in self.filter(workspace=workspace, provider__in=names).values_list("provider", "name"):
            there[provider].append(name)
        return {provider: tuple(there[provider]) for provider, name in names.items() if name not in there[provider]}

    def rivals(self, credential: "Credential") -> Self:
        """The others of the same workspace and provider."""
        own = self.filter(workspace=credential.workspace_id, provider=credential.provider)
        return own.exclude(pk=credential.pk)


class Credential(models.Model):
    """A workspace's key for a provider. The one that is in use comes before the environment's.

    `sealed` holds everything that the provider needs, address and further settings included, and travels as it is;
    the columns beside it are what people may see of it.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="credentials")
    provider = models.CharField(max_length=64, validators=[validate_slug])
    name = models.CharField(max_length=120, help_text="What people call it, such as “Billing account”.")
    sealed = models.TextField(editable=False)
    hint = models.CharField(max_length=HINT, blank=True, editable=False)
    base_url = models.CharField(
        "address", max_length=300, blank=True, validators=[validate_base_url], help_text="Empty: the provider's own."
    )
    more_settings = models.JSONField(default=dict, blank=True, editable=False)
    is_active = models.BooleanField(
        "in use", default=True, help_text="One of a provider is: using this one puts the others aside."
    )
    key_set_at = models.DateTimeField(null=True, editable=False)
    tested_at = models.DateTimeField("last tested", null=True, editable=False)
    test_passed = models.BooleanField(null=True, editable=False)
    test_outcome = models.TextField(blank=True, editable=False)
    """What the provider said, in plain words."""
    created_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = CredentialQuerySet.as_manager()

    class Meta:
        ordering = ["workspace_id", "provider", "-is_active", "name"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "provider", "name"], name="one_credential_per_name"),
            models.UniqueConstraint(
                fields=["workspace", "provider"], condition=Q(is_active=True), name="one_credential_in_use"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.provider})"

    @property
    def connector(self) -> type[Connector] | None:
        """What says which settings there are; None when this version has no such provider."""
        return registry.with_credentials().get(self.provider)

    @property
    def told(self) -> str:
        """All that people get to see of the key."""
        if self.key_set_at is None:
            return "no key"
        if why := self.why_shut():
            return f"cannot be used: {why}"
        ending = f", ends in …{self.hint}" if self.hint else ""
        return f"set {self.key_set_at:%-d %b %Y}{ending}"

    def why_shut(self) -> str:
        """Why what is sealed cannot be opened; empty when it can."""
        try:
            self.opened()
        except CannotOpen as error:
            return str(error)
        return ""

    def named_by(self, name: str = "") -> list[str]:
        """The agents whose published version names it, or another name in its place."""
        wanted = {f"published__config__credentials__{self.provider}": name or self.name}
        return list(self.workspace.agents.filter(**wanted).values_list("name", flat=True))

    def seal(self, key: str = "") -> None:
        """Seal the address and settings as they are now, with this key, else with the one that it has.

        Raises CannotOpen when that cannot be opened any more.
        """
        sealing: Sealing = settings.CREDENTIAL_SEALING
        connector = self.connector
        assert connector is not None
        if key:
            self.hint = key[-HINT:] if len(key) >= LONG_KEY else ""
            self.key_set_at = timezone.now()
        elif self.key_set_at:
            key = self.opened().get(connector.key_setting, "")
        self.sealed = sealing.seal(self.workspace.slug, self.provider, self.values_with(key))
        self.tested_at = self.test_passed = None
        self.test_outcome = ""

    def values_with(self, key: str) -> dict[str, str]:
        """What is sealed of it with this key."""
        connector = self.connector
        assert connector is not None
        values = {connector.key_setting: key, connector.base_url_setting: self.base_url, **self.more_settings}
        return {name: value for name, value in values.items() if value}

    def opened(self) -> dict[str, str]:
        """What is sealed of it. Raises CannotOpen."""
        sealing: Sealing = settings.CREDENTIAL_SEALING
        return sealing.open(self.workspace.slug, self.provider, self.sealed)
