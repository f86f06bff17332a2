"""What every provider of language models owes alike: its key, address and model are used, and what is asked of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from tests.connectors_app.turns import made_with, reply_of
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.google import GOOGLE_STREAM
from tests.providers.ollama import OLLAMA_CHAT
from tests.providers.openai import OPENAI_CHAT
from tests.providers.openai_responses import OPENAI_RESPONSES_CREATE
from tests.providers.standins import StandIns

ROUTES = {
    "openai": OPENAI_CHAT,
    "openai_responses": OPENAI_RESPONSES_CREATE,
    "custom": OPENAI_CHAT,
    "anthropic": ANTHROPIC_MESSAGES,
    "google": GOOGLE_STREAM,
    "ollama": OLLAMA_CHAT,
}


async def asked(slug: str, options: Mapping[str, Any], environ: dict[str, str], stand_ins: StandIns) -> Any:
    async with made_with(Role.LLM, slug, dict(options), environ) as model:
        await reply_of(model)
    (request,) = stand_ins.requests_to(ROUTES[slug])
    return request


# -- keys, addresses, models -----------------------------------------------------------------------------


@pytest.mark.accepts("C14", "C16", "C17", "C18", "C20", "C21", "C23", "C28")
@pytest.mark.parametrize(
    ("slug", "model", "setting", "header", "sent"),
    [
        ("openai", "gpt-4.1", "OPENAI_API_KEY", "authorization", "Bearer mine"),
        ("anthropic", "claude-sonnet-5-5", "ANTHROPIC_API_KEY", "authorization", "Bearer mine"),
        ("google", "gemini-3.5-flash-lite", "GOOGLE_API_KEY", "x-goog-api-key", "mine"),
        ("custom", "gpt-4.1", "CUSTOM_API_KEY", "authorization", "Bearer mine"),
    ],
)
async def test_key_and_model_are_sent_to_the_address(
    slug: str, model: str, setting: str, header: str, sent: str, environ: dict[str, str], stand_ins: StandIns
) -> None:
    request = await asked(slug, {"model": model}, environ | {setting: "mine"}, stand_ins)
    assert request.headers[header] == sent
    assert request.body.get("model", request.path.rpartition("/")[2].partition(":")[0]) == model


@pytest.mark.accepts("C24", "C26")
async def test_ollama_needs_an_address_and_a_model(environ: dict[str, str], stand_ins: StandIns) -> None:
    request = await asked("ollama", {"model": "llama3.2"}, environ, stand_ins)
    assert request.body["model"] == "llama3.2" and "authorization" not in request.headers
    assert registry.missing(Role.LLM, {})["ollama"] == ("OLLAMA_BASE_URL",)


@pytest.mark.accepts("C14", "C16", "C18", "C20", "C21", "C23")
@pytest.mark.parametrize(
    ("slug", "setting"),
    [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY"), ("google", "GOOGLE_API_KEY")],
)
def test_without_its_key_it_cannot_be_used(slug: str, setting: str) -> None:
    assert registry.missing(Role.LLM, {})[slug] == (setting,)
    assert slug in registry.usable(Role.LLM, {setting: "mine"})


@pytest.mark.accepts("C17")
def test_openais_own_address_needs_no_setting() -> None:
    found = registry.get(Role.LLM, "openai").credentials_from({"OPENAI_API_KEY": "mine"})
    assert found.base_url == "https://api.openai.com/v1"


# -- parameters ------------------------------------------------------------------------------------------

CHAT = {"temperature": 0.5, "max_tokens": 50, "top_p": 0.5, "frequency_penalty": -1, "presence_penalty": 1.5}
BASIC = {"temperature": 0.5, "max_output_tokens": 50, "top_p": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "openai": {**CHAT, "model": "gpt-4.1", "stop": ["END", "STOP"]},
    "custom": {**CHAT, "model": "gpt-4.1", "stop": ["END", "STOP"]},
    "openai_responses": {**BASIC, "model": "gpt-4.1"},
    "anthropic": {"temperature": 0.5, "max_tokens": 50, "stop_sequences": ["END", "STOP"]},
    "google": {**BASIC, "frequency_penalty": -1, "presence_penalty": 1.5, "stop_sequences": ["END", "STOP"]},
    "ollama": {"num_predict": 50, "temperature": 0.5, "top_p": 0.5, "frequency_penalty": -1, "stop": ["END", "STOP"]},
}
NAMES = {
    "max_output_tokens": "maxOutputTokens",
    "top_p": "topP",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "stop_sequences": "stopSequences",
}
"""Google's."""


@pytest.mark.accepts("C29", "C30", "C31", "C32", "C33", "C34")
@pytest.mark.parametrize("slug", OPTIONS)
async def test_parameters_are_sent(slug: str, environ: dict[str, str], stand_ins: StandIns) -> None:
    options = OPTIONS[slug]
    body = (await asked(slug, options, environ, stand_ins)).body
    place = {"google": "generationConfig", "ollama": "options"}.get(slug)
    names = NAMES if slug == "google" else {}
    assert {names.get(name, name): value for name, value in options.items()}.items() <= (
        body[place] if place else body
    ).items()


@pytest.mark.accepts("C30", "C31", "C32", "C33")
async def test_what_is_null_is_not_sent(environ: dict[str, str], stand_ins: StandIns) -> None:
    body = (await asked("openai", dict.fromkeys(CHAT), environ, stand_ins)).body
    assert not body.keys() & CHAT.keys()


WRONG = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("top_p", -0.1),
    ("top_p", 1.1),
    ("frequency_penalty", -2.1),
    ("frequency_penalty", 2.1),
    ("presence_penalty", -2.1),
    ("presence_penalty", 2.1),
]
THEIRS = {"google": "max_output_tokens", "openai_responses": "max_output_tokens", "ollama": "num_predict"}
"""What they call the longest answer."""


def wrong() -> Iterator[tuple[str, str, float]]:
    """Of each provider what it has."""
    for slug in OPTIONS:
        for option, value in WRONG:
            name = THEIRS.get(slug, option) if option == "max_tokens" else option
            if name in registry.get(Role.LLM, slug).Options.model_fields:
                yield slug, name, value


@pytest.mark.accepts("C29", "C30", "C31", "C32", "C33")
@pytest.mark.parametrize(("slug", "name", "value"), [*wrong()])
def test_parameters_out_of_range_are_refused(slug: str, name: str, value: float) -> None:
    config = {"model": "gpt-4.1", name: value} if slug == "custom" else {name: value}
    (problem,) = registry.check_connectors({"llm": {"primary": slug, "config": {slug: config}}})
    assert problem.path == f"connectors.llm.config.{slug}.{name}"


def test_every_provider_with_a_wire_is_here() -> None:
    assert {slug for slug in registry.names(Role.LLM) if registry.get(Role.LLM, slug).base_url_setting} == set(ROUTES)
