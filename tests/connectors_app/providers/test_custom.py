"""A custom endpoint: headers of its own, and no key."""

import pytest
from pydantic import ValidationError

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.providers.custom import CustomChatOptions
from tests.connectors_app.turns import made_with, used
from tests.providers.openai import OPENAI_CHAT, OPENAI_MODELS, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.providers.standins import StandIns

HEADERS = {"X-Tenant": "Bicycles", "api-key": "s3cret"}
NEEDED = {
    Role.LLM: {"model": "gpt-4o"},
    Role.STT: {"model": "whisper-1"},
    Role.TTS: {"model": "tts-1", "voice": "alloy"},
}


@pytest.mark.accepts("C28")
@pytest.mark.parametrize(
    ("role", "route"), [(Role.LLM, OPENAI_CHAT), (Role.STT, OPENAI_TRANSCRIPTIONS), (Role.TTS, OPENAI_SPEECH)]
)
async def test_headers_are_sent_as_they_are(
    role: Role, route: Route, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    headers = {"X-Tenant": "Bicycles & more", "api-key": "s3cret"}
    async with made_with(role, "custom", {**NEEDED[role], "headers": headers}, environ) as connector:
        await connector.check()
        await used(connector, question)
    for asked in (OPENAI_MODELS, route):
        (request,) = stand_ins.requests_to(asked)
        assert (request.headers["x-tenant"], request.headers["api-key"]) == ("Bicycles & more", "s3cret")
        assert "headers" not in (request.body or {})


async def test_a_header_may_take_the_keys_place(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"model": "gpt-4o", "headers": {"authorization": "Bearer of-its-own"}}
    async with made_with(Role.LLM, "custom", options, environ) as model:
        await model.check()
    assert stand_ins.requests_to(OPENAI_MODELS)[0].headers["authorization"] == "Bearer of-its-own"


@pytest.mark.accepts("C28")
async def test_no_key_is_needed(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with made_with(Role.LLM, "custom", {"model": "gpt-4o"}, {**environ, "CUSTOM_API_KEY": ""}) as model:
        await used(model, question)
    assert stand_ins.requests_to(OPENAI_CHAT)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "elsewhere"},
        {"content-length": "3"},
        {"Transfer-Encoding": "chunked"},
        {"X Y": "3"},
        {"": "3"},
        {"X-A": "s3cret\r\nX-B: 1"},
        {"X-A": " s3cret"},
        {"X-A": "s3crët"},
        {"X-A": "1", "x-a": "2"},
        {"X-A": 1},
        {f"X-{n}": "1" for n in range(33)},
    ],
    ids=str,
)
def test_bad_headers_are_refused(headers: dict[str, str]) -> None:
    config = {"model": "m", "headers": headers}
    problems = registry.check_connectors({"llm": {"primary": "custom", "config": {"custom": config}}})
    assert problems and all("headers" in problem.path and "s3cr" not in problem.message for problem in problems)


def test_options_do_not_show_headers() -> None:
    assert "s3cret" not in repr(CustomChatOptions(model="m", headers=HEADERS))


def test_flat_options_may_have_headers() -> None:
    config = {"model": "m", "headers": {"X-A": "1"}}
    assert registry.options_by_provider(["custom", "openai"], config)["custom"] == config
    assert not registry.check_connectors({"llm": {"primary": "custom", "config": config}})


def test_unknown_options_are_still_refused() -> None:
    with pytest.raises(ValidationError):
        CustomChatOptions.model_validate({"model": "m", "extra_headers": {}})
