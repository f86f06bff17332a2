"""The Test buttons in the admin: what is asked with which key, what is kept, and who may press them."""

from collections.abc import Mapping

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts_app.models import Role, User, Workspace
from connectors_app.actions import keep_credential
from connectors_app.models import Credential
from connectors_app.sealing import Sealing, draw_key
from connectors_app.trials import Outcome
from tests.connectors_app.test_admin import LIST, form, make_staff
from tests.connectors_app.test_credentials import SECRET, make_credential
from tests.world import signed_in

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
ASKED = list[tuple[str, dict[str, str], bool]]


def place(name: str, *args: object) -> str:
    return reverse(f"admin:connectors_app_credential_{name}", args=args)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ASKED:
    """What was asked; the key with `revoked` in it is refused."""
    questions: ASKED = []

    def answer(slug: str, settings: Mapping[str, str], *, is_own: bool) -> Outcome:
        questions.append((slug, dict(settings), is_own))
        works = not any("revoked" in value for value in settings.values())
        return Outcome(works, "It works: fine." if works else "It does not accept the key (401).", 12, True)

    monkeypatch.setattr("connectors_app.actions.try_provider", answer)
    monkeypatch.setattr("connectors_app.trial_pages.try_provider", answer)
    return questions


def test_a_stored_key_is_tested_and_the_outcome_kept(operator: User, workspace: Workspace, asked: ASKED) -> None:
    credential, client = make_credential(workspace), signed_in(operator)
    piece = client.post(place("test", credential.pk), headers=HTMX).content.decode()
    assert "It works: fine." in piece and "12 ms" in piece and SECRET not in piece
    slug, settings, is_own = asked[0]
    assert (slug, settings["DEEPGRAM_API_KEY"], is_own) == ("deepgram", SECRET, True)
    kept = Credential.objects.get()
    assert kept.test_passed and kept.tested_at and kept.test_outcome == "It works: fine."
    for address in (reverse(LIST), place("change", credential.pk)):
        assert "It works: fine." in client.get(address).content.decode()


def test_without_scripts_the_list_tells_the_outcome(operator: User, workspace: Workspace, asked: ASKED) -> None:
    credential = make_credential(workspace, key="dg-revoked-key-of-the-shop")
    page = signed_in(operator).post(place("test", credential.pk), follow=True)
    assert page.redirect_chain == [(reverse(LIST), 302)]
    assert "Main: It does not accept the key (401). (12 ms)" in page.content.decode()
    assert Credential.objects.get().test_passed is False


def test_a_new_key_is_untested(workspace: Workspace) -> None:
    credential = make_credential(workspace)
    credential.tested_at, credential.test_passed, credential.test_outcome = timezone.now(), False, "revoked"
    keep_credential(credential=credential, key="dg-another-key-of-the-shop")
    kept = Credential.objects.get()
    assert (kept.tested_at, kept.test_passed, kept.test_outcome) == (None, None, "")


def test_a_new_form_is_tested_before_it_is_saved(operator: User, workspace: Workspace, asked: ASKED) -> None:
    filled = form(workspace, name="", provider="azure", AZURE_SPEECH_REGION="westeurope")
    piece = signed_in(operator).post(place("new_test"), filled, headers=HTMX).content.decode()
    assert "It works: fine." in piece and "not kept" in piece and not Credential.objects.exists()
    assert asked[0][1] == {"AZURE_SPEECH_BASE_URL": "", "AZURE_SPEECH_KEY": SECRET, "AZURE_SPEECH_REGION": "westeurope"}


def test_an_unfinished_form_says_what_it_needs(operator: User, workspace: Workspace, asked: ASKED) -> None:
    piece = signed_in(operator).post(place("new_test"), form(workspace, key=""), headers=HTMX).content.decode()
    assert "Not tested: the form needs another look first. Key: Deepgram needs this." in piece and not asked
    assert "Tested just now" not in piece


@pytest.mark.parametrize(
    ("changes", "tested_with"),
    [
        ({"key": "dg-typed-key"}, {"DEEPGRAM_API_KEY": "dg-typed-key"}),
        (
            {"base_url": "https://deepgram.example.com"},
            {"DEEPGRAM_API_KEY": SECRET, "DEEPGRAM_BASE_URL": "https://deepgram.example.com"},
        ),
    ],
)
def test_a_changed_form_is_tested_and_not_kept(
    operator: User, workspace: Workspace, asked: ASKED, changes: dict[str, str], tested_with: dict[str, str]
) -> None:
    credential = make_credential(workspace)
    filled = {"name": "Main", "in_use": "on", **changes}
    signed_in(operator).post(place("changed_test", credential.pk), filled, headers=HTMX)
    assert {name: value for name, value in asked[0][1].items() if value} == tested_with
    kept = Credential.objects.get()
    assert (kept.tested_at, kept.sealed, kept.base_url, kept.name) == (None, credential.sealed, "", "Main")


