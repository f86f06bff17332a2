"""Every fault in every role and protocol: the next provider goes on, nothing is lost, and nothing is said twice.

For each: what the caller heard, and how long there was nothing; what the conversation holds; what is told and counted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest
import pytest_asyncio

from bench.peers.beside import remembered
from bench.turn import Ear, chain_of
from connectors_app import registry
from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind
from connectors_app.base.language_model import Message
from connectors_app.pool import Pool
from connectors_app.recognizing import Recognizing
from connectors_app.speaking import Speaking
from mesh.events import Event, ProviderFailed, ProviderSwitched
from tests import speech
from tests.connectors_app.cases import on_wire
from tests.providers import tones
from tests.providers.accounts import account
from tests.providers.brain import GoingOn, Messages, last_user_text, reply_for
from tests.providers.routes import Kind, Turn
from tests.providers.standins import StandIns
from tests.providers.troubles import HEALTHY, TROUBLES, Trouble
from workers.metrics import Metrics
from workers.stage import Reporting, StageActor

CORE = {
    "stt-deepgram": "a WebSocket",
    "stt-openai": "one request an utterance",
    "llm-openai": "server-sent events",
    "llm-anthropic": "server-sent events",
    "tts-elevenlabs": "a WebSocket that aligns",
    "tts-elevenlabs-http": "lines that align",
    "tts-azure": "chunks of samples",
}
"""One provider for each protocol of each role."""
QUESTION = speech.UTTERANCES[0]
REPLY = reply_for(QUESTION, 3)
SENTENCES = tones.sentences(REPLY)
HASTY = Deadlines(0.4, 0.4, transcript=0.4, stall=0.4, sentence=0.6, silence=0.4, beside=0.15)
PATIENT = Deadlines(5, 5, transcript=5, stall=5, sentence=5, silence=5, beside=5)
"""For what is noticed at once: a busy machine is not to be told as a slow provider."""
LONGEST = HASTY.sentence + 4
"""Seconds in which something comes, whatever the fault; four of them are a busy machine's."""
AT_THE_BREAK = 3
"""Words at a break that may be said again: the one that was cut off, and those that may have been."""


def deadlines(trouble: Trouble) -> Deadlines:
    return HASTY if trouble.told_as is ErrorKind.TIMEOUT else PATIENT


def brain(messages: Messages) -> str:
    return reply_for(last_user_text(messages), 3)


def cells(role: Role, name: str = "") -> pytest.MarkDecorator:
    turns = [turn for turn in on_wire(role) if str(turn) in CORE]
    troubles = [trouble for trouble in TROUBLES if name in trouble.name]
    found = [(turn, trouble) for turn in turns for trouble in troubles if trouble.fits(turn)]
    return pytest.mark.parametrize(("turn", "trouble"), found, ids=str)


E = TypeVar("E", bound=Event)


class Call:
    """As much of a worker's session as what is told of providers needs to become events and metrics."""

    def __init__(self) -> None:
        self.seat = SimpleNamespace(metrics=Metrics())
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        self.events.append(event)

    def report(self, turn: Turn) -> Reporting:
        return Reporting(cast(StageActor, self), turn.role)

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def counted(self, provider: str, kind: str) -> float | None:
        registry, labels = self.seat.metrics.registry, {"provider": provider, "kind": kind}
        return cast(float | None, registry.get_sample_value("meshag_provider_failures_total", labels))


@pytest.fixture
def call() -> Call:
    return Call()


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def imported() -> None:
    """The SDKs: their first import takes longer than these deadlines, and than a pool waits on a busy machine."""
    async with asyncio.timeout(60), StandIns() as servers:
        pool = Pool(servers.env)
        while await pool.warm(Role.LLM):
            pass
        await pool.close()


@asynccontextmanager
async def troubled(
    turn: Turn, trouble: Trouble, going_on: GoingOn = GoingOn.EXACTLY
) -> AsyncIterator[tuple[StandIns, Pool]]:
    """A warm pool, whose provider of this turn gets into trouble."""
    servers = StandIns(utterances=(QUESTION,), brain=brain, ms_per_char=60, by_word=True, going_on=going_on)
    async with servers, trouble.address() as address:
        for route, behaviours in trouble.rules(turn, {}).items():
            servers.steer(route, *behaviours)
        setting = registry.get(turn.role, turn.slug).base_url_setting
        path = "/v1" if servers.env[setting].endswith("/v1") else ""
        pool = Pool({**servers.env, setting: address + path} if address else servers.env)
        await pool.warm(turn.role)
        yield servers, pool
        await pool.close()


def check_switch(turn: Turn, kind: ErrorKind | None, call: Call) -> None:
    """The failure was told as what it is, and counted, and who took over was told."""
    slug, behind = chain_of(turn.role, turn)[0]
    failed, switched = call.told(ProviderFailed), call.told(ProviderSwitched)
    assert {one.provider for one in failed} == {slug} and failed[0].kind == kind, failed
    assert (switched[0].role, switched[0].before, switched[0].after) == (turn.role, slug, behind)
    kinds = [one.kind for one in failed]
    assert {kind: call.counted(slug, kind) for kind in kinds} == {kind: kinds.count(kind) for kind in kinds}


