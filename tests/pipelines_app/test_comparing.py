from typing import Any

import pytest

from pipelines_app.comparing import Line, Mark, compare


def told(old: Any, new: Any) -> list[tuple[str, str, str]]:
    return [(difference.path, difference.was, difference.becomes) for difference in compare(old, new)]


def test_the_same_has_no_differences() -> None:
    assert told({"a": [{"b": 1}], "c": None}, {"c": None, "a": [{"b": 1}]}) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("a.b", "1", "2")),
        ({}, {"a": "x"}, ("a", "not set", "x")),
        ({"a": "x"}, {}, ("a", "x", "not set")),
        ({"a": True}, {"a": False}, ("a", "yes", "no")),
        ({"a": 1}, {"a": True}, ("a", "1", "yes")),
        ({"a": None}, {"a": ""}, ("a", "nothing", "empty")),
        ({"a": ["x", "y"]}, {"a": []}, ("a", "x, y", "none")),
        ({"a": {}}, {"a": {"b": 1}}, ("a.b", "not set", "1")),
        ({"a": 1}, {"a": {"b": 1, "c": "d"}}, ("a", "1", "b: 1; c: d")),
        ([], {}, ("", "none", "empty")),
    ],
)
def test_a_difference_is_told_by_its_path(old: Any, new: Any, expected: tuple[str, str, str]) -> None:
    assert told(old, new) == [expected]


def test_steps_are_compared_one_by_one() -> None:
    old, new = [{"to": "stt"}, {"to": "llm"}], [{"to": "stt"}, {"to": "tts"}, {"to": "llm"}]
    assert told({"flow": old}, {"flow": new}) == [
        ("flow[1].to", "llm", "tts"),
        ("flow[2]", "not set", "to: llm"),
    ]


def test_long_texts_are_compared_by_lines() -> None:
    [difference] = compare({"prompt": "One.\nTwo.\nThree."}, {"prompt": "One.\nThree.\nFour."})
    assert difference.lines == (
        Line(Mark.SAME, "One."),
        Line(Mark.OLD, "Two."),
        Line(Mark.SAME, "Three."),
        Line(Mark.NEW, "Four."),
    )


def test_short_values_have_no_lines() -> None:
    [difference] = compare({"greeting": "Hello"}, {"greeting": "Hi"})
    assert difference.lines == ()


def test_a_text_that_appears_is_shown_by_lines() -> None:
    [difference] = compare({}, {"prompt": "One.\nTwo."})
    assert [line.mark for line in difference.lines] == [Mark.NEW, Mark.NEW]
