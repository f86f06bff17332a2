"""What of a sentence is left to say, and when its audio cannot be it."""

import pytest

from connectors_app.base import ProviderError, Spoken
from connectors_app.progress import Pace, Progress

TEXT = "Your flight leaves at nine."


def progress(seconds: float, *marks: Spoken, pace: Pace | None = None) -> Progress:
    return Progress(TEXT, 8000, pace or Pace(), round(seconds * 8000), list(marks))


@pytest.mark.parametrize(
    ("seconds", "rest"),
    [(0, TEXT), (0.1, TEXT), (0.5, "flight leaves at nine."), (1.2, "leaves at nine."), (1.6, "at nine."), (9, "")],
)
def test_the_clock_tells_about_where_it_was(seconds: float, rest: str) -> None:
    assert progress(seconds).rest() == rest


@pytest.mark.parametrize(("characters", "rest"), [(0, TEXT), (4, "flight leaves at nine."), (18, "at nine."), (27, "")])
def test_alignment_tells_exactly_where_it_was(characters: int, rest: str) -> None:
    assert progress(1, Spoken(characters, 8000), Spoken(27, 8001)).rest() == rest


def test_a_mark_whose_audio_has_not_come_does_not_count() -> None:
    assert progress(1, Spoken(4, 8000), Spoken(11, 8001)).rest() == "flight leaves at nine."


def test_a_voice_is_learned() -> None:
    pace = Pace()
    Progress(TEXT * 2, 8000, pace, round(2 * 27 * 0.1 * 8000)).check_end()
    assert pace.seconds_per_character == pytest.approx(0.1)
    assert progress(1.2, pace=pace).rest() == "flight leaves at nine."


def test_half_a_sentence_is_no_sentence() -> None:
    pace = Pace()
    pace.learn(80, 80 * 0.06)
    progress(27 * 0.06 * 0.5, pace=pace).check_end()
    with pytest.raises(ProviderError, match="ended before the sentence did"):
        progress(27 * 0.06 * 0.4, pace=pace).check_end()


def test_of_a_new_voice_only_a_snatch_is_no_sentence() -> None:
    progress(0.3).check_end()
    with pytest.raises(ProviderError, match="ended before the sentence did"):
        progress(0.1).check_end()


def test_aligned_words_prove_the_end() -> None:
    progress(0.3, Spoken(27, 2400)).check_end()
    with pytest.raises(ProviderError):
        progress(2, Spoken(11, 2400)).check_end()


def test_short_sentences_may_be_short() -> None:
    Progress("No.", 8000, Pace(), 400).check_end()


def test_nobody_speaks_for_ever() -> None:
    progress(9).check_length()
    with pytest.raises(ProviderError, match="without end"):
        progress(11).check_length()
