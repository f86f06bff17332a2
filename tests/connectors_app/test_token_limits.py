"""Answers longer than their model's are warned of."""

from typing import Any

import pytest

from connectors_app import registry
from connectors_app.token_limits import limit_of


@pytest.mark.accepts("C36")
@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4", 8_192),
        ("gpt-4-0613", 8_192),
        ("gpt-4-turbo", 32_768),
        ("gpt-4-32k", 32_768),
        ("gpt-4o-mini", 16_384),
        ("claude-3-7-sonnet", 200_000),
        ("claude-3-opus-20240229", 4_096),
        ("gemini-pro", 30_720),
        ("gemini-pro-vision", 30_720),
        ("gpt-45", None),
        ("of-my-own", None),
    ],
)
def test_the_longest_beginning_decides(model: str, limit: int | None) -> None:
    assert limit_of(model) == limit


@pytest.mark.accepts("C36")
@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("openai", {"model": "gpt-4", "max_tokens": 8_193}),
        ("openai", {"model": "gpt-4-turbo", "max_tokens": 32_769}),
        ("openai", {"model": "gpt-4", "max_tokens": 5, "max_completion_tokens": 8_193}),
        ("google", {"model": "gemini-pro", "max_output_tokens": 30_721}),
        ("anthropic", {"model": "claude-haiku-4-5", "max_tokens": 64_001}),
    ],
)
def test_too_long_an_answer_is_told(slug: str, options: dict[str, Any]) -> None:
    problem = registry.model_problems(slug, options)[0]
    assert str(options["model"]) in problem and "at most" in problem


@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("openai", {}),
        ("openai", {"model": "gpt-4", "max_tokens": 8_192}),
        ("openai", {"model": "gpt-4", "max_tokens": None}),
        ("openai", {"model": "gpt-9", "max_tokens": 100_000}),
        ("openai", {"max_tokens": "many"}),
        ("script", {}),
        ("nobody", {}),
    ],
)
def test_anything_else_is_fine(slug: str, options: dict[str, Any]) -> None:
    assert not any("at most" in problem for problem in registry.model_problems(slug, options))
