"""What the stand-in models say when they are asked to go on, and what tells a test which words they will say."""

import pytest

from connectors_app.base.language_model import CONTINUE
from tests.providers.brain import GoingOn, answer_last_user, last_user_text, reply_for, reply_with, think

ASKED = {"role": "user", "content": "Where is the harbour?"}
WHOLE = reply_for(str(ASKED["content"]))
FIRST, SECOND = WHOLE.split(". ")
FIRST += "."
NOTE = {"role": "user", "content": CONTINUE}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize("note", [[NOTE], []])
@pytest.mark.parametrize(
    ("style", "rest"), [(GoingOn.EXACTLY, SECOND), (GoingOn.ANEW, WHOLE), (GoingOn.OVERLAPPING, WHOLE)]
)
def test_it_goes_on_in_its_style(style: GoingOn, rest: str, note: list[dict[str, str]]) -> None:
    assert think(answer_last_user, [ASKED, said(FIRST), *note], (), style).text == rest


def test_an_overlap_is_one_sentence() -> None:
    asked = {"role": "user", "content": "Tell me a long story."}
    sentences = reply_for(str(asked["content"])).split(". ")
    told = ". ".join(sentences[:3]) + "."
    assert think(answer_last_user, [asked, said(told)], (), GoingOn.OVERLAPPING).text == ". ".join(sentences[2:])


def test_other_words_are_not_continued() -> None:
    assert think(answer_last_user, [ASKED, said("I do not know.")], ()).text == WHOLE


def test_a_reply_to_a_tool_is_continued_as_well() -> None:
    result = {"role": "tool", "content": "rain"}
    assert think(answer_last_user, [ASKED, result, said("The tool says rain.")], ()).text == "That is all."
    assert reply_with("rain") == "The tool says rain. That is all."


def test_the_note_is_no_question() -> None:
    assert last_user_text([ASKED, said(FIRST), NOTE]) == ASKED["content"]
