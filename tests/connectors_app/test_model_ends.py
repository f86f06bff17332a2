"""Models that their providers end are warned of."""

from datetime import date

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.model_ends import ENDS, ending

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("slug", "model", "told"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", "2026-11-30: choose another one by then"),
        ("google", "models/gemini-2.5-flash", "2026-10-16: calls may fail"),
    ],
)
def test_an_announced_end_is_told(slug: str, model: str, told: str) -> None:
    assert told in ending(slug, model, TODAY)


@pytest.mark.parametrize(
    ("slug", "model"), [("anthropic", "claude-haiku-4-5"), ("google", "gemini-3.8-flash"), ("custom", "gemini-2.5-pro")]
)
def test_of_anything_else_nothing_is_known(slug: str, model: str) -> None:
    assert ending(slug, model, TODAY) == ""


@pytest.mark.parametrize("slug", ENDS)
def test_no_default_model_has_an_end(slug: str) -> None:
    """Looked at with the eyes of the day on which this was written: the code is not to fail by itself later."""
    model = registry.get(Role.LLM, slug).Options().model_dump()["model"]
    assert ending(slug, model, TODAY) == ""


def test_who_publishes_hears_of_it() -> None:
    assert "gemini-2.5-pro" in registry.model_problems("google", {"model": "gemini-2.5-pro"})[0]
