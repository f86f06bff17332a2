"""What a model is told: prompts with their names filled in, and the conversation."""

from typing import Any

import pytest

from mesh.config.reading import parse
from mesh.config.templates import fill
from mesh.history import Line
from mesh.prompts import prompt
from tests.mesh.documents import example

SAID = [
    Line("assistant", "Hi {city}!"),
    Line("user", "Red?"),
    Line("assistant", "Yes."),
    Line("user", "And {city}?"),
]


def told(*, said: list[Line] = SAID, **keys: Any) -> list[str]:
    config = parse(example() | {"system_prompt": "Be kind to {city}."} | keys)
    return [f"{line.role}: {line.text}" for line in prompt(config, "s-1", said)]


@pytest.mark.accepts("C38")
def test_the_system_prompt_comes_first_as_it_is() -> None:
    assert told(variables={"city": "Ulm"}) == ["system: Be kind to {city}.", *(f"{x.role}: {x.text}" for x in SAID)]


def test_without_a_system_prompt_none_is_sent() -> None:
    assert told(system_prompt="")[0].startswith("assistant")


@pytest.mark.accepts("C40")
def test_context_stands_below_the_system_prompt() -> None:
    told_now = told(context_instructions="{city}, {session_id}: {input_data}", variables={"city": "Ulm"})
    assert told_now[0] == "system: Be kind to {city}.\n\nUlm, s-1: And {city}?"


@pytest.mark.accepts("C40")
def test_context_needs_no_system_prompt() -> None:
    assert told(system_prompt="", context_instructions="In Ulm.", said=[]) == ["system: In Ulm."]


def test_context_that_is_empty_adds_nothing() -> None:
    assert told(context_instructions="{nobody}", said=[]) == ["system: Be kind to {city}."]


@pytest.mark.accepts("C39")
def test_the_template_puts_each_of_the_callers_lines() -> None:
    assert told(user_template="{city}: {input_data}", variables={"city": "Ulm"})[1:] == [
        "assistant: Hi {city}!",
        "user: Ulm: Red?",
        "assistant: Yes.",
        "user: Ulm: And {city}?",
    ]


@pytest.mark.accepts("C39")
def test_what_was_said_always_reaches_the_model() -> None:
    assert told(user_template="Answer in verse.")[2] == "user: Answer in verse.\n\nRed?"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{text} {number} {yes} {none}", "a {text} 1.5 true null"),
        ("{list}", '["ä", {"text": 1}]'),
        ("{nobody}.", "."),
        ('{"a": {}} {1} { text } {a b} {} }{', '{"a": {}} {1} { text } {a b} {} }{'),
        ("{{text}}", "{a {text}}"),
    ],
)
def test_names_are_filled_in_once(template: str, filled: str) -> None:
    values: dict[str, Any] = {"text": "a {text}", "number": 1.5, "yes": True, "none": None, "list": ["ä", {"text": 1}]}
    assert fill(template, values) == filled
