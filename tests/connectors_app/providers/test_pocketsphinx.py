"""Offline recognition: the sentences of its grammar, over a telephone line too, and nothing else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from connectors_app.base.connector import Credentials
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.offline.appointment import GRAMMAR, Intent, understand
from connectors_app.providers.offline.jsgf import parse
from connectors_app.providers.pocketsphinx import POOL, PROCESSES, STORY, PocketSphinx, PocketSphinxOptions
from tests.providers.ulaw import from_ulaw, to_ulaw
from tests.speech import speak

BOOKING = "i would like to book an appointment on monday"
HEADER = "#JSGF V1.0; grammar test;"
DOUBLED = "".join(f"<a{n}> <a{n}>; <a{n}> = " for n in range(40)) + "go on;"


@asynccontextmanager
async def pocketsphinx(**options: Any) -> AsyncIterator[PocketSphinx]:
    recognizer = PocketSphinx(PocketSphinxOptions(**options), Credentials())
    try:
        async with asyncio.timeout(20):
            yield recognizer
    finally:
        await recognizer.close()


def said(text: str, rate: int = 8000) -> bytes:
    """Between two silences of a line, over µ-law where the line is a telephone's."""
    silence = np.random.default_rng(0).normal(0, 10, rate // 4).astype("<i2").tobytes()
    pcm = silence + speak(text, rate) + silence
    return from_ulaw(to_ulaw(pcm)) if rate == 8000 else pcm


async def heard(recognizer: PocketSphinx, pcm: bytes, rate: int = 8000) -> str:
    async with recognizer.open(rate, lambda text: None) as recognition:
        await recognition.begin()
        for start in range(0, len(pcm), rate // 25):
            await recognition.send(pcm[start : start + rate // 25])
        return (await recognition.finish()).text


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("text", [BOOKING, "yes please", "at ten thirty in the morning", "no thank you"])
async def test_a_sentence_of_the_grammar_is_heard(text: str, rate: int) -> None:
    async with pocketsphinx() as recognizer:
        assert await heard(recognizer, said(text, rate), rate) == text


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("text", ["what is the weather in paris today", "my dog ate the whole sandwich"])
async def test_other_sentences_are_not_understood(text: str, rate: int) -> None:
    async with pocketsphinx() as recognizer:
        assert await heard(recognizer, said(text, rate), rate) == ""


async def test_half_a_sentence_is_not_understood() -> None:
    async with pocketsphinx() as recognizer:
        assert await heard(recognizer, said("i would like to book an")) == ""


@pytest.mark.parametrize("loudness", [0, 100, 3000])
async def test_noise_is_not_understood(loudness: int) -> None:
    noise = np.random.default_rng(2).normal(0, loudness, 16_000).astype("<i2").tobytes()
    async with pocketsphinx() as recognizer:
        assert await heard(recognizer, noise) == ""


async def test_an_endless_utterance_is_not_decoded() -> None:
    async with pocketsphinx() as recognizer:
        assert await heard(recognizer, said(BOOKING) * 5) == ""
        assert (await POOL.take(recognizer)).children[0].pid == 0


async def test_the_pause_before_the_end_is_used() -> None:
    guessed = asyncio.Event()
    async with pocketsphinx() as recognizer, recognizer.open(8000, lambda text: guessed.set()) as recognition:
        await recognition.begin()
        await recognition.send(said("yes please"))
        await recognition.send(bytes(1600))
        await guessed.wait()
        assert (await recognition.finish()).text == "yes please"


async def test_phrases_make_a_grammar() -> None:
    async with pocketsphinx(phrases=["open the door", "Close the window"]) as recognizer:
        assert await heard(recognizer, said("close the window")) == "close the window"
        assert await heard(recognizer, said(BOOKING)) == ""


async def test_a_grammar_of_ones_own() -> None:
    async with pocketsphinx(grammar=f"{HEADER} public <go> = Turn (left | right) [please];") as recognizer:
        assert await heard(recognizer, said("turn left please")) == "turn left please"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phrases": ["yes"]}, "“yes” is one word"),
        ({"phrases": ["say xqzt twice"]}, "“xqzt” of “say xqzt twice” is not in the English dictionary"),
        ({"phrases": ["at 10 please"]}, "holds “10”"),
        ({"phrases": ["go on"], "grammar": f"{HEADER} public <a> = go on;"}, "not both"),
        ({"grammar": "go on"}, "begins with"),
        ({"grammar": f"{HEADER} public <a> = go on | stop;"}, "one word"),
        ({"grammar": f"{HEADER} public <a> = go <b>;"}, "<b>, which does not exist"),
        ({"grammar": f"{HEADER} public <a> = go <a>;"}, "contains itself"),
        ({"grammar": f"{HEADER} public <a> = go [on;"}, '"]" is missing'),
        ({"grammar": f"{HEADER} public <a> = go on |;"}, "alternative is empty"),
        ({"grammar": f"{HEADER} public <a> = go on)*;"}, "not understood here"),
        ({"grammar": f"{HEADER} <a> = go on;"}, "one rule is public"),
        ({"grammar": f"{HEADER} public <a> = go on; public <b> = come back;"}, "one rule is public"),
        ({"grammar": f"{HEADER} public <a> = {'(' * 10_000} go on;"}, "brackets"),
        ({"grammar": f"{HEADER} public <a> = {DOUBLED}"}, "more than 5000 words"),
        ({"grammar": f"{HEADER} public <a> = go xqzt;"}, "xqzt"),
    ],
)
def test_a_wrong_option_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PocketSphinxOptions(**options)
    assert message in str(caught.value)


async def test_sessions_are_heard_side_by_side() -> None:
    texts = [BOOKING, "yes please", "on friday at nine o'clock", "no thank you"]
    async with pocketsphinx() as recognizer:
        assert await asyncio.gather(*(heard(recognizer, said(text)) for text in texts)) == texts


async def test_two_grammars_share_the_processes() -> None:
    async with pocketsphinx() as first, pocketsphinx(phrases=("open the door", "close the window")) as second:
        assert await POOL.take(first) is await POOL.take(second)
        pcm = said("close the window")
        assert await asyncio.gather(*(heard(one, pcm) for one in (first, second))) == ["", "close the window"]


async def test_a_killed_process_is_replaced() -> None:
    async with pocketsphinx() as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        await recognizer.warm()
        child = (await POOL.take(recognizer)).children[0]
        gone = child.pid
        await recognition.begin()
        await recognition.send(said(BOOKING))
        os.kill(gone, signal.SIGKILL)
        assert (await recognition.finish()).text == BOOKING and child.pid not in (0, gone)


@pytest.mark.parametrize("size", ["0", "many", "17"])
async def test_a_wrong_number_of_processes_is_named(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, size)
    async with pocketsphinx() as recognizer:
        with pytest.raises(ProviderError, match=PROCESSES) as caught:
            await recognizer.warm()
    assert caught.value.kind is ErrorKind.UNCONFIGURED


async def test_two_processes_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "2")
    async with pocketsphinx() as recognizer:
        assert await asyncio.gather(*(heard(recognizer, said("yes please")) for _ in range(2))) == ["yes please"] * 2
        assert all(child.pid for child in (await POOL.take(recognizer)).children)


def test_examples_are_sentences_of_the_grammar() -> None:
    grammar = parse(GRAMMAR.read_text())
    sentence = grammar.expression(grammar.public)
    assert [text for text in STORY if not sentence.fullmatch(f"{text.lower()} ")] == []


def test_examples_tell_how_an_appointment_is_made() -> None:
    examples = PocketSphinx.sentences(PocketSphinxOptions())
    intents = [understand(text).intent for text in examples]
    assert intents[:4] == [Intent.BOOK, Intent.WHEN, Intent.WHEN, Intent.YES]
    assert len(examples) == 9 and Intent.NOTHING not in intents


def test_examples_of_phrases_are_the_phrases() -> None:
    options = PocketSphinxOptions(phrases=("open the door", "close the door"))
    assert PocketSphinx.sentences(options) == ("open the door", "close the door")
