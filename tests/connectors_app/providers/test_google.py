"""Gemini: its contents, why it stops, its refusals that are bad requests, and signed thoughts."""

import json
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app.base.connector import Credentials, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished, Message, Said, Tool, ToolCall
from connectors_app.providers.google import UNSIGNED, Gemini, GoogleOptions
from tests.connectors_app.raw import answering
from tests.connectors_app.turns import made_with, reply_of
from tests.providers.google import GOOGLE_STREAM
from tests.providers.standins import StandIns

CALL = ToolCall("c1", "find", {"n": 1})
OTHER = ToolCall("c2", "find", {"n": 2})
HELLO = Message("user", "Hi")


def chunk(*parts: object, reason: str = "", **more: object) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}} | (
        {"finishReason": reason} if reason else {}
    )
    return f"data: {json.dumps({'candidates': [candidate], **more})}\r\n\r\n".encode()


def refusal(status: int, *details: object, code: str = "INVALID_ARGUMENT") -> bytes:
    return json.dumps({"error": {"code": status, "message": "no", "status": code, "details": details}}).encode()


def gemini(**options: object) -> Gemini:
    return Gemini(GoogleOptions.model_validate(options), Credentials())


async def said(*pieces: bytes, status: int = 200) -> list[Said]:
    async with (
        answering(*pieces, status=status) as url,
        made_with(Role.LLM, "google", {}, {"GOOGLE_API_KEY": "k", "GOOGLE_BASE_URL": url}) as model,
    ):
        return await reply_of(model)


# -- what is asked ---


async def test_options_reach_the_request(environ: dict[str, str], stand_ins: StandIns) -> None:
    options = {"temperature": 0.2, "top_p": 0.5, "top_k": 5, "stop_sequences": ["END"], "thinking_level": "low"}
    async with made_with(Role.LLM, "google", {**options, "safety_threshold": "BLOCK_NONE"}, environ) as model:
        await reply_of(model)
    (request,) = stand_ins.requests_to(GOOGLE_STREAM)
    assert request.body["generationConfig"] == {
        "maxOutputTokens": 1000,
        "temperature": 0.2,
        "topP": 0.5,
        "topK": 5,
        "stopSequences": ["END"],
        "thinkingConfig": {"thinkingLevel": "LOW"},
    }
    assert len(request.body["safetySettings"]) == 4 and request.query == {"alt": "sse"}
    assert request.body["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert request.headers["x-goog-api-key"] == environ["GOOGLE_API_KEY"] and "key" not in request.query


def test_thinking_is_turned_off_by_its_budget() -> None:
    config = GoogleOptions(model="gemini-2.5-flash", thinking_budget=0).request()["generationConfig"]
    assert config["thinkingConfig"] == {"thinkingBudget": 0}
    with pytest.raises(ValidationError, match="not both"):
        GoogleOptions(thinking_level="low", thinking_budget=0)


@pytest.mark.parametrize(
    ("model", "level"),
    [
        ("gemini-3.8-flash", "LOW"),
        ("models/gemini-4-neon", "LOW"),
        ("gemini-3.5-flash-lite", None),
        ("gemini-2.5-flash", None),
        ("gemini-pro", None),
        ("tunedModels/mine", None),
    ],
)
def test_unless_told_newer_models_think_little(model: str, level: str | None) -> None:
    config = GoogleOptions(model=model).request()["generationConfig"]
    assert config.get("thinkingConfig", {}).get("thinkingLevel") == level


async def test_a_level_that_the_model_lacks_is_refused(environ: dict[str, str]) -> None:
    async with made_with(Role.LLM, "google", {"thinking_level": "minimal"}, environ) as model:
        with pytest.raises(ProviderError) as caught:
            await reply_of(model)
    assert caught.value.kind is ErrorKind.REQUEST


def test_results_stand_together_after_their_calls() -> None:
    messages = (
        Message("assistant", "Good day."),
        HELLO,
        Message("assistant", "", calls=(CALL, OTHER)),
        Message("tool", "one", call=CALL),
        Message("tool", "", call=OTHER),
    )
    contents = gemini().request(messages, ())["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "model", "user"]
    assert [part["functionCall"]["args"] for part in contents[3]["parts"]] == [{"n": 1}, {"n": 2}]
    assert [part["functionResponse"]["response"] for part in contents[4]["parts"]] == [
        {"output": "one"},
        {"output": ""},
    ]


def test_a_function_without_parameters_has_no_schema() -> None:
    tool = Tool("now", "The time.", {"type": "object", "properties": {}})
    declared = gemini().request((HELLO,), (tool,))["tools"][0]["functionDeclarations"]
    assert declared == [{"name": "now", "description": "The time."}]


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-3.8-flash", [True, False]), ("gemini-2.5-flash", [False, False])]
)
def test_calls_of_another_model_say_that_they_are_unsigned(model: str, signed: list[bool]) -> None:
    contents = gemini(model=model).request((HELLO, Message("assistant", "", calls=(CALL, OTHER))), ())["contents"]
    assert [part.get("thoughtSignature") == UNSIGNED for part in contents[1]["parts"]] == signed


@pytest.mark.parametrize("model", ["../x", "a/b/c", "models/", "gemini:stream", "", "gemini pro?x=1"])
def test_a_models_name_is_no_path(model: str) -> None:
    with pytest.raises(ValidationError):
        GoogleOptions(model=model)


# -- what is answered ---


async def test_signed_thoughts_come_back_with_the_call() -> None:
    part = {"functionCall": {"id": "c1", "name": "find", "args": {"n": 1}}, "thoughtSignature": "c2ln"}
    async with (
        answering(chunk({"text": "Hm.", "thought": True}), chunk(part, reason="STOP")) as url,
        made_with(Role.LLM, "google", {}, {"GOOGLE_API_KEY": "k", "GOOGLE_BASE_URL": url}) as model,
    ):
        async with aclosing(model.reply((HELLO,))) as items:
            assert [item async for item in items] == [CALL, Finished("tools")]
        contents = model.request((HELLO, Message("assistant", "", calls=(CALL,))), ())["contents"]
    assert contents[1]["parts"][0]["thoughtSignature"] == "c2ln"


async def test_older_models_calls_get_ids() -> None:
    calls = await said(chunk({"functionCall": {"name": "find"}}, {"functionCall": {"name": "find"}}, reason="STOP"))
    first, second, _ = calls
    assert isinstance(first, ToolCall) and isinstance(second, ToolCall)
    assert first.arguments == {} and first.id and first.id != second.id


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "filtered"),
        ("RECITATION", "filtered"),
        ("OTHER", "other"),
    ],
)
async def test_every_reason_has_its_name(theirs: str, ours: str) -> None:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 7, "thoughtsTokenCount": 20}
    assert await said(chunk({"text": "Yes"}), chunk(reason=theirs, usageMetadata=usage)) == [
        "Yes",
        Finished(ours, 3, 27),
    ]


