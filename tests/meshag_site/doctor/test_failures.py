"""Providers that fail in calls are told, with what to do."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts_app.models import Workspace
from connectors_app.base.errors import ErrorKind
from meshag_site.doctor.failures import FIXES, OTHERWISE, check_failures
from meshag_site.doctor.findings import Finding, Level
from sessions_app.models import Incident, Session, Usage

pytestmark = pytest.mark.django_db


def make_failures(workspace: Workspace, provider: str, times: int, at: datetime | None = None, **values: Any) -> None:
    at = at or timezone.now()
    made = {"workspace": workspace, "transport": "websocket", "created_at": at}
    session, _ = Session.objects.get_or_create(id="s1", defaults=made)
    usual: dict[str, Any] = {"role": "llm", "kind": "provider.failed", "error": "refused", "detail": "no connection"}
    for number in range(times):
        own = usual | {"event_id": f"{provider}-{number}-{at}", "at": at} | values
        Incident.objects.create(workspace=workspace, session=session, provider=provider, **own)


def found() -> list[Finding]:
    return check_failures(Incident.objects.all(), Usage.objects.all())


def test_who_answers_again_is_a_note(workspace: Workspace, other_workspace: Workspace) -> None:
    at = timezone.now() - timedelta(minutes=5)
    make_failures(workspace, "openai", 2, at=at)

    def use(its: Workspace, seconds: int, role: str) -> None:
        when = at + timedelta(seconds=seconds)
        used: dict[str, Any] = {"provider": "openai", "unit": "tokens", "quantity": 1, "at": when}
        Usage.objects.create(workspace=its, event_id=f"{its}-{seconds}-{role}", role=role, **used)

    use(workspace, 1, "llm")  # the failed attempt's own
    use(workspace, 60, "tts")
    use(other_workspace, 60, "llm")
    assert [finding.level for finding in found()] == [Level.WARNING]
    use(workspace, 60, "llm")
    (finding,) = found()
    assert finding.level is Level.OK and finding.fix == ""
    assert finding.seen.startswith("answers again, after 2 failures, the last at ")


def test_of_who_is_out_the_outage_says_what_to_do(workspace: Workspace) -> None:
    make_failures(workspace, "openai", 1)
    (finding,) = check_failures(Incident.objects.all(), Usage.objects.all(), {("llm", "openai")})
    assert finding.level is Level.WARNING and finding.seen.endswith("; it is out now") and finding.fix == ""


def test_nothing_failed_is_no_finding(workspace: Workspace) -> None:
    make_failures(workspace, "openai", 2, at=timezone.now() - timedelta(minutes=61))
    make_failures(workspace, "openai", 1, kind="provider.switched")
    assert found() == []


def test_failures_are_counted_by_provider_and_role(workspace: Workspace) -> None:
    make_failures(workspace, "openai", 4)
    make_failures(workspace, "deepgram", 1, role="stt", error="auth", detail="the key is refused")
    openai, deepgram = found()
    assert (openai.name, deepgram.name) == ("openai (llm) in calls", "deepgram (stt) in calls")
    assert openai.level is deepgram.level is Level.WARNING
    assert openai.seen.startswith("4 failures, the last at ") and openai.seen.endswith(" UTC: no connection")
    assert deepgram.seen.startswith("a failure at ") and "enter it again" in deepgram.fix


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_failure_has_a_fix(kind: ErrorKind, workspace: Workspace) -> None:
    make_failures(workspace, "openai", 1, error=kind)
    (finding,) = found()
    assert finding.fix == FIXES.get(kind, OTHERWISE) != ""
