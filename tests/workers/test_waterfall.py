"""When the things of a turn happened, counted from the caller's last word."""

from mesh.events import TurnTimed
from workers.waterfall import Waterfall


def test_a_spoken_turn_counts_from_the_silence() -> None:
    waterfall = Waterfall()
    waterfall.asked(10.0)
    waterfall.transcribed(10.3)
    waterfall.end_turn(10.5, turn=1, generation=2, cause="speech")
    waterfall.mark("first_sample", 11.0)
    marks = {"turn_end": 500, "transcript": 300, "first_sample": 1000}
    assert waterfall.tell() == TurnTimed(turn=1, generation=2, marks=marks)


def test_a_typed_turn_counts_from_its_text() -> None:
    waterfall = Waterfall()
    waterfall.transcribed(3.0)  # of a cough, long ago
    waterfall.asked(10.0)
    waterfall.end_turn(10.002, turn=1, generation=1, cause="typed")
    waterfall.mark("first_token", 10.4)
    assert waterfall.tell() == TurnTimed(turn=1, generation=1, marks={"turn_end": 2, "first_token": 400})


def test_the_first_of_a_mark_counts() -> None:
    waterfall = Waterfall()
    waterfall.asked(0.0)
    waterfall.end_turn(0.0, turn=1, generation=1, cause="typed")
    waterfall.mark("first_token", 0.2)
    waterfall.mark("first_token", 0.3)
    assert (told := waterfall.tell()) and told.marks["first_token"] == 200


def test_a_turn_is_told_once() -> None:
    waterfall = Waterfall()
    waterfall.asked(0.0)
    waterfall.end_turn(0.1, turn=1, generation=1, cause="speech")
    assert waterfall.tell()
    waterfall.mark("first_sample", 5.0)  # of an announcement
    assert waterfall.tell() is None


def test_the_next_words_leave_the_turn_alone() -> None:
    """They may be spoken before the turn that they break into was told."""
    waterfall = Waterfall()
    waterfall.asked(0.0)
    waterfall.transcribed(0.2)
    waterfall.end_turn(0.3, turn=1, generation=1, cause="speech")
    waterfall.asked(2.0)
    waterfall.transcribed(2.4)
    assert waterfall.tell() == TurnTimed(turn=1, generation=1, marks={"turn_end": 300, "transcript": 200})


def test_a_turn_that_goes_on_is_timed_anew() -> None:
    waterfall = Waterfall()
    for generation, at in ((1, 0.0), (2, 4.0)):
        waterfall.asked(at)
        waterfall.end_turn(at + 0.5, turn=1, generation=generation, cause="speech")
    assert waterfall.tell() == TurnTimed(turn=1, generation=2, marks={"turn_end": 500})
