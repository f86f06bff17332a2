"""What happens to credentials: they are kept, tested, and sealed anew when the installation's key changes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts_app.models import Workspace
from connectors_app.models import Credential
from connectors_app.sealing import CannotOpen, Sealing
from connectors_app.trials import Outcome, try_provider

UNSEALED = ("name", "is_active", "updated_at")


@transaction.atomic
def keep_credential(*, credential: Credential, key: str = "", reseal: bool = True) -> None:
    """Save it, sealed with this key or the one that it has; one that is in use puts its rivals aside.

    Raises CannotOpen when the key that it has cannot be opened any more. Not to seal is for what is not in the seal.
    """
    Workspace.objects.select_for_update().get(pk=credential.workspace_id)  # of two at once, the second sees the first
    if key or reseal:
        credential.seal(key)
    if credential.is_active:
        Credential.objects.rivals(credential).update(is_active=False)
    credential.save(update_fields=None if key or reseal else UNSEALED)


def try_credential(*, credential: Credential) -> Outcome:
    """Ask its provider whether it works, and keep what came of it. It takes ten seconds at most."""
    try:
        outcome = try_values(credential=credential, values=credential.opened())
    except CannotOpen as error:
        outcome = Outcome(False, f"The stored key cannot be opened: {error}.")
    unchanged = Credential.objects.filter(pk=credential.pk, sealed=credential.sealed)
    unchanged.update(tested_at=timezone.now(), test_passed=outcome.works, test_outcome=outcome.said)
    return outcome


def try_values(*, credential: Credential, values: Mapping[str, str]) -> Outcome:
    """Ask the provider whether it would work with these; nothing is kept."""
    connector = credential.connector
    if connector is None:
        return Outcome(False, f"This version has no provider “{credential.provider}”.")
    return try_provider(credential.provider, connector.own_settings(values, os.environ), is_own=True)


@dataclass(frozen=True, slots=True)
class Rotation:
    renewed: int
    untouched: int
    """Those that had the newest key already."""
    unreadable: tuple[str, ...]
    """Those that no key opens."""


def rotate_credentials() -> Rotation:
    """Seal every credential with the newest key, for its workspace. One that is changed meanwhile stays as it is."""
    sealing: Sealing = settings.CREDENTIAL_SEALING
    renewed = untouched = 0
    unreadable: list[str] = []
    for credential in Credential.objects.select_related("workspace").order_by("pk"):
        place = credential.workspace.slug, credential.provider
        if sealing.is_current(*place, credential.sealed):
            untouched += 1
            continue
        try:
            sealed = sealing.renew(*place, credential.sealed)
        except CannotOpen:
            unreadable.append(f"{credential.workspace}: {credential}")
        else:
            renewed += Credential.objects.filter(pk=credential.pk, sealed=credential.sealed).update(sealed=sealed)
    return Rotation(renewed, untouched, tuple(unreadable))
