"""Where the time of a turn went."""

from sessions_app.waterfall import WIDTH, bars


def test_each_bar_begins_where_one_ended() -> None:
    drawn = bars({"transcript": 200, "turn_end": 200, "first_token": 500, "first_sample": 1000})
    assert [(bar.ms, bar.took) for bar in drawn] == [(200, 200), (200, 0), (500, 300), (1000, 500)]
    assert [bar.x for bar in drawn] == [0, 200, 200, 500]


def test_bars_stay_in_the_picture() -> None:
    assert all(bar.x + bar.width <= WIDTH for bar in bars({"transcript": 3, "first_audio": 7919, "first_sample": 7919}))


def test_words_before_the_end_are_at_zero() -> None:
    assert [bar.ms for bar in bars({"transcript": -80, "first_sample": 100})] == [0, 100]


def test_unknown_marks_are_passed_over() -> None:
    assert bars({"somebody_else": 5, "first_token": "soon"}) == []
