"""All providers of a role fail: the caller hears the prepared apology in time, and the next turn is like any other."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from mesh.bus.client import Bus
from mesh.events import Apologised, Stored, Usage
from mesh.sentences import sentences_of
from tests import speech
from tests.e2e.conversations import ask, asked, happened, web
from tests.e2e.test_fallback import begin
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.brain import reply_for
from tests.providers.elevenlabs import ELEVENLABS_SPEAK
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.providers.steering import Behaviour, Fault
from tests.unsupervised import System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SECONDS = 10.0
IN_TIME = 3.0
"""Seconds from the caller's last word to the apology."""
QUESTIONS = [text for text in speech.UTTERANCES[30:] if "long story" not in text]


@dataclass(frozen=True)
class Outage:
    """Of all that a caller's role is done by, for one question."""

    role: str
    chain: tuple[str, ...]
    routes: tuple[Route, ...]

    @property
    def apology(self) -> str:
        """Its own, so that its worker has to prepare it."""
        return f"The {self.role} cannot help you now."

    def config(self) -> dict[str, Any]:
        config = document(apology=self.apology)
        config["connectors"][self.role] = {"primary": self.chain[0], "fallback": list(self.chain[1:]), "config": {}}
        return config


OUTAGES = (
    Outage("stt", ("openai",), (OPENAI_TRANSCRIPTIONS,)),
    Outage("llm", ("openai", "anthropic"), (OPENAI_CHAT, ANTHROPIC_MESSAGES)),
    Outage("tts", ("openai", "azure"), (OPENAI_SPEECH, AZURE_SPEECH)),
)
VOICES = (ELEVENLABS_SPEAK, OPENAI_SPEECH, AZURE_SPEECH)


async def test_a_caller_whom_nobody_answers_hears_so(system: System, bus: Bus) -> None:
    """Three calls at once. When they ask, no voice makes their apologies any more."""
    is_prepared, may_ask = asyncio.Barrier(len(OUTAGES) + 1), asyncio.Event()
    calls = [asyncio.create_task(endure(system, bus, n, is_prepared, may_ask)) for n in range(len(OUTAGES))]
    async with asyncio.timeout(SECONDS):
        await is_prepared.wait()
    down: dict[Route, list[str]] = {route: [outage.apology for outage in OUTAGES] for route in VOICES}
    for outage, question in zip(OUTAGES, QUESTIONS, strict=False):
        for route in outage.routes:
            down.setdefault(route, []).append(begin(question))
    for route, texts in down.items():
        await system.standins.steer(route, *(Behaviour(fault=fault_of(route), contains=text) for text in texts))
    may_ask.set()
    await asyncio.gather(*calls)


def fault_of(route: Route) -> Fault:
    """One that fits."""
    return Fault.EMPTY if route is ELEVENLABS_SPEAK else Fault.REFUSE


async def endure(system: System, bus: Bus, number: int, is_prepared: asyncio.Barrier, may_ask: asyncio.Event) -> None:
    outage, question, again = OUTAGES[number], QUESTIONS[number], QUESTIONS[number + len(OUTAGES)]
    async with await web(system, outage.config()) as caller:
        await paid(bus, caller.session)
        await is_prepared.wait()
        await may_ask.wait()
        assert await ask(caller, question, answer=outage.apology) < IN_TIME
        await ask(caller, again)
        assert [one.role for one in await happened(bus, caller.session, Apologised)] == [outage.role]
    for route in outage.routes:
        assert len(await asked_of(system, route, question)) == 1, route


async def asked_of(system: System, route: Route, question: str) -> list[str]:
    """What a provider was asked for a question: it, or a sentence of its answer."""
    texts = [question, *sentences_of(reply_for(question))]
    return [text for text in texts for _ in await asked(system, route, text)]


async def paid(bus: Bus, session: str) -> None:
    """The apology is there: its voice has its money."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(stored: Stored) -> None:
        if isinstance(stored.event, Usage) and stored.event.role == "tts" and not done.done():
            done.set_result(None)

    feed = await bus.feed(session, look)
    async with asyncio.timeout(SECONDS):
        await done
    await feed.close()
