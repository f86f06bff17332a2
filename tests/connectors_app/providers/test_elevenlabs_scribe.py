"""Scribe's commits: one for each utterance, more for a long one, and none too many."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers import elevenlabs_scribe
from connectors_app.providers.elevenlabs_scribe import ScribeOptions
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.providers.scripted_socket import saying
from tests.connectors_app.turns import made, made_with, sockets
from tests.providers import elevenlabs_scribe as stand_in
from tests.providers.elevenlabs_scribe import SCRIBE_CONNECT, SCRIBE_LISTEN
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

SILENCE = bytes(16_000)  # a second at 8 kHz


async def ask(recognition: Any, pcm: bytes) -> str:
    await recognition.begin()
    for start in range(0, len(pcm), 960):
        await recognition.send(pcm[start : start + 960])
    return str((await recognition.finish()).text)


def commits(socket: Any) -> list[Any]:
    return [message for message in socket.messages if message["commit"]]


# -- commits ---------------------------------------------------------------------------------------------


async def test_one_socket_serves_a_session(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        assert [await ask(session, question) for _ in range(3)] == [QUESTION] * 3
    (socket,) = stand_ins.requests_to(SCRIBE_CONNECT)
    assert len(commits(socket)) == 3 and socket.query["commit_strategy"] == "manual"


async def test_a_short_word_is_filled_up(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, bytes(1600)) == ""
    (socket,) = stand_ins.requests_to(SCRIBE_CONNECT)
    assert commits(socket) == [{**commits(socket)[0], "audio_base_64": "4000 bytes"}]


async def test_a_long_utterance_is_committed_in_parts(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elevenlabs_scribe, "PART_SECONDS", len(question) / 16_000)
    interims: list[str] = []
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, interims.append) as session:
        assert await ask(session, question + SILENCE + question) == f"{QUESTION} {QUESTION}"
    assert len(commits(stand_ins.requests_to(SCRIBE_CONNECT)[0])) == 2
    assert all(f"{QUESTION} {QUESTION}".startswith(text) for text in interims)


async def test_the_last_text_is_not_shown_again(environ: dict[str, str], question: bytes) -> None:
    """The server repeats what was committed; only the next utterance's own words are its interims."""
    interims: list[str] = []
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, interims.append) as session:
        await ask(session, question)
        interims.clear()
        assert await ask(session, SILENCE) == ""
    assert not any(interims)


async def test_silence_holds_an_idle_socket(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elevenlabs_scribe, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr(stand_in, "IDLE_SECONDS", 0.8)
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, question) == QUESTION
        (socket,) = await sockets(stand_ins, SCRIBE_CONNECT)
        await socket.messages.until(lambda messages: len([m for m in messages if "320 b" in m["audio_base_64"]]) > 18)
        assert await ask(session, question) == QUESTION
    assert len(stand_ins.requests_to(SCRIBE_CONNECT)) == 1


async def test_an_utterance_is_not_interrupted_by_silence(
    environ: dict[str, str],
) -> None:
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        assert session._silence_when_idle()
        await session.begin()
        assert not session._silence_when_idle()