def test_an_unchanged_form_is_the_stored_one(operator: User, workspace: Workspace, asked: ASKED) -> None:
    credential = make_credential(workspace)
    signed_in(operator).post(place("changed_test", credential.pk), {"name": "Main", "in_use": "on"}, headers=HTMX)
    kept = Credential.objects.get()
    assert kept.tested_at and asked[0][1]["DEEPGRAM_API_KEY"] == SECRET


def test_a_shut_credential_is_told(operator: User, workspace: Workspace, asked: ASKED, settings: Settings) -> None:
    credential = make_credential(workspace)
    settings.CREDENTIAL_SEALING = Sealing([draw_key()])
    piece = signed_in(operator).post(place("test", credential.pk), headers=HTMX).content.decode()
    assert "cannot be opened" in piece and "MESHAG_CREDENTIAL_KEYS" in piece and not asked


# -- the environment's -----------------------------------------------------------------------------------


def test_the_environments_keys_are_tested(operator: User, asked: ASKED, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "el-key")
    page = signed_in(operator).get(reverse(LIST)).content.decode()
    assert place("environment_test", "elevenlabs") in page and "el-key" not in page
    signed_in(operator).post(place("environment_test", "elevenlabs"), headers=HTMX)
    slug, settings, is_own = asked[0]
    assert (slug, settings["ELEVENLABS_API_KEY"], is_own) == ("elevenlabs", "el-key", False)
    assert signed_in(operator).post(place("environment_test", "nobody")).status_code == 404


def test_only_superusers_test_the_environments_keys(
    workspace: Workspace, asked: ASKED, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "el-key")
    client = make_staff(workspace, Role.OWNER)
    assert client.post(place("environment_test", "elevenlabs")).status_code == 403 and not asked
    assert place("environment_test", "elevenlabs") not in client.get(reverse(LIST)).content.decode()


# -- whose -----------------------------------------------------------------------------------------------


def addresses(credential: Credential) -> tuple[str, ...]:
    return place("test", credential.pk), place("changed_test", credential.pk)


def test_managers_test_their_own(workspace: Workspace, other_workspace: Workspace, asked: ASKED) -> None:
    client = make_staff(workspace, Role.ADMIN)
    own, foreign = make_credential(workspace), make_credential(other_workspace)
    for address in addresses(own):
        assert client.post(address, {"name": "Main", "in_use": "on"}, headers=HTMX).status_code == 200
    for address in addresses(foreign):
        assert client.post(address).status_code == 404
    foreign_form = client.post(place("new_test"), form(other_workspace), headers=HTMX).content.decode()
    assert "Select a valid choice" in foreign_form and len(asked) == 2


def test_only_superusers_have_an_address_asked(workspace: Workspace, asked: ASKED) -> None:
    client, inside = make_staff(workspace, Role.OWNER), "http://169.254.169.254/"
    client.post(place("new_test"), form(workspace, base_url=inside), headers=HTMX)
    client.post(
        place("changed_test", make_credential(workspace).pk), {"in_use": "on", "base_url": inside}, headers=HTMX
    )
    assert len(asked) == 2 and inside not in str(asked)


@pytest.mark.parametrize("role", [Role.BUILDER, Role.OPERATOR, Role.VIEWER])
def test_who_does_not_manage_tests_nothing(workspace: Workspace, role: Role, asked: ASKED) -> None:
    credential, client = make_credential(workspace), make_staff(workspace, role)
    for address in (*addresses(credential), place("new_test")):
        assert client.post(address, form(workspace)).status_code in (403, 404)
    assert not asked


def test_only_staff_test_and_by_post(operator: User, owner: User, workspace: Workspace, asked: ASKED) -> None:
    address = place("test", make_credential(workspace).pk)
    assert signed_in(operator).get(address).status_code == 403
    assert signed_in(owner).post(address).status_code == 403
    assert Client().post(address)["Location"].startswith("/admin/login/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    assert strict.post(address).status_code == 403 and not asked
