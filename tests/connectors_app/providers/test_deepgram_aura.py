"""Aura's socket over a session: sentences in their order, another socket after an interruption or many flushes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers import deepgram_aura
from tests.connectors_app.turns import made_with, sockets, speech_of
from tests.providers.deepgram_aura import AURA_CONNECT, AURA_MODELS, AURA_SPEAK, LONGEST_TEXT
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.tones import decode, is_exact

SENTENCES = [f"This is sentence number {n} of seven." for n in range(7)]


@asynccontextmanager
async def session(environ: dict[str, str], rate: int = 8000, **options: Any) -> AsyncIterator[Any]:
    async with made_with(Role.TTS, "deepgram", options, environ) as voice, voice.open(rate) as speech:
        yield speech


async def said(speech: Any, text: str) -> bytes:
    return b"".join([pcm async for pcm in speech.speak(text)])


async def test_sentences_share_a_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with session(environ) as speech:
        for text in SENTENCES:
            assert is_exact(text, decode(await said(speech, text), 8000))
    assert len(stand_ins.requests_to(AURA_CONNECT)) == 1


async def test_sentences_at_once_do_not_mix(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with session(environ) as speech:
        spoken = await asyncio.gather(*(said(speech, text) for text in SENTENCES))
    assert all(is_exact(text, decode(pcm, 8000)) for text, pcm in zip(SENTENCES, spoken, strict=True))
    assert len(stand_ins.requests_to(AURA_CONNECT)) == 1


async def test_options_and_rate_reach_the_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with session(environ, 22_050, model="aura-2-apollo-en", speed=1.2, mip_opt_out=True) as speech:
        await said(speech, SENTENCES[0])
        assert speech.rate == 24_000
    (socket,) = stand_ins.requests_to(AURA_CONNECT)
    audio = {"encoding": "linear16", "sample_rate": "24000"}
    assert socket.query == {"model": "aura-2-apollo-en", "speed": "1.2", "mip_opt_out": "true", **audio}


async def test_an_interruption_leaves_the_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(AURA_SPEAK, Behaviour(fault=Fault.STALL, after=1, nth=1))
    async with session(environ) as speech:
        async with aclosing(speech.speak(SENTENCES[0])) as pieces:
            assert await anext(pieces)
        await sockets(stand_ins, AURA_CONNECT, 2)
        assert is_exact(SENTENCES[1], decode(await said(speech, SENTENCES[1]), 8000))
    assert len(stand_ins.requests_to(AURA_CONNECT)) == 2


async def test_a_sentence_left_after_the_end_opens_no_socket(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(AURA_SPEAK, Behaviour(fault=Fault.STALL, after=1))
    async with session(environ) as speech:
        pieces = speech.speak(SENTENCES[0])
        assert await anext(pieces)
    before = asyncio.all_tasks()
    await pieces.aclose()
    assert asyncio.all_tasks() <= before


async def test_a_sentence_behind_one_left_is_said(environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(AURA_SPEAK, Behaviour(each_ms=5))
    async with session(environ) as speech:
        first, second = speech.speak(SENTENCES[0]), asyncio.create_task(said(speech, SENTENCES[1]))
        assert await anext(first)
        await first.aclose()
        assert is_exact(SENTENCES[1], decode(await second, 8000))


async def test_many_sentences_lose_no_flush(environ: dict[str, str], stand_ins: StandIns) -> None:
    """The real limit stands in the stand-in: more flushes on one socket would never be answered."""
    async with session(environ, speed=1.5) as speech:
        for n in range(2 * deepgram_aura.FLUSHES + 1):
            assert await said(speech, f"Number {n}.")
    assert len(stand_ins.requests_to(AURA_CONNECT)) == 3


async def test_a_long_text_comes_in_parts(environ: dict[str, str], stand_ins: StandIns) -> None:
    text = " ".join(["Words and more words"] * 130)
    async with session(environ) as speech:
        assert await said(speech, text)
    (socket,) = stand_ins.requests_to(AURA_CONNECT)
    parts = [message["text"] for message in socket.messages if message["type"] == "Speak"]
    assert "".join(parts).strip() == text and max(map(len, parts)) <= LONGEST_TEXT


async def test_a_short_name_is_the_newest_of_it(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "deepgram", {"model": "Asteria"}, environ) as voice:
        await voice.warm()
        await speech_of(voice)
    assert stand_ins.requests_to(AURA_CONNECT)[0].query["model"] == "aura-2-asteria-en"
    assert len(stand_ins.requests_to(AURA_MODELS)) == 1


async def test_a_wrong_name_is_told_when_warm(environ: dict[str, str]) -> None:
    async with made_with(Role.TTS, "deepgram", {"model": "talia"}, environ) as voice:
        with pytest.raises(ProviderError, match="“talia”; near to it: aura-2-thalia-en") as caught:
            await voice.warm()
    assert caught.value.kind is ErrorKind.REQUEST


async def test_a_model_that_is_not_there_is_refused(environ: dict[str, str]) -> None:
    async with session(environ, model="aura-2-nobody-en") as speech:
        with pytest.raises(ProviderError) as caught:
            await said(speech, SENTENCES[0])
    assert caught.value.kind is ErrorKind.REQUEST
