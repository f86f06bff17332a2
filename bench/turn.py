"""One turn with the stand-ins, in real time: a question is heard, answered and spoken, and an ear listens.

The code under test is the one that workers ask providers with. One role has a provider that may fail and a healthy one
behind it, the other roles are well. The agent's voice says words that can be told from each other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from connectors_app import registry
from connectors_app.answering import Sentence, answer
from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.errors import ProviderError
from connectors_app.base.language_model import Message
from connectors_app.pool import Pool
from connectors_app.recognizing import Recognizing
from connectors_app.speaking import Speaking
from tests import speech
from tests.connectors_app.cases import on_wire
from tests.providers.brain import Messages, last_user_text, reply_for
from tests.providers.routes import Kind, Route, Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour

RATE = 8000
QUESTION = speech.UTTERANCES[0]
SENTENCES = 4
MS_PER_CHAR = 45.0
BEHIND = {
    Role.STT: ("deepgram", "openai"),
    Role.LLM: ("anthropic", "openai"),
    Role.TTS: ("azure", "openai"),
}
"""Who is behind the provider that fails: the first of these that is another one."""
USUAL = {
    Kind.BODY: {"first_ms": 250},
    Kind.EVENTS: {"first_ms": 250, "each_ms": 15},
    Kind.RAW_VOICE: {"first_ms": 150, "each_ms": 40},
    Kind.VOICE: {"first_ms": 150, "each_ms": 40},
    Kind.VOICE_LINES: {"first_ms": 150, "each_ms": 40},
    Kind.HANDSHAKE: {},
    Kind.MESSAGE: {"first_ms": 150},
}
"""Latency of a healthy provider, by how it answers. Pieces of a voice are 100 ms long."""


def brain(messages: Messages) -> str:
    return reply_for(last_user_text(messages), SENTENCES)


REPLY = reply_for(QUESTION, SENTENCES)


@dataclass
class Ear:
    """Hears what arrives at the speed of speech. Times are seconds since the caller's last word."""

    since: float = 0.0
    rate: int = RATE
    sentences: list[tuple[str, bytearray]] = field(default_factory=list)
    """What is to be said, and what came of it."""
    audio: bytearray = field(default_factory=bytearray)
    first: float = 0.0
    heard_until: float = 0.0
    gap: float = 0.0

    def expect(self, sentence: str) -> None:
        self.sentences.append((sentence, bytearray()))

    def hear(self, pcm: bytes, at: float | None = None) -> None:
        now = (time.monotonic() if at is None else at) - self.since
        if not self.audio:
            self.first = self.heard_until = now
        self.gap = max(self.gap, now - self.heard_until)
        self.heard_until = max(self.heard_until, now) + len(pcm) / 2 / self.rate
        self.audio += pcm
        if self.sentences:
            self.sentences[-1][1].extend(pcm)


@dataclass
class Log:
    """A report that knows when."""

    failures: list[tuple[str, str, float]] = field(default_factory=list)
    switches: list[tuple[str, float]] = field(default_factory=list)

    def failed(self, provider: str, error: ProviderError, ms: int) -> None:
        self.failures.append((provider, f"{error.kind}: {error.message}", time.monotonic()))

    def switched(self, before: str, after: str) -> None:
        self.switches.append((after, time.monotonic()))

    def used(self, provider: str, model: str, unit: str, quantity: int, *, estimated: bool = False) -> None: ...


Chains = Mapping[Role, tuple[list[str], dict[str, Any]]]


@asynccontextmanager
async def stage(
    turn: Turn, rules: Mapping[Route, Sequence[Behaviour]], address: str = ""
) -> AsyncIterator[tuple[Pool, Chains]]:
    """Stand-ins that are well but for `rules`; with an `address` the provider of this turn is somewhere else."""
    async with StandIns(utterances=(QUESTION,), brain=brain, ms_per_char=MS_PER_CHAR, by_word=True) as servers:
        set_scene(servers, rules)
        environ = {**servers.env, "CUSTOM_BASE_URL": servers.env["OPENAI_BASE_URL"]}
        if address:
            environ = elsewhere(turn, environ, address)
        pool = Pool(environ)
        for role in BEHIND:
            await pool.warm(role)
        try:
            yield pool, {role: chain_of(role, turn) for role in BEHIND}
        finally:
            await pool.close()


def set_scene(servers: StandIns, rules: Mapping[Route, Sequence[Behaviour]]) -> None:
    """All are well but for these."""
    servers.calm()
    for other in on_wire(*BEHIND):
        servers.steer(other.answered, Behaviour(**USUAL[other.answered.kind]))
    for route, behaviours in rules.items():
        servers.steer(route, *behaviours)


def elsewhere(turn: Turn, environ: Mapping[str, str], address: str) -> dict[str, str]:
    """An address serves all providers that share its setting, so who is behind has another one."""
    setting = registry.get(turn.role, turn.slug).base_url_setting
    path = "/v1" if environ[setting].endswith("/v1") else ""
    return {**environ, setting: address + path}


def chain_of(role: Role, turn: Turn) -> tuple[list[str], dict[str, Any]]:
    address = registry.get(turn.role, turn.slug).base_url_setting
    behind = next(slug for slug in BEHIND[role] if registry.get(role, slug).base_url_setting != address)
    if role is not turn.role:
        return [behind], {}
    return [turn.slug, behind], {turn.slug: dict(turn.options)}


async def listen(pool: Pool, chains: Chains, deadlines: Deadlines, log: Log) -> tuple[str, float]:
    """What was understood, and when the last word was spoken."""
    pcm = speech.speak(QUESTION, RATE)
    step = RATE * 2 // 50
    chain = pool.recognizers(*chains[Role.STT])
    async with Recognizing(chain, RATE, deadlines, log, lambda text: None) as recognition:
        await asyncio.sleep(0.5)  # a session is open before its caller speaks
        await recognition.begin()
        began = time.monotonic()
        for start in range(0, len(pcm), step):
            await asyncio.sleep(max(0.0, began + start / 2 / RATE - time.monotonic()))
            await recognition.send(pcm[start : start + step])
        spoken = time.monotonic()
        heard = await recognition.finish()
    await chain.close()
    return heard.transcript.text, spoken


async def reply(pool: Pool, chains: Chains, deadlines: Deadlines, log: Log, text: str, ear: Ear) -> None:
    """As the workers do it: sentences wait in a line for the voice."""
    models, voices = pool.models(*chains[Role.LLM]), pool.voices(*chains[Role.TTS])
    line: asyncio.Queue[str | None] = asyncio.Queue()

    async def think() -> None:
        try:
            async with aclosing(answer(models, [Message("user", text)], deadlines, log)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Sentence):
                        line.put_nowait(piece.text)
        finally:
            line.put_nowait(None)

    async with Speaking(voices, RATE, deadlines) as voice:
        thinking = asyncio.create_task(think())
        while (sentence := await line.get()) is not None:
            ear.expect(sentence)
            async with aclosing(voice.speak(sentence, log)) as pieces:
                async for pcm in pieces:
                    ear.hear(pcm)
        await thinking
    await models.close()
    await voices.close()
