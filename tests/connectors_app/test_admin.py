import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from accounts_app.models import Role, User, Workspace
from connectors_app import registry
from connectors_app.models import Credential
from connectors_app.sealing import Sealing, draw_key
from tests.connectors_app.test_credentials import SECRET, make_credential, opened
from tests.world import make_member, signed_in

pytestmark = pytest.mark.django_db
LIST, ADD = "admin:connectors_app_credential_changelist", "admin:connectors_app_credential_add"
CHANGE = "admin:connectors_app_credential_change"


def make_staff(workspace: Workspace, role: Role) -> Client:
    """Staff with every permission on credentials, and the role in the workspace."""
    user = make_member(workspace, f"staff-{role}", role)
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="connectors_app"))
    return signed_in(user)


def form(workspace: Workspace, **changes: Any) -> dict[str, Any]:
    filled = {"workspace": workspace.pk, "provider": "deepgram", "name": "Main", "key": SECRET, "in_use": "on"}
    return filled | changes


def change(client: Client, credential: Credential, **fields: str) -> str:
    filled = {"name": credential.name, "in_use": "on", **fields}
    return client.post(reverse(CHANGE, args=[credential.pk]), filled, follow=True).content.decode()


def test_a_key_is_written_and_never_shown(
    operator: User, workspace: Workspace, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = signed_in(operator)
    shown = client.post(reverse(ADD), form(workspace), follow=True).content.decode()
    credential = Credential.objects.get()
    assert opened(credential, settings) == {"DEEPGRAM_API_KEY": SECRET} and credential.created_by == operator
    shown += client.get(reverse(CHANGE, args=[credential.pk])).content.decode()
    shown += client.get(reverse("admin:connectors_app_credential_history", args=[credential.pk])).content.decode()
    shown += client.get(reverse(LIST)).content.decode() + caplog.text + str(list(LogEntry.objects.values()))
    assert "ends in …a1b2" in shown and SECRET not in shown and credential.sealed not in shown


def test_an_empty_key_keeps_the_old_one(operator: User, workspace: Workspace, settings: Settings) -> None:
    credential = make_credential(workspace)
    change(signed_in(operator), credential, name="Renamed", base_url="https://deepgram.example.com")
    kept = Credential.objects.get()
    assert kept.name == "Renamed" and kept.key_set_at == credential.key_set_at
    assert opened(kept, settings)["DEEPGRAM_API_KEY"] == SECRET
    assert opened(kept, settings)["DEEPGRAM_BASE_URL"] == "https://deepgram.example.com"


def test_a_new_key_replaces_the_old_one(operator: User, workspace: Workspace, settings: Settings) -> None:
    change(signed_in(operator), make_credential(workspace), key="dg-another-key-of-the-shop")
    assert opened(Credential.objects.get(), settings) == {"DEEPGRAM_API_KEY": "dg-another-key-of-the-shop"}


def test_a_refused_form_repeats_no_key(operator: User, workspace: Workspace) -> None:
    page = signed_in(operator).post(reverse(ADD), form(workspace, name="")).content.decode()
    assert "This field is required" in page and SECRET not in page


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\nbreak"])
def test_what_is_no_key_is_refused(operator: User, workspace: Workspace, key: str) -> None:
    page = signed_in(operator).post(reverse(ADD), form(workspace, key=key))
    assert page.context["errors"] and not Credential.objects.exists()


@pytest.mark.parametrize("region", ["", "example.com/#", "West Europe"])
def test_a_region_is_asked_for_and_checked(operator: User, workspace: Workspace, region: str) -> None:
    filled = form(workspace, provider="azure", AZURE_SPEECH_REGION=region)
    page = signed_in(operator).post(reverse(ADD), filled)
    assert "AZURE_SPEECH_REGION" in page.context["adminform"].form.errors


def test_a_region_is_kept_with_the_key(operator: User, workspace: Workspace, settings: Settings) -> None:
    signed_in(operator).post(reverse(ADD), form(workspace, provider="azure", AZURE_SPEECH_REGION="westeurope"))
    wanted = {"AZURE_SPEECH_KEY": SECRET, "AZURE_SPEECH_REGION": "westeurope"}
    assert opened(Credential.objects.get(), settings) == wanted


def test_a_region_of_another_provider_is_refused(operator: User, workspace: Workspace) -> None:
    page = signed_in(operator).post(reverse(ADD), form(workspace, AZURE_SPEECH_REGION="westeurope"))
    errors = page.context["adminform"].form.errors
    assert errors == {"AZURE_SPEECH_REGION": ["Deepgram has no such setting: leave this empty."]}
    assert not Credential.objects.exists()


def test_a_setting_names_its_provider(operator: User, workspace: Workspace) -> None:
    """By this the page shows it when that provider is chosen, and sends it only then."""
    page = signed_in(operator).get(reverse(ADD)).content.decode()
    assert 'data-of="azure"' in page and "connectors_app/credential_form" in page
    kept = make_credential(workspace)
    assert "AZURE_SPEECH_REGION" not in signed_in(operator).get(reverse(CHANGE, args=[kept.pk])).content.decode()


def test_the_newest_in_use_puts_others_aside(operator: User, workspace: Workspace) -> None:
    first = make_credential(workspace)
    signed_in(operator).post(reverse(ADD), form(workspace, name="Trial"))
    assert Credential.objects.in_use().get().name == "Trial"
    change(signed_in(operator), first)
    assert Credential.objects.in_use().get() == first


def test_a_name_is_used_once(operator: User, workspace: Workspace) -> None:
    make_credential(workspace)
    page = signed_in(operator).post(reverse(ADD), form(workspace)).content.decode()
    assert "another credential of this provider with this name" in page


def test_two_at_once_are_told(operator: User, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who saves the same between another's check and save."""
    other = make_credential(workspace)

    def too_late(*, credential: Credential, **_: object) -> None:
        Credential(workspace=workspace, provider=other.provider, name=other.name, sealed="-").save()

    monkeypatch.setattr("connectors_app.admin.keep_credential", too_late)
    page = signed_in(operator).post(reverse(ADD), form(workspace, name="Trial"), follow=True).content.decode()
    assert "Somebody else saved a credential just now" in page and Credential.objects.count() == 1


def test_a_lost_installation_key_is_told(operator: User, workspace: Workspace, settings: Settings) -> None:
    credential = make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([draw_key()])
    page = change(signed_in(operator), credential, base_url="https://deepgram.example.com")
    assert "not in MESHAG_CREDENTIAL_KEYS" in page and not Credential.objects.get().base_url


def test_providers_of_the_environment_are_named(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for connector in registry.with_credentials().values():
        for name in connector.missing_settings({}):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ELEVENLABS_API_KEY", "el-key")
    for address in (LIST, ADD):
        page = signed_in(operator).get(reverse(address)).content.decode()
        assert "The environment has keys for ElevenLabs, for every workspace." in page and "el-key" not in page


# -- whose ------------------------------------------------------------------------------------------------


def test_managers_see_their_workspaces_credentials(workspace: Workspace, other_workspace: Workspace) -> None:
    own, foreign = make_credential(workspace), make_credential(other_workspace, name="Of the boats")
    client = make_staff(workspace, Role.ADMIN)
    page = client.get(reverse(LIST)).content.decode()
    assert "Main" in page and "Of the boats" not in page
    assert client.get(reverse(CHANGE, args=[own.pk])).status_code == 200
    assert client.get(reverse(CHANGE, args=[foreign.pk])).status_code == 302


@pytest.mark.parametrize("role", [Role.BUILDER, Role.OPERATOR, Role.VIEWER])
def test_who_does_not_manage_sees_none(workspace: Workspace, role: Role) -> None:
    credential = make_credential(workspace)
    client = make_staff(workspace, role)
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse(CHANGE, args=[credential.pk])).status_code == 403
    client.post(reverse(ADD), form(workspace, name="Mine"))
    assert Credential.objects.get() == credential


def test_only_superusers_set_an_address(workspace: Workspace) -> None:
    client = make_staff(workspace, Role.OWNER)
    client.post(reverse(ADD), form(workspace, base_url="http://169.254.169.254/"))
    credential = Credential.objects.get()
    change(client, credential, base_url="http://169.254.169.254/")
    assert not Credential.objects.get().base_url
    client.post(reverse(ADD), form(workspace, provider="custom", base_url="http://10.0.0.1/"))
    assert Credential.objects.count() == 1


def provider_field(client: Client) -> tuple[set[str], str]:
    """The providers that a new credential may be for, and what is said beside them."""
    field = client.get(reverse(ADD)).context["adminform"].form.fields["provider"]
    return {slug for slug, _ in field.choices}, field.help_text


def test_nobody_is_offered_what_they_cannot_save(
    operator: User, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a custom endpoint and of an Ollama is a superuser's, or the environment's."""
    own, said = provider_field(make_staff(workspace, Role.OWNER))
    every, said_to_operators = provider_field(signed_in(operator))
    assert every - own == {"custom", "ollama"}
    assert "Not here: Custom endpoint and Ollama, whose address only superusers set." in said
    assert "Not here" not in said_to_operators
    monkeypatch.setenv("CUSTOM_BASE_URL", "https://models.example.com/v1")
    assert "custom" in provider_field(make_staff(workspace, Role.ADMIN))[0]


def test_people_without_staff_rights_see_nothing(owner: User, workspace: Workspace) -> None:
    credential = make_credential(workspace)
    for address in (reverse(LIST), reverse(ADD), reverse(CHANGE, args=[credential.pk])):
        assert signed_in(owner).get(address).status_code == 403
        assert Client().get(address)["Location"].startswith("/admin/login/")


def test_the_list_does_not_grow_in_queries(
    operator: User, workspace: Workspace, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        make_credential(workspace, name=f"credential {number}")
    client = signed_in(operator)
    with django_assert_num_queries(7):
        client.get(reverse(LIST))
