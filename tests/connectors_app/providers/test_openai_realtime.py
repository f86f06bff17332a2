"""OpenAI's live recognition over a call: one session, renewed in time; whose text a late answer is; what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app import line
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers import openai_realtime
from connectors_app.providers.openai_realtime import OpenAIRealtimeOptions
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import break_connections, made_with, sockets
from tests.providers import openai_realtime as stand_in
from tests.providers.openai_realtime import OPENAI_REALTIME_CONNECT, OPENAI_REALTIME_TRANSCRIPT
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

Made = AbstractAsyncContextManager[Any]


def recognizer(environ: dict[str, str], **options: Any) -> Made:
    return made_with(Role.STT, "openai_realtime", options, environ)


@asynccontextmanager
async def recognition(environ: dict[str, str], interims: list[str] | None = None, **options: Any) -> AsyncIterator[Any]:
    heard = interims if interims is not None else []
    async with recognizer(environ, **options) as one, one.open(8000, heard.append) as session:
        yield session


async def begun(session: Any, pcm: bytes) -> None:
    await session.begin()
    for start in range(0, len(pcm), 960):
        await session.send(pcm[start : start + 960])


async def ask(session: Any, pcm: bytes) -> Any:
    await begun(session, pcm)
    return await session.finish()


async def given_up(session: Any, pcm: bytes, stand_ins: StandIns) -> None:
    """The server has been asked, and is not waited for any longer."""
    (socket,) = await sockets(stand_ins, OPENAI_REALTIME_CONNECT)
    await begun(session, pcm)
    finishing = asyncio.create_task(session.finish())
    await socket.messages.until(lambda messages: {"type": "input_audio_buffer.commit"} in messages)
    assert not finishing.done()
    finishing.cancel()
    await asyncio.wait([finishing])


async def test_a_session_is_set_up_before_any_audio(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with recognition(environ, language="en", noise_reduction="near_field"):
        (socket,) = await sockets(stand_ins, OPENAI_REALTIME_CONNECT)
        (update,) = await socket.messages.until(lambda messages: bool(messages))
    heard = update["session"]["audio"]["input"]
    assert socket.query == {"intent": "transcription"} and update["session"]["type"] == "transcription"
    assert heard["format"] == {"type": "audio/pcm", "rate": 24_000} and heard["turn_detection"] is None
    assert heard["transcription"] == {"model": "gpt-live-transcribe", "language": "en"}
    assert heard["noise_reduction"] == {"type": "near_field"}


async def test_one_session_serves_a_call(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with recognition(environ) as session:
        assert [(await ask(session, question)).text for _ in range(3)] == [QUESTION] * 3
    assert len(stand_ins.requests_to(OPENAI_REALTIME_CONNECT)) == 1


async def test_a_live_model_writes_while_it_hears(environ: dict[str, str], question: bytes) -> None:
    interims: list[str] = []
    async with recognition(environ, interims) as session:
        await begun(session, question)
        await session.send(bytes(1600))
        async with asyncio.timeout(5):
            while not interims:
                session._changed.clear()
                await session._changed.wait()
        early = list(interims)
        await session.finish()
    assert early and all(QUESTION.startswith(text) for text in interims) and interims[-1] == QUESTION


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1"])
async def test_older_models_write_after_the_utterance(model: str, environ: dict[str, str], question: bytes) -> None:
    interims: list[str] = []
    async with recognition(environ, interims, model=model, prompt="Appointments.") as session:
        assert (await ask(session, question)).text == QUESTION
    assert interims[-1] == QUESTION


async def test_confidence_is_told_when_asked_for(environ: dict[str, str], question: bytes) -> None:
    async with recognition(environ, logprobs=True) as session:
        assert (await ask(session, question)).confidence == pytest.approx(0.905, abs=0.001)


async def test_a_moment_of_sound_is_no_utterance(environ: dict[str, str], question: bytes) -> None:
    async with recognition(environ) as session:
        assert (await ask(session, question[:800])).text == ""
        assert (await ask(session, question)).text == QUESTION


async def test_unintelligible_audio_is_empty(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    stand_ins.steer(OPENAI_REALTIME_TRANSCRIPT, Behaviour(fault=Fault.REFUSE, status=422))
    async with recognition(environ) as session:
        assert (await ask(session, question)).text == ""


@pytest.mark.parametrize(("status", "kind"), [(429, ErrorKind.RATE_LIMIT), (500, ErrorKind.SERVER)])
async def test_a_failed_transcription_has_its_kind(
    status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(OPENAI_REALTIME_TRANSCRIPT, Behaviour(fault=Fault.REFUSE, status=status))
    async with recognition(environ) as session:
        with pytest.raises(ProviderError) as caught:
            await ask(session, question)
    assert caught.value.kind is kind


async def test_a_late_text_is_not_the_next_ones(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    stand_ins.steer(OPENAI_REALTIME_TRANSCRIPT, Behaviour(nth=1, fault=Fault.EMPTY, first_ms=50))
    async with recognition(environ, model="gpt-4o-transcribe") as session:
        await given_up(session, question, stand_ins)
        assert (await ask(session, question)).text == QUESTION


async def test_a_text_that_never_comes_is_waited_for(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(OPENAI_REALTIME_TRANSCRIPT, Behaviour(nth=1, fault=Fault.NEVER))
    async with recognition(environ) as session:
        await given_up(session, question, stand_ins)
        assert (await ask(session, question)).text == QUESTION


async def test_a_model_that_is_not_there_is_told(environ: dict[str, str], question: bytes) -> None:
    async with recognition(environ, model="whisper-9") as session:
        with pytest.raises(ProviderError, match="openai_realtime") as caught:
            await ask(session, question)
    assert caught.value.kind is ErrorKind.REQUEST


async def test_a_session_that_stays_mute_is_given_up(
    environ: dict[str, str], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "OPEN_SECONDS", 0.1)
    stand_ins.steer(OPENAI_REALTIME_CONNECT, Behaviour(fault=Fault.STALL))
    async with recognition(environ) as session:
        await session.begin()
        with pytest.raises(ProviderError) as caught:
            await session.send(bytes(960))
    assert caught.value.kind is ErrorKind.TIMEOUT


async def test_an_old_session_is_renewed_between_utterances(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_realtime, "LIFETIME_SECONDS", 0.0)
    async with recognition(environ) as session:
        assert (await ask(session, question)).text == QUESTION
        await sockets(stand_ins, OPENAI_REALTIME_CONNECT, 2)
        assert (await ask(session, question)).text == QUESTION


async def test_a_session_that_ends_in_an_utterance_is_broken(
    environ: dict[str, str], question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "SESSION_SECONDS", 0.1)
    async with recognition(environ) as session:
        with pytest.raises(ProviderError, match="session_expired"):
            async with asyncio.timeout(5):
                await begun(session, question)
                while not session._error:
                    session._changed.clear()
                    await session._changed.wait()
                await session.send(bytes(320))


async def test_a_session_lost_while_idle_is_opened_again(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with recognition(environ) as session:
        assert (await ask(session, question)).text == QUESTION
        break_connections(stand_ins)
        await sockets(stand_ins, OPENAI_REALTIME_CONNECT, 2)
        assert (await ask(session, question)).text == QUESTION


@pytest.mark.parametrize(
    "options",
    [
        {"model": "whisper-1", "keywords": ("Ada",)},
        {"model": "gpt-4o-transcribe", "languages": ("en", "de")},
        {"model": "gpt-realtime-whisper", "prompt": "Appointments."},
        {"model": "gpt-4o-transcribe", "delay": "low"},
        {"model": "whisper-1", "logprobs": True},
        {"model": "gpt-4o-mini-transcribe-2025-12-15", "keywords": ["MeshAG"]},
        {"language": "en", "languages": ("de",)},
    ],
)
def test_what_a_model_does_not_take_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="does not take|not both"):
        OpenAIRealtimeOptions(**options)
