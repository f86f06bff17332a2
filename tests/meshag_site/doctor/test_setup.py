"""What the doctor says of settings, telephony and providers. No secret is repeated."""

from typing import Any

import pytest

from accounts_app.models import Workspace
from connectors_app import registry
from connectors_app.models import Credential
from meshag_site.doctor import setup
from meshag_site.doctor.findings import Level, worst
from tests.meshag_site.doctor.conftest import Make

TOKEN = "0123456789abcdef" * 2


def make_credential(workspace: Workspace) -> Credential:
    credential = Credential(workspace=workspace, provider="openai", name="Billing")
    credential.seal("sk-hunter2-with-a-long-end")
    return credential


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.OK),
        ({"public_url": "https://agents.example.com"}, Level.OK),
        ({"public_url": "http://agents.example.com"}, Level.PROBLEM),
        ({"public_url": "http://localhost:8000"}, Level.WARNING),
        ({"bind": "0.0.0.0", "allowed_hosts": ("localhost",)}, Level.WARNING),
        ({"bind": "0.0.0.0", "allowed_hosts": ("localhost", "agents")}, Level.OK),
        ({"allowed_hosts": ("*",)}, Level.WARNING),
    ],
)
def test_addresses(installation: Make, changes: dict[str, Any], level: Level) -> None:
    assert worst(setup.check_addresses(installation(**changes))) is level


@pytest.mark.parametrize(("public", "level"), [("", Level.WARNING), ("https://agents.example.com", Level.PROBLEM)])
def test_debugging_is_told(installation: Make, public: str, level: Level) -> None:
    assert worst(setup.check_debug(installation(debug=True, public_url=public))) is level


@pytest.mark.parametrize(
    ("token", "public", "level"),
    [
        ("", "", Level.OK),
        (TOKEN, "https://agents.example.com", Level.OK),
        (TOKEN, "", Level.WARNING),
        ("hunter2", "https://agents.example.com", Level.WARNING),
    ],
)
def test_telephony(installation: Make, token: str, public: str, level: Level) -> None:
    finding = setup.check_telephony(installation(environ={"TWILIO_AUTH_TOKEN": token}, public_url=public))
    assert finding.level is level
    assert not token or token not in str(finding)


def test_the_open_door_is_told(installation: Make) -> None:
    for is_open, seen in ((True, "without an account"), (False, "closed")):
        its = installation(has_open_door=is_open, environ={})
        assert seen in setup.check_door(its).seen
        assert setup.check_telephony(its).seen.startswith("open" if is_open else "closed")


async def test_a_providers_broken_file_is_named(installation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_broken", {"half.py": "SyntaxError in line 1"})
    *_, finding = await setup.check_providers(installation(environ={}))
    assert finding.level is Level.PROBLEM and finding.name == "File half.py" and "line 1" in finding.seen


@pytest.mark.parametrize(
    ("environ", "level", "fix"),
    [
        ({}, Level.OK, "DAILY_API_KEY, DAILY_DOMAIN"),
        ({"DAILY_API_KEY": "hunter2", "DAILY_DOMAIN": "shop"}, Level.OK, ""),
        ({"DAILY_API_KEY": "hunter2"}, Level.WARNING, "DAILY_DOMAIN"),
        ({"DAILY_DOMAIN": "shop"}, Level.WARNING, "DAILY_API_KEY"),
    ],
)
def test_half_of_dailys_settings_is_told(installation: Make, environ: dict[str, str], level: Level, fix: str) -> None:
    finding = setup.check_rooms(installation(environ=environ))
    assert finding.level is level and fix in finding.fix and "hunter2" not in str(finding)


def test_an_account_without_its_token_is_told(installation: Make) -> None:
    finding = setup.check_telephony(installation(environ={"TWILIO_ACCOUNT_SID": "AC1"}))
    assert finding.level is Level.WARNING and "TWILIO_AUTH_TOKEN" in finding.fix


def test_providers_name_the_keys_that_miss() -> None:
    found = setup.check_roles({"OPENAI_API_KEY": "sk-hunter2"}, [])
    models = next(finding for finding in found if finding.name == "Models (llm)")
    assert models.level is Level.OK and "openai" in models.seen
    assert "ANTHROPIC_API_KEY" in models.fix and "hunter2" not in str(found)


@pytest.mark.django_db
def test_a_workspaces_own_key_counts(workspace: Workspace) -> None:
    recognisers, models, _ = setup.check_roles({}, [make_credential(workspace)])
    assert recognisers.seen.endswith("; with a workspace's credential: openai, openai_realtime")
    assert "openai" not in recognisers.fix and "deepgram (DEEPGRAM_API_KEY)" in recognisers.fix
    assert "openai_responses" in models.seen and "OPENAI_API_KEY" not in models.fix
    assert setup.check_roles({}, [])[0].seen.endswith("; there are no keys for others")


@pytest.mark.django_db
@pytest.mark.parametrize(("is_broken", "level"), [(False, Level.OK), (True, Level.PROBLEM)])
def test_credential_that_nobody_can_open(workspace: Workspace, is_broken: bool, level: Level) -> None:
    credential = make_credential(workspace)
    credential.sealed = "nonsense" if is_broken else credential.sealed
    (finding,) = setup.check_credentials({}, [credential])
    assert finding.level is level and "hunter2" not in str(finding)


@pytest.mark.django_db
def test_credential_says_whom_it_replaces(workspace: Workspace) -> None:
    credential = make_credential(workspace)
    (alone,) = setup.check_credentials({}, [credential])
    (before,) = setup.check_credentials({"OPENAI_API_KEY": "sk-hunter2"}, [credential])
    assert alone.seen == "“Billing” is used; the environment has none"
    assert before.seen == "“Billing” is used, before the environment's"


@pytest.mark.django_db
def test_credential_whose_test_failed_is_told(workspace: Workspace) -> None:
    credential = make_credential(workspace)
    credential.test_passed, credential.test_outcome = False, "OpenAI refuses the key."
    (finding,) = setup.check_credentials({}, [credential])
    assert finding.level is Level.WARNING and finding.fix
    assert finding.seen.endswith("; its last test failed: OpenAI refuses the key.")


async def test_settings_that_cannot_be_are_told(installation: Make) -> None:
    environ = {"OPENAI_API_KEY": "sk-hunter2", "OPENAI_BASE_URL": "api.openai.com/v1"}
    found = [one for one in await setup.check_providers(installation(environ=environ)) if one.level is Level.PROBLEM]
    assert [(one.name, one.seen) for one in found] == [("OPENAI_BASE_URL", "it must begin with https:// or http://")]
    assert "openai" not in setup.check_roles(environ, [])[1].seen
