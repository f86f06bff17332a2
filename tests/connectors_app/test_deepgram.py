"""Deepgram's socket over a session: opened early, kept alive, opened again; ends of utterances that nobody promises."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors_app import line
from connectors_app.base.connector import Role
from connectors_app.providers import deepgram
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.providers.scripted_socket import saying
from tests.connectors_app.turns import break_connections, made, sockets
from tests.providers.deepgram import DEEPGRAM_CONNECT
from tests.providers.standins import StandIns


async def ask(recognition: Any, pcm: bytes) -> str:
    await recognition.begin()
    for start in range(0, len(pcm), 960):
        await recognition.send(pcm[start : start + 960])
    return str((await recognition.finish()).text)


async def test_the_socket_opens_before_the_caller_speaks(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, lambda text: None):
        assert await sockets(stand_ins, DEEPGRAM_CONNECT, 1)


async def test_one_socket_serves_a_session(environ: dict[str, str], stand_ins: StandIns, question: bytes) -> None:
    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, lambda text: None) as session:
        assert [await ask(session, question) for _ in range(3)] == [QUESTION] * 3
    assert len(await sockets(stand_ins, DEEPGRAM_CONNECT, 1)) == 1


async def test_interims_hold_the_whole_text_so_far(environ: dict[str, str], question: bytes) -> None:
    interims: list[str] = []
    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, interims.append) as session:
        await ask(session, question + bytes(8000) + question)
    assert interims[-1] == f"{QUESTION} {QUESTION}" and len(interims) > 3
    assert all(f"{QUESTION} {QUESTION}".startswith(text) for text in interims)


async def test_a_finalize_may_go_unanswered(environ: dict[str, str], question: bytes) -> None:
    final = asyncio.Event()

    def on_interim(text: str) -> None:
        if text == QUESTION:
            final.set()

    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, on_interim) as session:
        await session.begin()
        await session.send(question + bytes(6400))
        await asyncio.wait_for(final.wait(), 5)
        await session.send(bytes(960))
        assert (await session.finish()).text == QUESTION


async def test_keepalives_hold_an_idle_socket(question: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepgram, "KEEPALIVE_SECONDS", 0.05)
    async with (
        StandIns(utterances=(QUESTION,), deepgram_idle_seconds=0.2) as stand_ins,
        made(Role.STT, "deepgram", stand_ins.env) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        (socket,) = await sockets(stand_ins, DEEPGRAM_CONNECT)
        await socket.messages.until(lambda messages: messages.count({"type": "KeepAlive"}) == 8)
        assert await ask(session, question) == QUESTION
        assert len(stand_ins.requests_to(DEEPGRAM_CONNECT)) == 1


async def test_a_socket_lost_while_idle_is_opened_again(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, lambda text: None) as session:
        assert await ask(session, question) == QUESTION
        break_connections(stand_ins)
        await sockets(stand_ins, DEEPGRAM_CONNECT, 2)
        assert await ask(session, question) == QUESTION


async def test_a_short_lived_socket_waits_for_its_next_use(
    environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    async with made(Role.STT, "deepgram", environ) as recognizer, recognizer.open(8000, lambda text: None) as session:
        assert await ask(session, question) == QUESTION
        break_connections(stand_ins)
        await session._line._task
        assert len(await sockets(stand_ins, DEEPGRAM_CONNECT, 1)) == 1
        assert await ask(session, question) == QUESTION
        assert len(await sockets(stand_ins, DEEPGRAM_CONNECT, 2)) == 2


# -- a server that errs ----------------------------------------------------------------------------------


def results(
    text: str, start: float, duration: float, final: bool | None = True, flushed: bool | None = False
) -> dict[str, Any]:
    told = {"type": "Results", "start": start, "duration": duration, "is_final": final, "from_finalize": flushed}
    best = {"transcript": text, "confidence": 0.9, "words": [], "languages": None}
    return {**told, "channel": {"alternatives": [best]}}


@pytest.mark.parametrize(
    "answer",
    [
        (results("one", 0, 0.5), results("one", 0, 0.5), results("two", 0.5, 0.5)),
        (results("two", 0.5, 0.3), results("one", 0, 0.5), results("", 0.8, 0.2, flushed=True)),
        (results("one", 0, 0.5), results("on", 0, 0.4, final=False), results("two", 0.5, 0.5)),
        (results("one two", 0, 0.7),),  # no flush is told
        (results("on", 0, 0.4, final=None), results("one two", 0, 1, flushed=None)),
    ],
    ids=["twice", "out of order", "late interim", "unanswered", "with nulls"],
)
async def test_each_final_counts_once_in_its_place(answer: tuple[dict[str, Any], ...]) -> None:
    def reply(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if message.get("type") == "Finalize":
            yield from answer

    async with (
        saying(reply) as url,
        made(Role.STT, "deepgram", {"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": url}) as recognizer,
        recognizer.open(8000, lambda text: None) as session,
    ):
        assert await ask(session, bytes(16_000)) == "one two"


# -- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"model": "nova-2", "keyterm": ["MeshAG"]}, "nova-2 takes keywords, not keyterm"),
        ({"keywords": ["MeshAG:2"]}, "nova-3 takes keyterm, not keywords"),
        ({"model": "nova-2-phonecall", "language": "de"}, "nova-2-phonecall understands English only"),
        ({"model": "nova-3-medical", "language": "multi"}, "nova-3-medical has no language “multi”"),
        ({"dictation": True, "punctuate": False, "smart_format": False}, "dictation needs punctuate"),
        ({"language_hint": ["de"]}, "language_hint needs Nova-3 and the language “multi”"),
        ({"redact": ["faces"]}, "pci"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        deepgram.DeepgramOptions.model_validate(options)
