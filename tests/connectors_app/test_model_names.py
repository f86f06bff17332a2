"""The catalogue of models: names to choose from, newest first, and what is said of those that are gone or unknown."""

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.model_names import RETIRED, ModelNames
from connectors_app.option_forms import option_form

NAMES = ModelNames(served=("big-2", "big-1-latest"), retired=("big-1",))
DOCUMENTED = [
    ("openai", {"gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-3.5-turbo-16k"}),
    ("anthropic", {"claude-3-opus", "claude-3-sonnet", "claude-3-haiku", "claude-3-5-sonnet"}),
    ("google", {"gemini-pro", "gemini-pro-vision"}),
    ("ollama", {"llama2", "llama2:13b", "mistral", "codellama", "vicuna", "orca-mini"}),
]


@pytest.mark.accepts("C15", "C19", "C22", "C25")
@pytest.mark.parametrize(("slug", "names"), DOCUMENTED)
def test_the_documented_models_are_listed(slug: str, names: set[str]) -> None:
    """In the form and in the API's description, and any other name is taken."""
    options = registry.get(Role.LLM, slug).Options
    listed = options.model_json_schema()["properties"]["model"]["examples"]
    shown = str(option_form(options)({})["model"])
    assert names <= set(listed) and all(f'<option value="{name}">' in shown for name in names)
    assert registry.check_connectors({"llm": {"primary": slug, "config": {slug: {"model": "of-tomorrow"}}}}) == []


@pytest.mark.accepts("C15", "C19", "C22")
@pytest.mark.parametrize("slug", ["openai", "openai_responses", "anthropic", "google"])
def test_models_that_are_gone_come_last_and_are_marked(slug: str) -> None:
    options = registry.get(Role.LLM, slug).Options
    described = options.model_json_schema()["properties"]["model"]
    gone = described[RETIRED]
    assert gone and described["examples"][-len(gone) :] == gone
    assert f'<option value="{gone[0]}">no longer served</option>' in str(option_form(options)({})["model"])
    assert "switched off" in registry.model_problems(slug, {"model": gone[0]})[0]


@pytest.mark.accepts("C15", "C19", "C22", "C25")
@pytest.mark.parametrize(
    ("slug", "warned"), [("openai", True), ("anthropic", True), ("google", True), ("ollama", False), ("custom", False)]
)
def test_only_a_vendors_unknown_models_are_warned_of(slug: str, warned: bool) -> None:
    told = registry.model_problems(slug, {"model": "of-tomorrow"})
    assert any("of-tomorrow is no model that is known here" in problem for problem in told) == warned


@pytest.mark.parametrize("slug", ["openai", "openai_responses", "anthropic", "google", "ollama", "script"])
def test_default_models_are_known(slug: str) -> None:
    assert not any("known" in told or "off" in told for told in registry.model_problems(slug, {}))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("big-2", ""),
        ("big-2-2026-11-21", ""),
        ("models/big-2", ""),
        ("big-1-latest", ""),
        ("big-1", "switched off"),
        ("big-1-0613", "switched off"),
        ("big-22", "no model that is known"),
    ],
)
def test_the_longest_beginning_decides(model: str, said: str) -> None:
    assert said in NAMES.problem(model) and bool(said) == bool(NAMES.problem(model))


def test_without_a_catalogue_every_name_is_good() -> None:
    assert ModelNames().problem("anything") == ""
