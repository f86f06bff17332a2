"""Where an utterance begins and ends. Windows are 10 ms at 8 kHz; `v` is voice, `.` is quiet, `~` is in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.utterances import Ended, Endpointer, Started

WINDOW = 80
PROBABILITY = {"v": 0.9, "~": 0.4, ".": 0.05}


def endpointer(threshold: float = 0.5, stop_ms: int = 50, min_speech_ms: int = 30) -> Endpointer:
    return Endpointer(8000, threshold=threshold, stop_ms=stop_ms, min_speech_ms=min_speech_ms)


def hear(story: str, ear: Endpointer | None = None) -> list[Started | Ended]:
    ear = ear or endpointer()
    windows = enumerate(story.replace(" ", ""), 1)
    facts = [ear.hear(number * WINDOW, WINDOW, PROBABILITY[window]) for number, window in windows]
    return [fact for fact in facts if fact]


def test_silence_is_no_utterance() -> None:
    assert hear("....................") == []


def test_an_utterance_has_its_place() -> None:
    assert hear("... vvvvvv .....") == [Started(3 * WINDOW), Ended(9 * WINDOW, 3 * WINDOW)]


def test_it_starts_once_there_is_enough_voice() -> None:
    assert hear("... vv") == []
    assert hear("... vvv") == [Started(3 * WINDOW)]


def test_it_ends_when_the_stop_time_has_passed() -> None:
    assert hear("vvvv ....") == [Started(0)]
    assert hear("vvvv .....") == [Started(0), Ended(4 * WINDOW, 0)]


def test_a_pause_within_speech_ends_nothing() -> None:
    assert hear("vvvv .... vv ....") == [Started(0)]


def test_speech_goes_on_below_the_threshold() -> None:
    assert hear("vvvv ~~~~~~~~~~") == [Started(0)]
    assert hear("~~~~~~~~~~~~~~") == []


def test_a_blip_is_forgotten() -> None:
    assert hear("vv .... vv .... vv ....") == []


def test_a_hesitant_beginning_counts() -> None:
    assert hear("v .. v .. v") == [Started(0)]


def test_after_a_blip_the_place_is_the_speechs() -> None:
    assert hear("v .... vvv") == [Started(5 * WINDOW)]


def test_the_next_utterance_starts_anew() -> None:
    assert hear("vvvv ..... vvvv .....") == [
        Started(0),
        Ended(4 * WINDOW, 0),
        Started(9 * WINDOW),
        Ended(13 * WINDOW, 9 * WINDOW),
    ]


@pytest.mark.parametrize("threshold", [0.1, 0.15, 0.5, 0.95])
def test_silence_ends_speech_at_every_threshold(threshold: float) -> None:
    ear = endpointer(threshold)
    loud = [ear.hear(number * WINDOW, WINDOW, 1.0) for number in range(1, 5)]
    quiet = [ear.hear(number * WINDOW, WINDOW, 0.01) for number in range(5, 20)]
    assert [fact for fact in loud + quiet if fact] == [Started(0), Ended(4 * WINDOW, 0)]


def test_new_times_hold_at_once() -> None:
    ear = endpointer()
    hear("vvvv", ear)
    ear.configure(threshold=0.5, stop_ms=20, min_speech_ms=30)
    assert ear.is_speaking
    assert [ear.hear((4 + quiet) * WINDOW, WINDOW, 0.0) for quiet in (1, 2)] == [None, Ended(4 * WINDOW, 0)]


@given(st.text("v~.", max_size=120), st.integers(10, 200), st.integers(0, 100))
def test_starts_and_ends_take_turns_in_order(story: str, stop_ms: int, min_speech_ms: int) -> None:
    facts = hear(story, endpointer(stop_ms=stop_ms, min_speech_ms=min_speech_ms))
    assert [type(fact) for fact in facts] == [Started, Ended] * (len(facts) // 2) + [Started] * (len(facts) % 2)
    places = [fact.sample for fact in facts]
    assert places == sorted(places)
    starts = [fact for fact in facts if isinstance(fact, Started)]
    ends = [fact for fact in facts if isinstance(fact, Ended)]
    assert [end.started for end in ends] == [start.sample for start in starts[: len(ends)]]
