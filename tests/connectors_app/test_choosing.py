"""Which of the answers to one utterance counts."""

import pytest

from connectors_app.base.recognizer import Transcript
from connectors_app.choosing import chosen

WORDS = Transcript("hello")
UNSURE = Transcript("Thank you.", confidence=0.2)
NOTHING = Transcript("")
LONG, SHORT = 1.0, 0.99


@pytest.mark.parametrize(
    ("answers", "voiced", "place"),
    [
        ([WORDS], LONG, 0),
        ([WORDS, WORDS], LONG, 0),
        ([UNSURE, WORDS], LONG, 0),
        ([NOTHING], LONG, 0),
        ([NOTHING, WORDS], LONG, 1),
        ([NOTHING, UNSURE], LONG, 0),
        ([NOTHING, NOTHING], LONG, 0),
        ([NOTHING, WORDS], SHORT, 0),
        ([None], SHORT, None),
        ([None, WORDS], SHORT, 1),
        ([None, WORDS], LONG, 1),
        ([None, NOTHING], SHORT, None),
        ([None, UNSURE], LONG, None),
        ([NOTHING, None], LONG, None),
        ([NOTHING, None], SHORT, 0),
        ([WORDS, None], LONG, 0),
    ],
)
def test_the_first_words_count(answers: list[Transcript | None], voiced: float, place: int | None) -> None:
    assert chosen(answers, voiced) == place
