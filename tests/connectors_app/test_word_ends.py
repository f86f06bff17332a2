"""Following a provider's characters through a text, to where its words end."""

import pytest

from connectors_app.base.voice import Spoken
from connectors_app.word_ends import WordEnds

TEXT = "Your flight leaves at nine."
ENDS = [4, 11, 18, 21, 27]
RATE = 8000


def follow(text: str, told: str, samples_each: int = 800) -> tuple[WordEnds, list[Spoken]]:
    ends = WordEnds(text)
    return ends, ends.feed(list(told), [samples_each * (place + 1) for place in range(len(told))])


def test_every_word_has_its_end() -> None:
    _, marks = follow(TEXT, TEXT)
    assert [mark.characters for mark in marks] == ENDS
    assert marks[0] == Spoken(4, 3200) and marks[-1] == Spoken(27, 27 * 800)


def test_a_word_may_come_in_parts() -> None:
    ends = WordEnds(TEXT)
    assert ends.feed(list("Yo"), [1, 2]) == []
    assert ends.feed(list("ur fl"), [3, 4, 5, 6, 7]) == [Spoken(4, 4)]
    assert ends.feed(list("ight "), [8, 9, 10, 11, 12]) == [Spoken(11, 11)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT, f"  {TEXT} "),
        ("It’s “nine” — really…", 'It\'s "nine" - really...'),
        ("One\n two,  three.", "One two, three. "),
        ("STRASSE eins", "strasse eins"),
    ],
)
def test_spaces_and_quotes_may_differ(text: str, told: str) -> None:
    ends, marks = follow(text, told)
    assert marks[-1].characters == len(text) and not ends.is_cut(800 * len(told), RATE)


def test_a_pause_at_a_comma_belongs_to_its_word() -> None:
    ends = WordEnds("At nine, then.")
    assert ends.feed(list("At nine"), [1, 2, 3, 4, 5, 6, 7]) == [Spoken(2, 2)]
    assert ends.feed([","], [70]) == [Spoken(8, 70)]


def test_a_comma_that_is_not_told_ends_with_its_word() -> None:
    assert WordEnds("Nine, then.").feed(list("Nine t"), [1, 2, 3, 4, 5, 6]) == [Spoken(5, 4)]


def test_other_letters_end_the_marks() -> None:
    ends, marks = follow("It is 9 o'clock.", "It is nine o'clock.")
    assert [mark.characters for mark in marks] == [2, 5]
    assert ends.end(9 * RATE, RATE) == [Spoken(16, 9 * RATE)] and not ends.is_cut(9 * RATE, RATE)


def test_a_text_that_never_fits_has_no_marks() -> None:
    ends, marks = follow("9 o'clock.", "nine o'clock.")
    assert not marks and not ends.end(9 * RATE, RATE) and not ends.is_cut(RATE, RATE)


def test_lists_of_two_lengths_end_the_marks() -> None:
    ends = WordEnds(TEXT)
    ends.feed(list("Your flight"), [1])
    assert not ends.end(RATE, RATE)


def test_times_that_begin_anew_end_the_marks() -> None:
    ends = WordEnds(TEXT)
    assert ends.feed(list("Your "), [800, 1600, 2400, 3200, 4000]) == [Spoken(4, 3200)]
    assert ends.feed(list("flight "), [800, 1600, 2400, 3200, 4000, 4800, 5600]) == []


def test_a_last_word_without_times_was_said() -> None:
    ends, _ = follow(TEXT, TEXT[:22])
    assert ends.end(22 * 800 + 2400, RATE) == [Spoken(27, 22 * 800 + 2400)]


def test_audio_that_stops_with_its_times_is_cut() -> None:
    ends, marks = follow(TEXT, TEXT[:18])
    assert marks[-1] == Spoken(18, 18 * 800) and not ends.end(18 * 800, RATE) and ends.is_cut(18 * 800, RATE)


def test_times_may_reach_a_little_beyond_the_audio() -> None:
    ends, _ = follow(TEXT, TEXT)
    assert ends.end(26 * 800, RATE) == [Spoken(27, 26 * 800)]
    assert ends.is_cut(25 * 800, RATE)
