"""Every fault in every role and protocol: the next provider goes on, nothing is lost, and nothing is said twice."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from bench.turn import chain_of
from connectors_app import registry
from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.language_model import Message
from connectors_app.pool import Pool
from connectors_app.recognizing import Recognizing
from connectors_app.speaking import Speaking
from tests import speech
from tests.connectors_app.cases import on_wire
from tests.connectors_app.fakes import Told
from tests.providers import tones
from tests.providers.accounts import account
from tests.providers.brain import GoingOn, Messages, last_user_text, reply_for
from tests.providers.routes import Turn
from tests.providers.standins import StandIns
from tests.providers.troubles import TROUBLES, Trouble

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
HASTY = Deadlines(first_token=0.4, first_audio=0.4, transcript=0.4, stall=0.4, sentence=0.6, silence=0.4)
AT_THE_BREAK = 3
"""Words at a break that may be said again: the one that was cut off, and those that may have been."""


def brain(messages: Messages) -> str:
    return reply_for(last_user_text(messages), 3)


def cells(role: Role, name: str = "") -> pytest.MarkDecorator:
    turns = [turn for turn in on_wire(role) if str(turn) in CORE]
    troubles = [trouble for trouble in TROUBLES if name in trouble.name]
    found = [(turn, trouble) for turn in turns for trouble in troubles if trouble.fits(turn)]
    return pytest.mark.parametrize(("turn", "trouble"), found, ids=str)


@pytest.fixture
def told() -> Told:
    return Told()


@asynccontextmanager
async def troubled(turn: Turn, trouble: Trouble, going_on: GoingOn = GoingOn.EXACTLY) -> AsyncIterator[Pool]:
    """A warm pool, whose provider of this turn gets into trouble."""
    servers = StandIns(utterances=(QUESTION,), brain=brain, ms_per_char=60, by_word=True, going_on=going_on)
    async with servers, trouble.address() as address:
        for route, behaviours in trouble.rules(turn, {}).items():
            servers.steer(route, *behaviours)
        setting = registry.get(turn.role, turn.slug).base_url_setting
        path = "/v1" if servers.env[setting].endswith("/v1") else ""
        pool = Pool({**servers.env, setting: address + path} if address else servers.env)
        await pool.warm(turn.role)
        yield pool
        await pool.close()


def check_switch(turn: Turn, told: Told) -> None:
    """The failure was told, and who took over."""
    slug, behind = chain_of(turn.role, turn)[0]
    assert {provider for provider, _ in told.failures} == {slug}
    assert told.switches[0] == (slug, behind)


@cells(Role.LLM)
async def test_a_reply_is_said_once(turn: Turn, trouble: Trouble, told: Told) -> None:
    await check_reply(turn, trouble, GoingOn.EXACTLY, told)


@cells(Role.LLM, "midway")
@pytest.mark.parametrize("going_on", [GoingOn.ANEW, GoingOn.OVERLAPPING])
async def test_what_the_next_repeats_is_not_said(turn: Turn, trouble: Trouble, going_on: GoingOn, told: Told) -> None:
    await check_reply(turn, trouble, going_on, told)


async def check_reply(turn: Turn, trouble: Trouble, going_on: GoingOn, told: Told) -> None:
    async with troubled(turn, trouble, going_on) as pool:
        asked = answer(pool.models(*chain_of(Role.LLM, turn)), [Message("user", QUESTION)], HASTY, told)
        async with aclosing(asked) as pieces:
            said = [piece.text async for piece in pieces if isinstance(piece, Sentence)]
    assert said == SENTENCES
    check_switch(turn, told)


@cells(Role.TTS)
async def test_every_word_is_heard(turn: Turn, trouble: Trouble, told: Told) -> None:
    async with troubled(turn, trouble) as pool:
        audio = bytearray()
        async with Speaking(pool.voices(*chain_of(Role.TTS, turn)), 8000, HASTY) as voice:
            for sentence in SENTENCES:
                async with aclosing(voice.speak(sentence, told)) as pieces:
                    async for pcm in pieces:
                        audio += pcm
    words = account(REPLY, tones.words(bytes(audio), 8000))
    assert not words.lost and not words.strange and len(words.doubled) <= AT_THE_BREAK * len(told.failures)
    check_switch(turn, told)


@cells(Role.STT)
async def test_every_utterance_is_understood(turn: Turn, trouble: Trouble, told: Told) -> None:
    pcm = speech.speak(QUESTION, 8000)
    texts = []
    async with troubled(turn, trouble) as pool:
        chain = pool.recognizers(*chain_of(Role.STT, turn))
        async with Recognizing(chain, 8000, HASTY, told, lambda text: None) as recognition:
            for _ in range(2):
                await recognition.begin()
                for start in range(0, len(pcm), 1600):
                    await recognition.send(pcm[start : start + 1600])
                texts.append((await recognition.finish()).transcript.text)
    assert texts == [QUESTION] * 2
    check_switch(turn, told)