async def test_a_blocked_question_is_filtered() -> None:
    blocked = b'data: {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}\r\n\r\n'
    assert await said(blocked) == [Finished("filtered", 3)]


@pytest.mark.parametrize("pieces", [(chunk({"text": "Yes"}),), (chunk(reason="MALFORMED_FUNCTION_CALL"),)])
async def test_no_proper_end_is_a_break(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ProviderError) as caught:
        await said(*pieces)
    assert caught.value.kind is ErrorKind.BROKEN


# -- refusals ---


async def test_a_wrong_key_is_a_bad_request_there() -> None:
    with pytest.raises(ProviderError, match="GOOGLE_API_KEY") as caught:
        await said(refusal(400, {"reason": "API_KEY_INVALID"}), status=400)
    assert caught.value.kind is ErrorKind.AUTH


async def test_when_to_come_again_stands_in_the_details() -> None:
    with pytest.raises(ProviderError) as caught:
        await said(refusal(429, {"retryDelay": "34.5s"}, code="RESOURCE_EXHAUSTED"), status=429)
    assert (caught.value.kind, caught.value.retry_after) == (ErrorKind.RATE_LIMIT, 34.5)


async def test_a_days_quota_is_no_rate_limit() -> None:
    violation = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    with pytest.raises(ProviderError) as caught:
        await said(refusal(429, violation, code="RESOURCE_EXHAUSTED"), status=429)
    assert caught.value.kind is ErrorKind.QUOTA


async def test_an_error_inside_the_stream_is_told() -> None:
    with pytest.raises(ProviderError) as caught:
        await said(chunk({"text": "Yes"}), b"data: " + refusal(503, code="UNAVAILABLE") + b"\r\n\r\n")
    assert caught.value.kind is ErrorKind.SERVER
