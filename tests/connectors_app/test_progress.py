"""What of a sentence is left to say, and when its audio cannot be it."""

import pytest

from connectors_app.base.errors import ProviderError
from connectors_app.base.voice import Spoken
from connectors_app.progress import SLOW, Progress, Speed, weight

TEXT = "Your flight leaves at nine tonight from gate four."
PACE = 0.06
NUMBERS = "Your confirmation number is 48291577301, 55102938476."
CHINESE = "您的航班今天晚上九点从四号登机口出发。"


def letters(text: str) -> float:
    return sum(map(weight, text))


def known(pace: float = PACE, *, padding: float = 0.3, times: int = 4) -> Speed:
    """A voice that has said the sentence some times."""
    speed = Speed()
    for _ in range(times):
        speed.learn(letters(TEXT), padding + letters(TEXT) * pace)
    return speed


def progress(seconds: float, *marks: Spoken, text: str = TEXT, speed: Speed | None = None) -> Progress:
    return Progress(text, 8000, speed or Speed(), round(seconds * 8000), list(marks))


# -- what is left ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [0.03, 0.045, 0.06, 0.09, SLOW])
@pytest.mark.parametrize("text", [TEXT, NUMBERS, CHINESE])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("times", [0, 1, 4])
def test_no_word_is_lost(pace: float, text: str, share: float, times: int) -> None:
    """The rest begins no later than the word in which an even voice was, and it is never nothing."""
    said = letters(text) * share
    at = next((n for n in range(len(text)) if letters(text[: n + 1]) > said and not text[n].isspace()), len(text))
    rest = progress(said * pace, text=text, speed=known(pace, times=times)).rest()
    assert rest and len(text) - len(rest) <= at


def test_a_known_voice_repeats_little() -> None:
    said = letters(TEXT) * 0.6
    rest = progress(0.3 + said * PACE, speed=known()).rest()
    assert rest == "nine tonight from gate four."


def test_nothing_heard_leaves_all() -> None:
    assert progress(0).rest() == TEXT


@pytest.mark.parametrize(
    ("characters", "rest"), [(0, TEXT), (4, TEXT[5:]), (11, TEXT[12:]), (43, "gate four."), (50, "")]
)
def test_alignment_tells_exactly_where_it_was(characters: int, rest: str) -> None:
    assert progress(1, Spoken(characters, 8000), Spoken(50, 8001)).rest() == rest


def test_a_mark_whose_audio_has_not_come_does_not_count() -> None:
    assert progress(1, Spoken(4, 8000), Spoken(11, 8001)).rest() == TEXT[5:]


def test_a_pause_after_a_word_is_no_word() -> None:
    assert progress(2, Spoken(4, 8000)).rest() == TEXT[5:]


def test_where_marks_stop_the_clock_goes_on() -> None:
    assert progress(3, Spoken(4, 4000), speed=known()).rest() == "leaves at nine tonight from gate four."


def test_in_chinese_each_character_is_a_word() -> None:
    assert 0 < len(progress(2, text=CHINESE, speed=known()).rest()) < len(CHINESE)


# -- what cannot be it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_half_a_sentence_is_no_sentence(share: float) -> None:
    whole = 0.3 + letters(TEXT) * PACE
    with pytest.raises(ProviderError, match="ended before the sentence did"):
        progress(whole * share, speed=known()).check_end()


def test_of_a_new_voice_only_a_snatch_is_no_sentence() -> None:
    progress(0.6).check_end()
    with pytest.raises(ProviderError, match="ended before the sentence did"):
        progress(0.3).check_end()


def test_aligned_words_prove_the_end() -> None:
    progress(0.3, Spoken(50, 2400), speed=known()).check_end()
    with pytest.raises(ProviderError):
        progress(0.3, Spoken(11, 2400), speed=known()).check_end()


def test_words_after_the_last_mark_may_have_been_said() -> None:
    progress(3, Spoken(4, 2000), speed=known()).check_end()


def test_short_sentences_may_be_short() -> None:
    progress(0.05, text="No.", speed=known()).check_end()


def test_numbers_teach_nothing_wrong() -> None:
    """They take long to say, and so do their letters."""
    speed = known()
    progress(0.3 + letters(NUMBERS) * PACE * 0.7, text=NUMBERS, speed=speed).check_end()
    for _ in range(3):
        progress(0.3 + letters(TEXT) * PACE, speed=speed).check_end()


def test_a_voice_that_has_become_faster_is_believed_soon() -> None:
    speed, refused = known(0.1), 0
    for _ in range(8):
        try:
            progress(0.3 + letters(TEXT) * 0.04, speed=speed).check_end()
        except ProviderError:
            refused += 1
    assert refused <= 2


@pytest.mark.parametrize("text", [TEXT, NUMBERS, "0800 4915207738812, 0800 4915207738813"])
def test_nobody_speaks_for_ever(text: str) -> None:
    progress(letters(text) * 0.2, text=text).check_length()
    endless = progress(letters(text) * 0.4 + 11, text=text)
    with pytest.raises(ProviderError, match="without end"):
        endless.check_length()
    assert endless.rest() == ""
