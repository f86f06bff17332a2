"""Where the time of a turn went."""

import pytest

from accounts_app.models import Workspace
from mesh import events
from sessions_app.examples import TURN
from sessions_app.models import Session
from sessions_app.rendering import turns_of
from sessions_app.serializers import WaterfallAnswer
from sessions_app.waterfall import LABELS, WIDTH, bars, response_ms
from tests.sessions_app.stories import Story, Write, created, ended


def test_each_bar_begins_where_one_ended() -> None:
    drawn = bars({"transcript": 200, "turn_end": 200, "first_token": 500, "first_sample": 1000})
    assert [(bar.ms, bar.took) for bar in drawn] == [(200, 200), (200, 0), (500, 300), (1000, 500)]
    assert [bar.x for bar in drawn] == [0, 200, 200, 500]


def test_bars_stay_in_the_picture() -> None:
    assert all(bar.x + bar.width <= WIDTH for bar in bars({"transcript": 3, "first_audio": 7919, "first_sample": 7919}))


def test_words_before_the_end_are_at_zero() -> None:
    assert [bar.ms for bar in bars({"transcript": -80, "first_sample": 100})] == [0, 100]


def test_a_short_turn_looks_short() -> None:
    assert bars({"turn_end": 3})[0].width < WIDTH / 10


def test_unknown_marks_are_passed_over() -> None:
    assert bars({"somebody_else": 5, "first_token": "soon"}) == []


def test_the_api_knows_every_mark() -> None:
    assert WaterfallAnswer().fields.keys() == LABELS.keys()
    assert TURN["waterfall"].keys() == LABELS.keys() - {"first_text"}, "the example is a spoken turn"


def test_the_answer_is_heard_or_read() -> None:
    assert response_ms({"turn_end": 1, "first_audio": 600, "first_sample": 640}) == 640
    assert response_ms({"turn_end": 1, "first_sentence": 300, "first_text": 301}) == 301


def test_a_failed_turn_has_no_response_time() -> None:
    assert response_ms({"turn_end": 2, "first_token": 300}) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("cause", "clock"), [("typed", "after the text came"), ("speech", "after the caller’s last sound")]
)
def test_a_turn_says_what_its_times_count_from(
    cause: str, clock: str, workspace: Workspace, story: Story, write: Write
) -> None:
    timed = events.TurnTimed(turn=1, generation=1, marks={"turn_end": 2})
    write(story.tell(created(), ended(1, "Hi", cause=cause), timed))
    shown = turns_of(Session.objects.get())[0].html
    assert clock in shown and "End of turn decided" in shown and "figure" not in shown
