"""What is forgotten of sessions: only what is over, old enough, and of a workspace that said so."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts_app.models import User, Workspace
from sessions_app.models import Incident, Session, Speaker, State, TranscriptEntry, Turn, Usage
from sessions_app.retention import delete_past_retention
from tests.world import signed_in

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=31)


@pytest.fixture
def tidy(workspace: Workspace) -> Workspace:
    """Keeps what is thirty days old."""
    workspace.retention_days = 30
    workspace.save()
    return workspace


def over(workspace: Workspace, name: str = "old", **changes: Any) -> Session:
    its = {"state": State.ENDED, "created_at": LONG_AGO, "ended_at": LONG_AGO, "purged_at": LONG_AGO} | changes
    return Session.objects.create(id=name, workspace=workspace, transport="websocket", **its)


def test_old_session_goes_with_its_words(tidy: Workspace) -> None:
    row = {"session": over(tidy), "workspace": tidy}
    Turn.objects.create(**row, number=1, text="my name", started_at=LONG_AGO)
    TranscriptEntry.objects.create(**row, event_id="a", sequence=1, speaker=Speaker.CALLER, text="my name", at=LONG_AGO)
    Incident.objects.create(**row, event_id="b", kind=Incident.Kind.REPLY_FAILED, role="llm", at=LONG_AGO)
    assert delete_past_retention(now=NOW) == 1
    assert not any(model.objects.exists() for model in (Session, Turn, TranscriptEntry, Incident))


def test_usage_stays_for_the_bill(tidy: Workspace) -> None:
    row = {"session": over(tidy), "workspace": tidy}
    Usage.objects.create(
        **row, event_id="old:tts:1:4", role="tts", provider="espeak", unit="letters", quantity=7, at=LONG_AGO
    )
    assert delete_past_retention(now=NOW) == 1
    usage = Usage.objects.get()
    assert (usage.session, usage.workspace, usage.quantity) == (None, tidy, 7)


def test_second_run_finds_nothing(tidy: Workspace) -> None:
    over(tidy)
    assert [delete_past_retention(now=NOW) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("state", [State.CREATED, State.LIVE, State.ENDING])
def test_session_that_is_not_over_stays(tidy: Workspace, state: State) -> None:
    over(tidy, state=state, ended_at=None)
    assert delete_past_retention(now=NOW) == 0


@pytest.mark.parametrize("changes", [{"ended_at": NOW - timedelta(days=29)}, {"purged_at": None}])
def test_session_that_is_still_needed_stays(tidy: Workspace, changes: dict[str, Any]) -> None:
    over(tidy, **changes)
    assert delete_past_retention(now=NOW) == 0


def test_other_workspaces_keep_theirs(tidy: Workspace, other_workspace: Workspace) -> None:
    over(tidy)
    over(other_workspace, "theirs")
    assert delete_past_retention(now=NOW) == 1
    assert list(Session.objects.values_list("id", flat=True)) == ["theirs"]


def test_workspaces_take_turns(tidy: Workspace, other_workspace: Workspace) -> None:
    other_workspace.retention_days = 30
    other_workspace.save()
    for number in range(3):
        over(tidy, f"old-{number}")
    over(other_workspace, "theirs")
    clock = count(step=10.0)  # time for two batches
    assert delete_past_retention(now=NOW, batch=1, longest=15, clock=lambda: next(clock)) == 2
    assert tidy.sessions.count() == 2 and other_workspace.sessions.count() == 0


def test_long_work_is_continued(tidy: Workspace) -> None:
    for number in range(5):
        over(tidy, f"old-{number}")
    clock = count(step=10.0)  # every look at it is ten seconds later
    done = [delete_past_retention(now=NOW, batch=1, longest=15, clock=lambda: next(clock)) for _ in range(3)]
    assert done == [2, 2, 1]


def test_the_admin_says_what_will_go(operator: User, workspace: Workspace) -> None:
    ago = timezone.now() - timedelta(days=31)
    for name, ended in (("old", ago), ("new", timezone.now())):
        over(workspace, name, created_at=ended, ended_at=ended, purged_at=ended)
    address = reverse("admin:accounts_app_workspace_change", args=[workspace.pk])
    rows = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    page = signed_in(operator).post(address, {"name": "Bicycles", "retention_days": 30, **rows}, follow=True)
    assert "1 session is older and will be deleted within the hour" in page.content.decode()
