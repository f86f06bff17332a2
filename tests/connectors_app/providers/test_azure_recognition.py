"""Azure's recognition over a call: a turn for each utterance on one connection, which is renewed in time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors_app import azure_messages, line
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers import azure_recognition
from connectors_app.providers.azure_recognition import AzureRecognition
from tests import speech
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import break_connections, made_with, sockets
from tests.providers import azure_recognition as stand_in
from tests.providers.azure_recognition import AZURE_STT_CONNECT, AZURE_STT_PHRASE
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

TWICE = f"{QUESTION} {QUESTION}"


@asynccontextmanager
async def recognition(
    environ: dict[str, str], interims: list[str] | None = None, rate: int = 8000, **options: Any
) -> AsyncIterator[Any]:
    heard = interims if interims is not None else []
    async with made_with(Role.STT, "azure", options, environ) as one, one.open(rate, heard.append) as session:
        yield session


async def ask(session: Any, pcm: bytes, piece: int = 960) -> Any:
    await session.begin()
    for start in range(0, len(pcm), piece):
        await session.send(pcm[start : start + piece])
    return await session.finish()


def told(socket: Any, path: str) -> list[Any]:
    return [message["body"] for message in socket.messages if message["path"] == path]


def test_recognition_has_a_host_of_its_own() -> None:
    found = AzureRecognition.credentials_from({"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_REGION": "westeurope"})
    assert found.base_url == "https://westeurope.stt.speech.microsoft.com"


async def test_utterances_are_turns_on_one_connection(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with recognition(environ, phrases=["MeshAG"]) as session:
        assert [(await ask(session, question)).text for _ in range(3)] == [QUESTION] * 3
    (socket,) = stand_ins.requests_to(AZURE_STT_CONNECT)
    assert len(told(socket, "speech.config")) == 1 and len(told(socket, "speech.context")) == 3
    assert told(socket, "speech.context")[0]["dgi"]["groups"][0]["items"] == [{"text": "MeshAG"}]


async def test_a_custom_model_has_its_own_language(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with recognition(environ, endpoint_id="0123-4567-89ab", language="de-DE") as session:
        assert (await ask(session, question)).text == QUESTION
    (socket,) = stand_ins.requests_to(AZURE_STT_CONNECT)
    assert socket.query == {"format": "detailed", "cid": "0123-4567-89ab"}


async def test_confidence_and_language_are_told(environ: dict[str, str], question: bytes) -> None:
    async with recognition(environ) as session:
        heard = await ask(session, question)
    assert (heard.confidence, heard.language) == (0.93, "en-US")


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
async def test_large_pieces_of_any_rate_are_heard(rate: int, environ: dict[str, str]) -> None:
    async with recognition(environ, rate=rate) as session:
        assert (await ask(session, speech.speak(QUESTION, rate), piece=200_000)).text == QUESTION


async def test_phrases_become_one_transcript(environ: dict[str, str], question: bytes) -> None:
    interims: list[str] = []
    async with recognition(environ, interims) as session:
        assert (await ask(session, question + bytes(12_000) + question)).text == TWICE
    assert interims[-1] == TWICE and len(interims) > 4


async def test_a_turn_that_ends_early_is_gone_on_with(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "TURN_MS", 0.0)
    async with recognition(environ) as session:
        await session.begin()
        await session.send(question + bytes(12_000))
        async with asyncio.timeout(5):
            while session._turn:
                session._changed.clear()
                await session._changed.wait()
        await session.send(question)
        assert (await session.finish()).text == TWICE
    assert len(told(stand_ins.requests_to(AZURE_STT_CONNECT)[0], "speech.context")) == 2


async def test_words_after_a_turns_end_are_said_again(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service ends it when all of the audio is already on its way."""
    monkeypatch.setattr(stand_in, "TURN_MS", 0.0)
    stand_ins.steer(AZURE_STT_PHRASE, Behaviour(nth=1, first_ms=100))
    async with recognition(environ) as session:
        assert (await ask(session, question + bytes(24_000) + question, piece=200_000)).text == TWICE
    assert len(told(stand_ins.requests_to(AZURE_STT_CONNECT)[0], "speech.context")) == 2


async def test_an_abandoned_turn_that_goes_on_costs_its_connection(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_recognition, "ENDING_SECONDS", 0.05)
    stand_ins.steer(AZURE_STT_PHRASE, Behaviour(nth=1, fault=Fault.NEVER))
    interims: list[str] = []
    async with recognition(environ, interims) as session:
        await session.begin()
        await session.send(question)
        assert (await ask(session, question)).text == QUESTION
    assert len(stand_ins.requests_to(AZURE_STT_CONNECT)) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.REQUEST),
        (403, ErrorKind.QUOTA),
        (429, ErrorKind.RATE_LIMIT),
        (500, ErrorKind.SERVER),
    ],
)
async def test_a_phrase_that_failed_has_its_kind(
    status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(AZURE_STT_PHRASE, Behaviour(fault=Fault.REFUSE, status=status))
    async with recognition(environ) as session:
        with pytest.raises(ProviderError) as caught:
            await ask(session, question)
    assert caught.value.kind is kind


async def test_an_old_connection_is_renewed_between_utterances(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_recognition, "LIFETIME_SECONDS", 0.0)
    async with recognition(environ) as session:
        assert (await ask(session, question)).text == QUESTION
        await sockets(stand_ins, AZURE_STT_CONNECT, 2)
        assert (await ask(session, question)).text == QUESTION


@pytest.mark.parametrize("how", ["it is cut", "the service ends it"])
async def test_a_connection_lost_while_idle_is_opened_again(
    how: str, environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with recognition(environ) as session:
        assert (await ask(session, question)).text == QUESTION
        (connection,) = await sockets(stand_ins, AZURE_STT_CONNECT)
        if how == "it is cut":
            break_connections(stand_ins)
        else:
            await session._line.send(json.dumps({"not": "of the protocol"}))
        await sockets(stand_ins, AZURE_STT_CONNECT, 2)
        assert (await ask(session, question)).text == QUESTION


async def test_a_connection_that_is_cut_in_a_turn_is_broken(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with recognition(environ) as session:
        await session.begin()
        await session.send(question)
        break_connections(stand_ins)
        with pytest.raises(ProviderError) as caught:
            await session.finish()
    assert caught.value.kind is ErrorKind.BROKEN


def test_audio_has_the_length_of_its_headers() -> None:
    message = azure_messages.audio("a" * 32, b"\1\2", "audio/x-wav")
    length = int.from_bytes(message[:2], "big")
    assert message[2 + length :] == b"\1\2" and message[2 : 2 + length].endswith(b"Content-Type: audio/x-wav\r\n")


@pytest.mark.parametrize("message", [b"", b"Path: turn.end", b"\xff\xfe: x\r\n\r\n{}"])
def test_a_message_that_is_none_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):
        azure_messages.parse(message)
