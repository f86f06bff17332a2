"""How a batch's rows are read and written."""

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts_app.models import Workspace
from mesh import events
from sessions_app.fold import fold
from sessions_app.models import BridgeCursor, Session, TranscriptEntry
from tests.sessions_app.stories import Story, Write, created, ended, tell_a_call

pytestmark = pytest.mark.django_db


def test_texts_fit_their_columns(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(name="n" * 500), events.TurnStarted(turn=1), ended(1, "zero\x00byte", cause="typed")))
    assert len(Session.objects.get().name) == 200
    assert TranscriptEntry.objects.get().text == "zerobyte"


def test_a_batch_needs_few_queries(
    workspace: Workspace, cursor: BridgeCursor, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    stories = [Story(session=f"s{number}", sequence=number * 100) for number in range(20)]
    batch = [stored for story in stories for stored in tell_a_call(story)]
    with django_assert_max_num_queries(25):
        fold(batch, cursor)
    assert Session.objects.count() == 20
