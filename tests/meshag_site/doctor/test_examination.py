"""The whole examination, its command, and its page: who may see what."""

import asyncio
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from accounts_app.models import User, Workspace
from connectors_app.models import Credential
from meshag_site.doctor import examination, page
from meshag_site.doctor.examination import Doctor, examine
from meshag_site.doctor.findings import Area, Finding, Installation, Level, in_words, worst
from tests.meshag_site.doctor.conftest import Make
from tests.meshag_site.doctor.test_failures import make_failures
from tests.world import signed_in

NOWHERE = {"nats_url": "nats://127.0.0.1:1", "valkey_url": "redis://127.0.0.1:1", "runtime": {}}
FOUND = [
    Finding(Area.SERVERS, "NATS", Level.PROBLEM, "nothing answers at 10.0.0.7", "run `make up`"),
    Finding(Area.PROVIDERS, "Voices (tts)", Level.OK, "espeak"),
]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An examination that is over already."""

    async def examine(its: Installation) -> list[Finding]:
        return FOUND

    monkeypatch.setattr(examination, "examine", examine)
    monkeypatch.setattr(page, "DOCTOR", Doctor())


@pytest.fixture
def keys(workspace: Workspace, other_workspace: Workspace) -> None:
    for its, name in ((workspace, "Bicycle account"), (other_workspace, "Boat account")):
        credential = Credential(workspace=its, provider="openai", name=name)
        credential.seal("sk-hunter2-with-a-long-end")
        credential.save()


# -- examination ----------------------------------------------------------------------------------------


async def test_nothing_runs_is_said_once(installation: Make) -> None:
    found = await examine(installation(**NOWHERE))
    problems = [finding for finding in found if finding.level is Level.PROBLEM]
    assert [finding.name for finding in problems] == ["MeshAG is not running"]
    assert "make up" in problems[0].fix
    assert {Area.PROVIDERS, Area.MACHINE} <= {finding.area for finding in found}


@pytest.mark.django_db(transaction=True)
async def test_servers_without_programs_are_examined(healthy: Installation) -> None:
    found = {finding.name: finding for finding in await examine(healthy)}
    assert found["Valkey"].level is Level.OK and found["Workers: stt"].level is Level.PROBLEM


async def test_check_that_hangs_is_told(installation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(its: Installation) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(examination, "DEADLINE", 0.05)
    monkeypatch.setattr(examination, "RESTING", {"Slow": hang})
    found = await examine(installation(**NOWHERE))
    assert ("Slow", Level.PROBLEM) in [(finding.name, finding.level) for finding in found]


def test_findings_in_one_sentence() -> None:
    assert (in_words(FOUND), in_words(FOUND[1:]), worst([])) == ("1 problem", "all is well", Level.OK)


# -- command --------------------------------------------------------------------------------------------


@pytest.fixture
def resting(settings: Settings) -> Iterator[None]:
    settings.NATS_URL, settings.VALKEY_URL = NOWHERE["nats_url"], NOWHERE["valkey_url"]
    yield


def run(*words: str) -> tuple[str, int]:
    out, status = StringIO(), 0
    try:
        call_command("doctor", *words, stdout=out)
    except SystemExit as end:
        status = int(str(end.code))
    return out.getvalue(), status


@pytest.mark.django_db(transaction=True)
def test_command_says_what_to_do(resting: None) -> None:
    said, status = run()
    assert status == 1 and "✗ MeshAG is not running" in said and "→ start it with `make up`" in said
    assert "\033[" not in said


@pytest.mark.django_db(transaction=True)
def test_command_speaks_to_programs(resting: None) -> None:
    said, status = run("--json")
    first = json.loads(said)[0]
    assert status == 1 and set(first) == {"area", "name", "level", "seen", "fix"}


@pytest.mark.django_db(transaction=True)
def test_command_that_finds_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(its: Installation) -> list[Finding]:
        return FOUND[1:]

    monkeypatch.setattr("meshag_site.management.commands.doctor.examine", examine)
    assert run()[1] == 0


# -- page -----------------------------------------------------------------------------------------------


def content(user: User) -> str:
    response = signed_in(user).get("/doctor/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_operator_sees_everything(found: None, keys: None, operator: User) -> None:
    shown = content(operator)
    assert all(text in shown for text in ("10.0.0.7", "Run `make up`", "Bicycle account", "Boat account"))
    assert "hunter2" not in shown


@pytest.mark.django_db(transaction=True)
def test_member_sees_what_concerns_agents(found: None, keys: None, owner: User) -> None:
    shown = content(owner)
    assert "espeak" in shown and "Bicycle account" in shown and "1 problem" in shown
    assert "10.0.0.7" not in shown


@pytest.mark.django_db(transaction=True)
def test_stranger_sees_no_foreign_key(found: None, keys: None, stranger: User) -> None:
    shown = content(stranger)
    assert "Boat account" in shown and "Bicycle" not in shown and "bicycles" not in shown


@pytest.mark.django_db(transaction=True)
def test_staff_sees_what_members_see(found: None, keys: None, owner: User) -> None:
    member = content(owner)
    owner.is_staff = True
    owner.save()
    shown = content(owner)
    assert "espeak" in shown and "Bicycle account" in shown and "1 problem" in shown and "1 problem" in member
    assert "10.0.0.7" not in shown and "Boat account" not in shown and "manage.py doctor" not in shown


@pytest.mark.django_db(transaction=True)
def test_only_members_read_of_their_calls(
    found: None, owner: User, stranger: User, operator: User, workspace: Workspace
) -> None:
    make_failures(workspace, "deepgram", 1)
    assert "deepgram (llm) in calls" in content(owner) and "deepgram (llm) in calls" in content(operator)
    assert "in calls" not in content(stranger)


@pytest.mark.django_db(transaction=True)
def test_visitor_is_asked_to_sign_in(client: Client) -> None:
    response = client.get("/doctor/")
    assert (response.status_code, response["Location"]) == (302, "/login?next=/doctor/")


@pytest.mark.django_db(transaction=True)
def test_member_of_nothing_is_refused(found: None) -> None:
    for is_staff in (False, True):
        person = User.objects.create_user(f"nobody-{is_staff}", is_staff=is_staff)
        assert signed_in(person).get("/doctor/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_page_is_only_read(found: None, owner: User) -> None:
    assert signed_in(owner).post("/doctor/").status_code == 405


@pytest.mark.django_db(transaction=True)
def test_only_this_page_may_ask_the_transport(found: None, owner: User, settings: Settings) -> None:
    settings.TRANSPORT_PORT = 8084
    headers: Any = signed_in(owner).get("/doctor/", SERVER_NAME="localhost").headers
    assert "connect-src 'self' http://localhost:8084;" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "microphone=(self)" in headers["Permissions-Policy"]


async def test_many_who_look_cost_one_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def examine(its: Installation) -> list[Finding]:
        asked.append(its)
        return FOUND

    monkeypatch.setattr(examination, "examine", examine)
    doctor = Doctor()
    await asyncio.gather(*(doctor.examine() for _ in range(5)))
    assert len(asked) == 1
