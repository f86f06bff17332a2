"""The contract of every provider with a wire where nobody is there, and where what comes is not what should."""

from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from tests.connectors_app.cases import WIRED, WIRED_MODELS, WIRED_RECOGNIZERS, on_wire
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import HELLO, ready, speech_of, transcript_of, used
from tests.providers.brain import reply_for
from tests.providers.nowhere import NO_NAME, NO_PORT, untrusted, without_tls
from tests.providers.routes import Kind, Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault


def of_kind(role: Role, *kinds: Kind) -> pytest.MarkDecorator:
    turns = [turn for turn in on_wire(role) if turn.answered.kind in kinds]
    return pytest.mark.parametrize("turn", turns, ids=str)


# -- where nobody is -------------------------------------------------------------------------------------


async def refused(turn: Turn, url: str, environ: dict[str, str], pcm: bytes) -> str:
    """What is told, with the place of the setting."""
    setting = registry.get(turn.role, turn.slug).base_url_setting
    async with ready(turn, {**environ, setting: url}) as connector:
        with pytest.raises(ProviderError, match="no connection") as caught:
            await used(connector, pcm)
    assert caught.value.kind is ErrorKind.REFUSED
    return caught.value.message.replace(setting, "ITS ADDRESS")


@pytest.mark.parametrize(("url", "why"), [(NO_PORT, "nothing listens there"), (NO_NAME, "there is no such host")])
@WIRED
async def test_nobody_there_is_refused(
    turn: Turn, url: str, why: str, environ: dict[str, str], question: bytes
) -> None:
    assert f": {why}; is ITS ADDRESS right and reachable?" in await refused(turn, url, environ, question)


@WIRED
async def test_no_tls_is_refused(turn: Turn, environ: dict[str, str], question: bytes) -> None:
    async with without_tls() as url:
        assert "the TLS handshake at ITS ADDRESS failed" in await refused(turn, url, environ, question)


@WIRED
async def test_a_certificate_without_trust_is_refused(turn: Turn, environ: dict[str, str], question: bytes) -> None:
    async with untrusted() as url:
        told = await refused(turn, url, environ, question)
    assert "the certificate at ITS ADDRESS is not trusted (self-signed certificate)" in told


# -- language models -------------------------------------------------------------------------------------


async def broken_reply(turn: Turn, environ: dict[str, str]) -> tuple[ErrorKind, str]:
    """How a reply failed, and what was told of it before."""
    texts: list[Any] = []
    async with ready(turn, environ) as model:
        with pytest.raises(ProviderError) as caught:
            async for item in model.reply(HELLO):
                texts.append(item)
    return caught.value.kind, "".join(texts)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.END, Fault.GARBAGE, Fault.NOT_UTF8, Fault.FLOOD])
@WIRED_MODELS
async def test_a_reply_without_its_end_is_broken(
    turn: Turn, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=fault, after=3))
    kind, told = await broken_reply(turn, environ)
    assert kind is ErrorKind.BROKEN
    assert len(told.split()) == 3 and reply_for(QUESTION).startswith(told)


@of_kind(Role.LLM, Kind.EVENTS)
async def test_a_page_is_no_reply(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.HTML))
    assert await broken_reply(turn, environ) == (ErrorKind.BROKEN, "")


@of_kind(Role.LLM, Kind.EVENTS)
async def test_an_error_inside_a_reply_is_told(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.ERROR, after=3, status=500))
    kind, told = await broken_reply(turn, environ)
    assert kind is ErrorKind.SERVER and reply_for(QUESTION).startswith(told)


@of_kind(Role.LLM, Kind.EVENTS)
async def test_a_trickle_is_a_reply(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    """However the bytes are cut up on their way."""
    stand_ins.steer(turn.answered, Behaviour(bytes=7))
    async with ready(turn, environ) as model:
        assert "".join([item async for item in model.reply(HELLO) if isinstance(item, str)]) == reply_for(QUESTION)


# -- voices ----------------------------------------------------------------------------------------------


@of_kind(Role.TTS, Kind.RAW_VOICE)
async def test_odd_pieces_are_whole_samples(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    async with ready(turn, environ) as voice:
        whole, _ = await speech_of(voice)
        stand_ins.steer(turn.answered, Behaviour(fault=Fault.ODD))
        assert (await speech_of(voice))[0] == whole[:-2]


@of_kind(Role.TTS, Kind.RAW_VOICE, Kind.VOICE_LINES)
async def test_a_page_is_no_speech(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.HTML))
    async with ready(turn, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.BROKEN


@of_kind(Role.TTS, Kind.VOICE)
async def test_an_error_inside_speech_is_told(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.ERROR, after=3, each_ms=20, status=500))
    async with ready(turn, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.SERVER


# -- recognizers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.GARBAGE, Fault.NOT_UTF8, Fault.FLOOD])
@WIRED_RECOGNIZERS
async def test_a_broken_transcript_is_told(
    turn: Turn, fault: Fault, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=fault))
    async with ready(turn, environ) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await transcript_of(recognizer, question)
    assert caught.value.kind is ErrorKind.BROKEN


@of_kind(Role.STT, Kind.BODY, Kind.EVENTS)
async def test_a_page_is_no_transcript(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.HTML))
    async with ready(turn, environ) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await transcript_of(recognizer, question)
    assert caught.value.kind is ErrorKind.BROKEN


@of_kind(Role.STT, Kind.MESSAGE)
async def test_an_error_instead_of_a_transcript_is_told(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.ERROR, status=500))
    async with ready(turn, environ) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await transcript_of(recognizer, question)
    assert caught.value.kind is ErrorKind.SERVER


@of_kind(Role.STT, Kind.MESSAGE)
async def test_a_final_twice_is_not_the_next(
    turn: Turn, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.TWICE, nth=1))
    async with ready(turn, environ) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        texts = []
        for pcm in (question, bytes(16_000), question):
            await recognition.begin()
            await recognition.send(pcm)
            texts.append((await recognition.finish()).text)
    assert texts == [QUESTION, "", QUESTION]
