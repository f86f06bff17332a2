"""Flux's turns within our utterances: joined, ended by us, and told apart from those of earlier utterances."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app import line
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.deepgram_flux import FluxOptions
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.providers.scripted_socket import saying
from tests.connectors_app.turns import made, made_with, sockets
from tests.providers import deepgram_flux as stand_in
from tests.providers.deepgram_flux import FLUX_CONNECT, FLUX_LISTEN
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

SILENCE = bytes(16_000)  # a second at 8 kHz


async def ask(recognition: Any, pcm: bytes) -> str:
    await recognition.begin()
    for start in range(0, len(pcm), 960):
        await recognition.send(pcm[start : start + 960])
    return str((await recognition.finish()).text)


def flux(environ: dict[str, str], **options: Any) -> Any:
    return made_with(Role.STT, "deepgram_flux", options, environ)


# -- turns -----------------------------------------------------------------------------------------------


async def test_an_utterance_is_one_turn(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with flux(environ) as recognizer, recognizer.open(8000, lambda text: None) as session:
        assert await ask(session, question + SILENCE) == QUESTION
        (socket,) = await sockets(stand_ins, FLUX_CONNECT)
    assert socket.messages == [{"type": "ForceEndTurn"}] and socket.query["eot_threshold"] == "1.0"


async def test_turns_that_end_by_themselves_are_joined(environ: dict[str, str], question: bytes) -> None:
    interims: list[str] = []
    async with flux(environ, eot_threshold=0.7) as recognizer, recognizer.open(8000, interims.append) as session:
        assert await ask(session, question + SILENCE + question) == f"{QUESTION} {QUESTION}"
        assert await ask(session, question + SILENCE) == QUESTION
    assert all(f"{QUESTION} {QUESTION}".startswith(text) for text in interims)


async def test_an_early_end_needs_no_other(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    stand_ins.steer(FLUX_LISTEN, Behaviour(fault=Fault.NEVER))
    async with (
        flux(environ, eager_eot_threshold=0.5) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        early = asyncio.Event()
        session._on_interim = lambda text: early.set() if session._is_eager else None
        await session.begin()
        await session.send(question + bytes(8000))
        await asyncio.wait_for(early.wait(), 5)
        assert (await session.finish()).text == QUESTION


async def test_one_socket_serves_a_session(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with made(Role.STT, "deepgram_flux", environ) as recognizer, recognizer.open(8000, print) as session:
        assert [await ask(session, question) for _ in range(3)] == [QUESTION] * 3
    assert len(await sockets(stand_ins, FLUX_CONNECT, 1)) == 1


async def test_pings_hold_an_idle_socket(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "HEARTBEAT_SECONDS", 0.8)
    monkeypatch.setattr(stand_in, "IDLE_SECONDS", 1.2)
    async with made(Role.STT, "deepgram_flux", environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, question) == QUESTION
        ended, _ = await asyncio.wait([session._line._task], timeout=1.8)
        assert not ended and await ask(session, question) == QUESTION
    assert len(stand_ins.requests_to(FLUX_CONNECT)) == 1


# -- a server that errs ----------------------------------------------------------------------------------


def turn(index: int, text: str, end: float, event: str = "EndOfTurn", **more: Any) -> dict[str, Any]:
    words = [{"word": word, "confidence": 0.5} for word in text.split()]
    told = {"type": "TurnInfo", "event": event, "turn_index": index, "audio_window_end": end, "transcript": text}
    return {**told, "words": words, **more}


async def heard_of(*answer: dict[str, Any]) -> Any:
    """What becomes of a second of audio when `ForceEndTurn` is answered so."""

    def reply(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if message.get("type") == "ForceEndTurn":
            yield from answer

    async with (
        saying(reply) as url,
        flux({"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": url}) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        await session.begin()
        await session.send(SILENCE)
        return await session.finish()


NO_TURN = {"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "none"}


@pytest.mark.parametrize(
    "answer",
    [
        (turn(0, "One.", 0.5, trigger="model"), turn(0, "One.", 0.5, trigger="model"), turn(1, "Two.", 1)),
        (turn(1, "Two.", 0.9, trigger="model"), turn(0, "One.", 0.5, trigger="model"), NO_TURN),
        (turn(0, "One.", 0.5, trigger="model"), turn(0, "On", 0.4, "Update"), turn(1, "Two.", 1, trigger="manual")),
        (turn(0, "One. Two.", 0.9, trigger="timeout"), NO_TURN),
        (turn(0, "One. Two.", 0.9, trigger="model"),),  # no warning comes
    ],
    ids=["twice", "out of order", "late update", "already ended", "unanswered"],
)
async def test_each_turn_counts_once_in_its_place(answer: tuple[dict[str, Any], ...]) -> None:
    transcript = await heard_of(*answer)
    assert (transcript.text, transcript.confidence) == ("One. Two.", 0.5)


async def test_no_turn_at_all_is_an_empty_transcript() -> None:
    assert (await heard_of(NO_TURN)).text == ""


async def test_no_last_word_is_after_the_last_update() -> None:
    """The server gives the text of its last update, and there is one for each four pieces of audio only."""
    heard, shown = 0, ""

    def reply(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        nonlocal heard, shown
        heard += not message
        if not message and heard % 4 == 0:
            shown = "One. Two." if heard >= 10 else "One."
            yield turn(0, shown, heard * 0.08, "Update")
        elif message.get("type") == "ForceEndTurn":
            yield turn(0, shown, heard * 0.08, trigger="manual")

    async with (
        saying(reply) as url,
        flux({"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": url}) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        assert await ask(session, bytes(10 * 1280)) == "One. Two."


async def test_a_language_is_told() -> None:
    assert (await heard_of(turn(0, "Hallo.", 1, trigger="manual", languages=["de", "en"]))).language == "de"


async def test_a_fatal_error_is_told() -> None:
    with pytest.raises(ProviderError, match="INTERNAL_SERVER_ERROR") as caught:
        await heard_of({"type": "Error", "sequence_id": 1, "code": "INTERNAL_SERVER_ERROR", "description": "x"})
    assert caught.value.kind is ErrorKind.SERVER


async def test_a_late_answer_is_not_taken_for_the_next() -> None:
    """The first utterance's end is told only after the second has begun."""
    forced: list[int] = []

    def reply(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if message.get("type") == "ForceEndTurn":
            forced.append(1)
            if len(forced) == 2:
                yield turn(0, "Old.", 0.96, trigger="manual")
                yield turn(1, "New.", 2, trigger="manual")

    async with (
        saying(reply) as url,
        flux({"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": url}) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        for _ in range(2):
            await session.begin()
            await session.send(SILENCE)
        assert (await session.finish()).text == "New."


# -- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"language_hint": ["de"]}, "flux-general-en takes no language_hint"),
        ({"eot_threshold": 0.6, "eager_eot_threshold": 0.7}, "eager_eot_threshold cannot be above"),
        ({"redact": ["pci"]}, "numbers"),
        ({"eot_timeout_ms": 100}, "500"),
    ],
)
def test_options_that_flux_refuses_are_refused_here(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        FluxOptions.model_validate(options)