@cells(Role.LLM)
async def test_a_reply_is_said_once(turn: Turn, trouble: Trouble, call: Call) -> None:
    await check_reply(turn, trouble, GoingOn.EXACTLY, call)


@cells(Role.LLM, "midway")
@pytest.mark.parametrize("going_on", [GoingOn.ANEW, GoingOn.OVERLAPPING])
async def test_what_the_next_repeats_is_not_said(turn: Turn, trouble: Trouble, going_on: GoingOn, call: Call) -> None:
    await check_reply(turn, trouble, going_on, call)


async def check_reply(turn: Turn, trouble: Trouble, going_on: GoingOn, call: Call) -> None:
    said, times = [], []
    async with troubled(turn, trouble, going_on) as (_, pool):
        times.append(time.monotonic())
        models = pool.models(*chain_of(Role.LLM, turn))
        asked = answer(models, [Message("user", QUESTION)], deadlines(trouble), call.report(turn))
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                if isinstance(piece, Sentence):
                    said.append(piece.text)
                    times.append(time.monotonic())
    assert said == SENTENCES
    assert max(after - before for before, after in pairwise(times)) < LONGEST
    check_switch(turn, trouble.told_as, call)


@cells(Role.TTS)
async def test_every_word_is_heard(turn: Turn, trouble: Trouble, call: Call) -> None:
    async with (
        troubled(turn, trouble) as (_, pool),
        Speaking(pool.voices(*chain_of(Role.TTS, turn)), 8000, deadlines(trouble)) as voice,
    ):
        ear = Ear(since=time.monotonic())
        for sentence in SENTENCES:
            await hear(voice, sentence, ear, call.report(turn))
    check_words(ear, call)
    check_switch(turn, trouble.told_as, call)


async def hear(voice: Speaking, sentence: str, ear: Ear, report: Reporting) -> None:
    ear.expect(sentence)
    async with aclosing(voice.speak(sentence, report)) as pieces:
        async for pcm in pieces:
            ear.hear(pcm)


def check_words(ear: Ear, call: Call) -> None:
    words = account(REPLY, tones.words(bytes(ear.audio), 8000))
    assert not words.lost and not words.strange and len(words.doubled) <= AT_THE_BREAK * len(call.told(ProviderFailed))
    assert max(ear.first, ear.gap) < LONGEST and remembered(ear) == REPLY


@cells(Role.STT)
async def test_every_utterance_is_understood(turn: Turn, trouble: Trouble, call: Call) -> None:
    async with troubled(turn, trouble) as (_, pool):
        chain = pool.recognizers(*chain_of(Role.STT, turn))
        async with Recognizing(chain, 8000, deadlines(trouble), call.report(turn), lambda text: None) as recognition:
            await check_understood(recognition)
            await check_understood(recognition)
    check_switch(turn, trouble.told_as, call)


async def check_understood(recognition: Recognizing) -> None:
    pcm = speech.speak(QUESTION, 8000)
    began = time.monotonic()
    await recognition.begin()
    for start in range(0, len(pcm), 1600):
        await recognition.send(pcm[start : start + 1600])
    assert (await recognition.finish()).transcript.text == QUESTION
    assert time.monotonic() - began < LONGEST


def on_sockets(role: Role) -> pytest.MarkDecorator:
    turns = [turn for turn in on_wire(role) if turn.asked.kind is Kind.HANDSHAKE]
    return pytest.mark.parametrize("turn", turns, ids=str)


@on_sockets(Role.STT)
async def test_a_socket_dead_since_the_last_words_costs_none(turn: Turn, call: Call) -> None:
    """It is open and silent, not even a ping is answered, and the caller speaks before that is noticed."""
    async with troubled(turn, HEALTHY) as (servers, pool):
        chain = pool.recognizers(*chain_of(Role.STT, turn))
        alone = replace(HASTY, beside=HASTY.transcript)
        async with Recognizing(chain, 8000, alone, call.report(turn), lambda text: None) as recognition:
            await check_understood(recognition)
            assert not call.told(ProviderFailed)
            servers.freeze(turn.asked)
            await check_understood(recognition)
    check_switch(turn, ErrorKind.TIMEOUT, call)


@on_sockets(Role.TTS)
async def test_a_socket_dead_since_the_last_sentence_costs_none(turn: Turn, call: Call) -> None:
    chain = chain_of(Role.TTS, turn)
    async with troubled(turn, HEALTHY) as (servers, pool), Speaking(pool.voices(*chain), 8000, HASTY) as voice:
        ear = Ear(since=time.monotonic())
        await hear(voice, SENTENCES[0], ear, call.report(turn))
        assert not call.told(ProviderFailed)
        servers.freeze(turn.asked)
        for sentence in SENTENCES[1:]:
            await hear(voice, sentence, ear, call.report(turn))
    check_words(ear, call)
    check_switch(turn, ErrorKind.TIMEOUT, call)
