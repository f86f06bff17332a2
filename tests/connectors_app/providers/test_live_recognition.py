"""What holds for every recogniser with a socket that lasts: noticed when dead, opened again, never half a text."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from connectors_app import line, registry
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.recognizing import Recognizing
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.fakes import ScriptedRecognizer, Told, chain_of
from tests.connectors_app.providers.scripted_socket import babbling
from tests.connectors_app.turns import break_connections, made, sockets
from tests.providers.azure_recognition import AZURE_STT_CONNECT, AZURE_STT_PHRASE
from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.deepgram_flux import FLUX_CONNECT, FLUX_LISTEN
from tests.providers.elevenlabs_scribe import SCRIBE_CONNECT, SCRIBE_LISTEN
from tests.providers.openai_realtime import OPENAI_REALTIME_CONNECT, OPENAI_REALTIME_TRANSCRIPT
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault

SILENCE = bytes(16_000)  # a second at 8 kHz


@dataclass(frozen=True)
class Live:
    slug: str
    connect: Route
    listen: Route

    def __str__(self) -> str:
        return self.slug


TELLING = [
    Live("deepgram", DEEPGRAM_CONNECT, DEEPGRAM_LISTEN),
    Live("deepgram_flux", FLUX_CONNECT, FLUX_LISTEN),
]
ALL = [
    *TELLING,
    Live("elevenlabs", SCRIBE_CONNECT, SCRIBE_LISTEN),
    Live("openai_realtime", OPENAI_REALTIME_CONNECT, OPENAI_REALTIME_TRANSCRIPT),
    Live("azure", AZURE_STT_CONNECT, AZURE_STT_PHRASE),
]
EACH = pytest.mark.parametrize("live", ALL, ids=str)
EACH_TELLING = pytest.mark.parametrize("live", TELLING, ids=str)


async def ask(recognition: Any, pcm: bytes) -> str:
    await recognition.begin()
    await recognition.send(pcm)
    return str((await recognition.finish()).text)


@EACH_TELLING
async def test_it_tells_that_it_hears_nothing(live: Live, environ: dict[str, str]) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with made(Role.STT, live.slug, environ) as recognizer, recognizer.open(8000, told.put_nowait) as session:
        await session.begin()
        await session.send(SILENCE)
        assert await asyncio.wait_for(told.get(), 5) == ""


@EACH_TELLING
async def test_a_mute_socket_is_left_while_the_caller_speaks(
    live: Live, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(live.connect, Behaviour(fault=Fault.STALL))
    second, told = ScriptedRecognizer("second"), Told()
    patience = Deadlines(silence=0.1)
    async with (
        made(Role.STT, live.slug, environ) as recognizer,
        Recognizing(chain_of(recognizer, second), 8000, patience, told, print) as recognition,
        asyncio.timeout(10),
    ):
        await recognition.begin()
        while not told.failures:
            await recognition.send(SILENCE)
            await asyncio.sleep(0)
    assert told.failures == [(live.slug, ErrorKind.TIMEOUT)]


@EACH
async def test_a_final_that_never_comes_is_asked_of_the_next(
    live: Live, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(live.listen, Behaviour(fault=Fault.NEVER))
    second, told = ScriptedRecognizer("second", None, None, "words"), Told()
    patience = replace(Deadlines(), transcript=0.5)
    async with (
        made(Role.STT, live.slug, environ) as recognizer,
        Recognizing(chain_of(recognizer, second), 8000, patience, told, print) as recognition,
    ):
        await recognition.begin()
        await recognition.send(question)
        assert (await recognition.finish()).provider == "second"
    assert second.asked == [question] and told.failures == [(live.slug, ErrorKind.TIMEOUT)]


@EACH
async def test_a_socket_lost_while_idle_is_opened_at_once(
    live: Live, environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with made(Role.STT, live.slug, environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, question) == QUESTION
        break_connections(stand_ins)
        await sockets(stand_ins, live.connect, 2)
        assert await ask(session, question) == QUESTION
    assert len(stand_ins.requests_to(live.connect)) == 2


async def test_a_socket_that_died_silently_while_idle_is_replaced(
    environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays open, but nobody answers there any more: its pulse tells."""
    monkeypatch.setattr(line, "HEARTBEAT_SECONDS", 0.8)
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with made(Role.STT, "deepgram_flux", environ) as recognizer, recognizer.open(8000, print) as session:
        assert await ask(session, question) == QUESTION
        stand_ins.freeze(FLUX_CONNECT)
        await sockets(stand_ins, FLUX_CONNECT, 2)
        assert await ask(session, question) == QUESTION


@EACH
async def test_what_was_lost_is_not_an_empty_transcript(
    live: Live, environ: dict[str, str], stand_ins: StandIns, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket breaks after the last words and is open again before the end is asked for."""
    monkeypatch.setattr(line, "LIVED_SECONDS", 0.0)
    async with made(Role.STT, live.slug, environ) as recognizer, recognizer.open(8000, print) as session:
        await session.begin()
        await session.send(question)
        break_connections(stand_ins)
        await sockets(stand_ins, live.connect, 2)
        with pytest.raises(ProviderError) as caught:
            await session.finish()
    assert caught.value.kind is ErrorKind.BROKEN


@EACH
async def test_an_error_is_told_before_the_end(
    live: Live, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(live.listen, Behaviour(fault=Fault.REFUSE, status=500))
    async with made(Role.STT, live.slug, environ) as recognizer, recognizer.open(8000, print) as session:
        with pytest.raises(ProviderError) as caught:
            await ask(session, question)
    assert caught.value.kind is ErrorKind.SERVER


@pytest.mark.parametrize(
    "frame", ['{"message_type": 1, "type": 1}', "{}", "no JSON", b'{"type": "\xff", "message_type": "\xff"}']
)
@EACH
async def test_what_the_protocol_lacks_is_told_at_once(live: Live, frame: str | bytes) -> None:
    cls = registry.get(Role.STT, live.slug)
    async with (
        babbling(frame) as url,
        made(Role.STT, live.slug, {cls.key_setting: "k", cls.base_url_setting: url}) as recognizer,
        recognizer.open(8000, print) as session,
    ):
        with pytest.raises(ProviderError) as caught:
            await ask(session, SILENCE)
    assert caught.value.kind is ErrorKind.BROKEN
