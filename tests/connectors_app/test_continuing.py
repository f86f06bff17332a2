"""What a model that goes on repeats is not said twice, and nothing new is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors_app.continuing import Continuation

STORY = ["It is nine.", "Your flight leaves at ten.", "The gate is B4.", "Have a good trip."]


def new(said: list[str], sentences: list[str]) -> list[str]:
    continuation = Continuation(said)
    return [text for sentence in sentences for text in continuation.feed(sentence)] + continuation.end()


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("style", ["exact", "from the start", "one sentence back"])
def test_every_style_gives_the_rest(cut: int, style: str) -> None:
    begin = {"exact": cut, "from the start": 0, "one sentence back": max(cut - 1, 0)}[style]
    assert new(STORY[:cut], STORY[begin:]) == STORY[cut:]


def test_half_a_sentence_again_is_cut_off() -> None:
    assert new(STORY[:2], ["flight leaves at ten.", "The gate is B4."]) == ["The gate is B4."]


def test_a_sentence_that_was_cut_differently_is_cut_off() -> None:
    said = ["One two three four five,"]
    assert new(said, ["One two three four five, six seven."]) == ["six seven."]


def test_a_word_in_common_is_no_repetition() -> None:
    assert new(["Thank you."], ["You can go now."]) == ["You can go now."]


def test_case_and_marks_do_not_matter() -> None:
    assert new(STORY[:2], ["your flight leaves at ten!", *STORY[2:]]) == STORY[2:]


def test_a_new_beginning_in_other_words_keeps_what_is_new() -> None:
    said = ["Your flight leaves at ten.", "The gate is B4."]
    assert new(said, ["Your flight leaves at ten.", "It is gate B4.", "Goodbye."]) == ["It is gate B4.", "Goodbye."]


@pytest.mark.parametrize("said", [["Thank you.", "Your order is ready."], ["Thank you.", "I thank you."]])
def test_a_short_beginning_proves_nothing(said: list[str]) -> None:
    assert new(said, ["Thank you.", "Goodbye."]) == ["Thank you.", "Goodbye."]


def test_all_that_was_said_is_repeated_however_short() -> None:
    assert new(["Sure."], ["Sure.", "Your flight leaves at ten."]) == ["Your flight leaves at ten."]


def test_a_sentence_that_stands_twice_in_a_reply_stays() -> None:
    reply = ["Yes.", "It is open.", "It is close by.", "It is open.", "Goodbye."]
    assert new(reply[:3], reply[3:]) == reply[3:]


def test_nothing_said_lets_everything_through() -> None:
    continuation = Continuation([])
    assert continuation.is_decided and continuation.feed("Hello.") == ["Hello."]


NUMBERED = st.integers(1, 12).map(lambda count: [f"Sentence {n} is about {n * 7} things." for n in range(count)])


@given(reply=NUMBERED, data=st.data())
def test_any_cut_and_any_step_back_give_the_reply_once(reply: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(reply)))
    begin = data.draw(st.integers(0, cut))
    assert reply[:cut] + new(reply[:cut], reply[begin:]) == reply