async def test_the_context_comes_with_the_first_chunk(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    options = {"previous_text": "Dr Miller's practice"}
    async with (
        made_with(Role.STT, "elevenlabs", options, environ) as recognizer,
        recognizer.open(8000, print) as session,
    ):
        assert [await ask(session, question) for _ in range(2)] == [QUESTION] * 2
    first, *others = stand_ins.requests_to(SCRIBE_CONNECT)[-1].messages
    assert first["previous_text"] and not any("previous_text" in other for other in others)


async def test_silence_before_the_first_word_has_the_context(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is audio, too: after it, the server takes no context any more."""
    monkeypatch.setattr(elevenlabs_scribe, "KEEPALIVE_SECONDS", 0.05)
    options = {"previous_text": "Dr Miller's practice"}
    async with (
        made_with(Role.STT, "elevenlabs", options, environ) as recognizer,
        recognizer.open(8000, print) as session,
    ):
        (socket,) = await sockets(stand_ins, SCRIBE_CONNECT)
        await socket.messages.until(lambda messages: len(messages) > 1)
        assert await ask(session, question) == QUESTION
    assert [bool(message.get("previous_text")) for message in socket.messages[:2]] == [True, False]


async def test_silence_counts_before_the_server_commits(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        while session._seconds(session._silence) < elevenlabs_scribe.LONGEST_PART_SECONDS - 2:
            await session._line.send(session._silence_when_idle())
        assert await ask(session, SILENCE + b"\xff\x0f" * 16_000 + SILENCE) == ""
    assert len(commits(stand_ins.requests_to(SCRIBE_CONNECT)[-1])) == 2


# -- a server that errs ----------------------------------------------------------------------------------


def committed(text: str) -> dict[str, Any]:
    return {"message_type": "committed_transcript", "text": text}


async def heard_of(*answers: tuple[dict[str, Any], ...]) -> list[str]:
    """The texts of utterances whose commits are answered so."""
    waiting = list(answers)

    def reply(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if message["commit"]:
            yield from waiting.pop(0)

    async with (
        saying(reply) as url,
        made(Role.STT, "elevenlabs", {"ELEVENLABS_API_KEY": "k", "ELEVENLABS_BASE_URL": url}) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        async with asyncio.timeout(3):
            return [await ask(session, SILENCE) for _ in answers]


async def test_a_text_told_twice_counts_once() -> None:
    timed = {**committed("One."), "message_type": "committed_transcript_with_timestamps", "words": []}
    answers = ((committed("One."), timed, committed("One.")), (committed("Two."),))
    assert await heard_of(*answers) == ["One.", "Two."]


async def test_what_is_not_asked_for_is_no_failure() -> None:
    news = {"message_type": "speakers_merged", "speaker_ids": ["a", "b"]}
    assert await heard_of((news, committed("One."))) == ["One."]


@pytest.mark.parametrize("kind", [{}, {"message_type": "warning"}])
async def test_a_warning_is_no_failure(kind: dict[str, str]) -> None:
    assert await heard_of(({**kind, "warning": "words for people"}, committed("One."))) == ["One."]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("auth_error", ErrorKind.AUTH),
        ("quota_exceeded", ErrorKind.QUOTA),
        ("rate_limited", ErrorKind.RATE_LIMIT),
        ("input_error", ErrorKind.REQUEST),
        ("invalid_request", ErrorKind.REQUEST),
        ("chunk_size_exceeded", ErrorKind.REQUEST),
        ("unaccepted_terms", ErrorKind.AUTH),
        ("queue_overflow", ErrorKind.RATE_LIMIT),
        ("commit_throttled", ErrorKind.RATE_LIMIT),
        ("resource_exhausted", ErrorKind.SERVER),
        ("session_time_limit_exceeded", ErrorKind.SERVER),
        ("insufficient_audio_activity", ErrorKind.SERVER),
        ("transcriber_error", ErrorKind.SERVER),
        ("error", ErrorKind.SERVER),
        ("an_error_of_tomorrow", ErrorKind.SERVER),
    ],
)
async def test_every_error_has_its_kind(message: str, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await heard_of(({"message_type": message, "error": "words for people"},))
    assert caught.value.kind is kind and "words" not in str(caught.value)


async def test_an_empty_commit_is_an_answer(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    stand_ins.steer(SCRIBE_LISTEN, Behaviour(fault=Fault.EMPTY))
    async with made(Role.STT, "elevenlabs", environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, question) == ""


async def test_a_check_reads_what_the_session_says() -> None:
    refusal = {"message_type": "quota_exceeded", "error": "words for people"}
    async with saying(lambda message: (), first=refusal) as url:
        environ = {"ELEVENLABS_API_KEY": "k", "ELEVENLABS_BASE_URL": url}
        async with made(Role.STT, "elevenlabs", environ) as recognizer:
            with pytest.raises(ProviderError) as caught:
                await recognizer.check()
    assert caught.value.kind is ErrorKind.QUOTA


# -- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"secondary_languages": ["de"]}, "needs language_code"),
        ({"keyterms": ["a term of more than twenty letters"]}, "20"),
        ({"previous_text": "x" * 51}, "50"),
        ({"language_code": "English"}, "pattern"),
    ],
)
def test_options_that_scribe_refuses_are_refused_here(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ScribeOptions.model_validate(options)


async def test_a_rate_that_scribe_lacks_is_told(environ: dict[str, str]) -> None:
    async with made(Role.STT, "elevenlabs", environ) as recognizer:
        with pytest.raises(ProviderError, match="11025 Hz"):
            recognizer.open(11_025, print)
