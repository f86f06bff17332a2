import json
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pytest_django import Settings

from accounts_app.models import Workspace
from connectors_app.actions import keep_credential, rotate_credentials
from connectors_app.models import Credential, validate_base_url
from connectors_app.sealing import CannotOpen, Sealing, draw_key

pytestmark = pytest.mark.django_db
SECRET = "dg-secret-of-the-bicycle-shop-a1b2"


def make_credential(workspace: Workspace, key: str = SECRET, **fields: Any) -> Credential:
    credential = Credential(workspace=workspace, **{"provider": "deepgram", "name": "Main", **fields})
    keep_credential(credential=credential, key=key)
    return credential


def opened(credential: Credential, settings: Settings) -> dict[str, str]:
    sealing: Sealing = settings.CREDENTIAL_SEALING
    return sealing.open(credential.workspace.slug, credential.provider, credential.sealed)


def test_no_column_holds_the_key(workspace: Workspace) -> None:
    make_credential(workspace)
    row = Credential.objects.values().get()
    assert SECRET not in str(row) and row["hint"] == "a1b2"


def test_the_seal_holds_address_and_settings(workspace: Workspace, settings: Settings) -> None:
    more = {"AZURE_SPEECH_REGION": "westeurope"}
    azure = make_credential(workspace, provider="azure", base_url="https://speech.example.com", more_settings=more)
    assert opened(azure, settings) == {
        "AZURE_SPEECH_KEY": SECRET,
        "AZURE_SPEECH_BASE_URL": "https://speech.example.com",
        **more,
    }


def test_a_short_key_gives_no_hint(workspace: Workspace) -> None:
    assert "ends in" not in make_credential(workspace, key="short-key").told


def test_without_a_new_key_the_old_one_stays(workspace: Workspace, settings: Settings) -> None:
    credential = make_credential(workspace)
    credential.base_url = "https://deepgram.example.com"
    keep_credential(credential=credential)
    kept = opened(Credential.objects.get(), settings)
    assert kept == {"DEEPGRAM_API_KEY": SECRET, "DEEPGRAM_BASE_URL": "https://deepgram.example.com"}


def test_one_credential_of_a_provider_is_in_use(workspace: Workspace, other_workspace: Workspace) -> None:
    first, elsewhere = make_credential(workspace), make_credential(other_workspace)
    second = make_credential(workspace, name="Trial")
    assert set(Credential.objects.in_use()) == {second, elsewhere}
    assert not Credential.objects.get(pk=first.pk).is_active


def test_a_named_one_is_used_though_aside(workspace: Workspace, other_workspace: Workspace) -> None:
    billing = make_credential(workspace, name="Billing")
    main, foreign = make_credential(workspace), make_credential(other_workspace, name="Of the boats")
    sealed_for = Credential.objects.sealed_for
    assert sealed_for("bicycles", ["deepgram"]) == {"deepgram": main.sealed}
    assert sealed_for("bicycles", ["deepgram"], {"deepgram": "Billing"}) == {"deepgram": billing.sealed}
    assert sealed_for("bicycles", ["deepgram"], {"deepgram": foreign.name}) == {"deepgram": ""}
    assert sealed_for("bicycles", ["deepgram"], {"openai": "not asked for"}) == {"deepgram": main.sealed}


def test_the_database_keeps_two_from_being_used(workspace: Workspace) -> None:
    make_credential(workspace)
    with pytest.raises(IntegrityError):
        Credential.objects.create(workspace=workspace, provider="deepgram", name="Trial", sealed="-")


@pytest.mark.parametrize(
    "address",
    ["ftp://x.example", "https://", "https://me:pw@x.example", "https://x.example?a=b", "https://a b.example"],
)
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="such as https://models.example.com/v1"):
        validate_base_url(address)


# -- rotation --------------------------------------------------------------------------------------------


def test_rotation_leaves_no_need_for_the_old_key(workspace: Workspace, settings: Settings) -> None:
    older, newer = draw_key(), draw_key()
    settings.CREDENTIAL_SEALING = Sealing([older])
    make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([newer, older])
    assert (rotate_credentials().renewed, rotate_credentials().renewed) == (1, 0)
    settings.CREDENTIAL_SEALING = Sealing([newer])
    assert opened(Credential.objects.get(), settings) == {"DEEPGRAM_API_KEY": SECRET}


OLDER = {"DEEPGRAM_API_KEY": SECRET}


def make_older(workspace: Workspace, settings: Settings) -> Credential:
    """As they were sealed when a seal named no workspace."""
    settings.CREDENTIAL_SEALING = Sealing([key := draw_key()])
    credential = make_credential(workspace)
    credential.sealed = Fernet(key).encrypt(json.dumps(["deepgram", OLDER]).encode()).decode()
    credential.save()
    return credential


def test_rotation_names_the_workspace_in_older_seals(workspace: Workspace, settings: Settings) -> None:
    assert "names no workspace" in make_older(workspace, settings).why_shut()
    assert (rotate_credentials().renewed, rotate_credentials().renewed) == (1, 0)
    assert opened(Credential.objects.get(), settings) == OLDER


def test_the_migration_keeps_credentials_working(
    workspace: Workspace, other_workspace: Workspace, settings: Settings
) -> None:
    make_older(workspace, settings)
    lost = Credential.objects.create(workspace=other_workspace, provider="deepgram", name="Lost", sealed="-")
    migration = import_module("connectors_app.migrations.0002_seals_name_their_workspace")
    migration.name_the_workspace(apps, None)
    assert opened(Credential.objects.exclude(pk=lost.pk).get(), settings) == OLDER
    assert Credential.objects.get(pk=lost.pk).sealed == "-"


def test_the_rotation_command_tells_what_it_did(workspace: Workspace, settings: Settings) -> None:
    older, newer = draw_key(), draw_key()
    settings.CREDENTIAL_SEALING = Sealing([older])
    make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([newer, older])
    make_credential(workspace, name="Trial")
    call_command("rotate_credentials", stdout=(said := StringIO()))
    assert said.getvalue() == "1 credentials sealed anew, 1 had the newest key already\n"


def test_rotation_names_what_no_key_opens(workspace: Workspace, settings: Settings) -> None:
    make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([draw_key()])
    with pytest.raises(CommandError, match=r"1 cannot be opened: bicycles: Main \(deepgram\)"):
        call_command("rotate_credentials", stdout=StringIO())


def test_a_lost_key_keeps_the_name_changeable(workspace: Workspace, settings: Settings) -> None:
    credential = make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([draw_key()])
    assert credential.told.startswith("cannot be used: it was sealed with a key that is not in MESHAG_CREDENTIAL_KEYS")
    with pytest.raises(CannotOpen):
        keep_credential(credential=credential)
    credential.name = "Lost"
    keep_credential(credential=credential, reseal=False)
    assert Credential.objects.get().name == "Lost"
