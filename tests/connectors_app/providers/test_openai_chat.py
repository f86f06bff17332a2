"""OpenAI's chat options: what models that reason do not take is left out where nobody chose it."""

import pytest
from pydantic import ValidationError

from connectors_app.openai_chat import ChatOptions, reasons


@pytest.mark.parametrize(
    "model",
    ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.4-mini", "gpt-6-sol", "openai/gpt-5", "ft:o4-mini:us::1"],
)
def test_models_that_reason_get_their_own_limit(model: str) -> None:
    request = ChatOptions(model=model, max_tokens=300).request()
    assert request == {"model": model, "max_completion_tokens": 300}


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "gpt-5-chat-latest", "gpt-oss:20b", "llama-3", "foo3", "ft:gpt-4o:us:o1"],
)
def test_other_models_get_the_usual_limit(model: str) -> None:
    assert not reasons(model)
    assert ChatOptions(model=model).request() == {"model": model, "max_tokens": 1000, "temperature": 0.7}


def test_what_was_chosen_is_sent_in_any_case() -> None:
    request = ChatOptions(model="gpt-5.4", temperature=1, max_tokens=5, max_completion_tokens=50).request()
    assert request == {"model": "gpt-5.4", "temperature": 1, "max_completion_tokens": 50}
    assert ChatOptions(model="gpt-5.4", max_tokens=None).request() == {"model": "gpt-5.4"}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"top_p": 1.1},
        {"frequency_penalty": -2.1},
        {"presence_penalty": 2.1},
        {"max_tokens": 0},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"reasoning_effort": "a lot"},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChatOptions.model_validate(options)
