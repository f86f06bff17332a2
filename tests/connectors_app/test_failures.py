"""What a refusal means, however a provider says it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest

from connectors_app import registry
from connectors_app.base.connector import Connector, Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.failures import closed, error_code, from_code, from_status, refused, retry_after

BODIES: list[tuple[Any, str]] = [
    ({"error": {"message": "…", "type": "invalid_request_error", "code": "model_not_found"}}, "model_not_found"),
    ({"message": "…", "type": "invalid_request_error", "code": None}, "invalid_request_error"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "…"}}, "overloaded_error"),
    ({"detail": {"status": "quota_exceeded", "message": "…"}}, "quota_exceeded"),
    ({"err_code": "INVALID_AUTH", "err_msg": "…"}, "INVALID_AUTH"),
    ({"message": "…", "error": "voice_id_does_not_exist", "code": 1008}, "voice_id_does_not_exist"),
    ({"error": "Incorrect API key provided: sk-1234"}, ""),
    ("<html>", ""),
    (None, ""),
]


NOT_ACCEPTED = "does not accept what was asked; check the options of “openai”"


@pytest.fixture
def openai() -> Connector:
    cls = registry.get(Role.LLM, "openai")
    return cls(registry.make_options(cls, {}), Credentials("sk-1234"))


@pytest.mark.parametrize(("body", "code"), BODIES)
def test_every_dialects_code_is_found(body: Any, code: str) -> None:
    assert error_code(body) == code


def test_used_up_quota_is_no_rate_limit(openai: Connector) -> None:
    error = from_status(openai, 429, body={"error": {"code": "insufficient_quota", "message": "…"}})
    assert error.kind is ErrorKind.QUOTA and "insufficient_quota" in error.message


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "invalid_request_error", "Your credit balance is too low to access the API."),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
    ],
)
def test_an_account_without_credit_is_told_by_words(status: int, code: str, words: str, openai: Connector) -> None:
    error = from_status(openai, status, body={"error": {"type": code, "message": words}})
    assert error.kind is ErrorKind.QUOTA and words not in error.message


def test_a_refused_key_names_its_setting(openai: Connector) -> None:
    error = from_status(openai, 401, body={"error": {"message": "Incorrect API key provided: sk-1234"}})
    assert error.message == "OpenAI does not accept the key in OPENAI_API_KEY (401)"


def test_a_known_key_may_not_do_everything(openai: Connector) -> None:
    error = from_status(openai, 403, body={"error": {"code": "output_format_not_allowed"}})
    told = "OpenAI does not allow this with the key in OPENAI_API_KEY; do its rights and its plan include the model?"
    assert (error.kind, error.message) == (ErrorKind.AUTH, f"{told} (403, output_format_not_allowed)")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limit_exceeded", ErrorKind.RATE_LIMIT),
        ("invalid_api_key", ErrorKind.AUTH),
        ("quota_exceeded", ErrorKind.QUOTA),
        ("overloaded_error", ErrorKind.SERVER),
        ("invalid_prompt", ErrorKind.REQUEST),
        ("", ErrorKind.SERVER),
    ],
)
def test_an_error_inside_a_stream_has_its_kind(code: str, kind: ErrorKind, openai: Connector) -> None:
    assert from_code(openai, code).kind is kind


@pytest.mark.parametrize(
    ("code", "reason", "kind", "told"),
    [
        (1006, "", ErrorKind.BROKEN, "broke off before its end mark"),
        (1007, "", ErrorKind.REQUEST, f"{NOT_ACCEPTED} (close code 1007)"),
        (1008, "DATA-0000: sk-1234", ErrorKind.BROKEN, "broke off before its end mark (close code 1008, DATA-0000)"),
        (1009, "sk-1234 is too much", ErrorKind.BROKEN, "broke off before its end mark (close code 1009)"),
        (1011, "NET-0000: sorry", ErrorKind.SERVER, "has an error of its own (close code 1011, NET-0000)"),
    ],
)
def test_a_sockets_end_says_whose_fault_it_is(
    code: int, reason: str, kind: ErrorKind, told: str, openai: Connector
) -> None:
    error = closed(openai, code, reason)
    assert (error.kind, error.message) == (kind, f"OpenAI {told}")


def test_retry_after_takes_seconds_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert 25 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None and retry_after({}) is None
    assert retry_after({"retry-after-ms": "1500", "retry-after": "2"}) == 1.5
    assert retry_after({"retry-after-ms": "soon", "retry-after": "2"}) == 2


@pytest.mark.parametrize("key", ["sk-1234••••", "sk-12\n34", "sk-12 34"])
@pytest.mark.parametrize(
    "connector", [each for slug in registry.with_credentials() for each in registry.going_by(slug)]
)
async def test_a_key_that_no_header_takes_is_told(connector: type[Connector], key: str) -> None:
    made = connector(connector.Options.model_construct(), Credentials(key, "http://127.0.0.1:9"))
    with pytest.raises(ProviderError, match="was it copied from where it is masked") as told:
        await made.check()
    await made.close()
    assert told.value.kind is ErrorKind.AUTH and "1234" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "is_own", "question"),
    [
        ("https://api.openai.com/v1", False, "does this machine reach api.openai.com?"),
        ("https://models.example.com/v1", False, "is OPENAI_BASE_URL right and reachable?"),
        ("https://models.example.com/v1", True, "is its address right and reachable?"),
    ],
)
def test_who_takes_no_connection_is_asked_after(address: str, is_own: bool, question: str, openai: Connector) -> None:
    openai.credentials = Credentials("sk-1234", address, is_own)
    error = refused(openai, aiohttp.ConnectionTimeoutError())
    told = f"no connection to OpenAI: nobody there takes it in time; {question}"
    assert (error.kind, error.message) == (ErrorKind.TIMEOUT, told)


def test_a_proxys_refusal_is_not_the_providers(openai: Connector) -> None:
    error = from_status(openai, 407)
    assert error.kind is ErrorKind.REFUSED and "the proxy wants to know who asks" in error.message
