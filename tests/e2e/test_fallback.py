"""The primary fails, also in the middle of its answer; the next one goes on, and the caller hears nothing of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from mesh.bus.client import Bus
from mesh.events import Played, ProviderFailed, ProviderSwitched
from tests import speech
from tests.e2e.conversations import ask, become, happened, web
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.brain import reply_for
from tests.providers.deepgram import DEEPGRAM_CONNECT
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_SPEAK
from tests.providers.openai import OPENAI_CHAT, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.providers.steering import Behaviour, Fault
from tests.unsupervised import System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


@dataclass(frozen=True)
class Case:
    """A call on its own connectors: what fails in it fails for no other one. The last of the chain answers.

    A provider that refuses is out for all calls with the same model, so each has a model of its own.
    """

    role: str
    chain: str
    route: Route
    fault: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    """Of the primary."""
    text: str = ""

    def config(self) -> dict[str, Any]:
        primary, *fallback = self.chain.split()
        config = document()
        options = {primary: self.options}
        config["connectors"][self.role] = {"primary": primary, "fallback": fallback, "config": options}
        return config


CHAT, CONNECT, SPEAK = OPENAI_CHAT, ELEVENLABS_CONNECT, ELEVENLABS_SPEAK
CASES = (
    Case("stt", "deepgram openai", DEEPGRAM_CONNECT, {"fault": Fault.REFUSE}, {"model": "nova-2"}),
    Case(
        "stt", "openai deepgram", OPENAI_TRANSCRIPTIONS, {"fault": Fault.REFUSE, "status": 429}, {"model": "whisper-2"}
    ),
    Case("llm", "openai anthropic", CHAT, {"fault": Fault.REFUSE, "status": 500}, {"model": "one"}),
    Case("llm", "openai anthropic", CHAT, {"fault": Fault.REFUSE, "status": 401}, {"model": "two"}),
    Case("llm", "openai anthropic", CHAT, {"fault": Fault.REFUSE, "status": 429}, {"model": "three"}),
    Case("llm", "openai anthropic", CHAT, {"fault": Fault.NEVER}, {"model": "four"}),
    Case("llm", "anthropic openai", ANTHROPIC_MESSAGES, {"fault": Fault.EMPTY}),
    Case("tts", "elevenlabs azure", CONNECT, {"fault": Fault.REFUSE, "status": 401}, {"model": "eleven_turbo_v2_5"}),
    Case("tts", "elevenlabs openai", SPEAK, {"fault": Fault.EMPTY}, {"stability": 0.2}),
    Case("tts", "elevenlabs azure openai", SPEAK, {"fault": Fault.NEVER}, {"stability": 0.3}),
    Case("llm", "openai anthropic", CHAT, {"fault": Fault.CUT, "after": 14}, {"model": "five"}),
)


@pytest.mark.accepts("M48", "M63", "M64", "M65")
async def test_the_next_provider_answers(system: System, bus: Bus) -> None:
    """Eleven calls at once, each with another fault; in one chain the second provider fails, too."""
    texts = [text for text in speech.UTTERANCES[20:] if "long story" not in text]
    cases = [(case, text) for case, text in zip(CASES, texts, strict=False)]
    for route in {case.route for case in CASES}:
        await system.standins.steer(route, *(behaviour(case, text) for case, text in cases if case.route is route))
    await system.standins.steer(AZURE_SPEECH, Behaviour(fault=Fault.REFUSE, contains=begin(texts[9])))
    await asyncio.gather(*(fall_back(system, bus, case, text) for case, text in cases))


def begin(text: str) -> str:
    """As much of a question as its answer repeats."""
    return " ".join(text.split()[:4])


def behaviour(case: Case, text: str) -> Behaviour:
    """For this call only; a handshake knows no text, but its options."""
    only = case.options["model"] if case.route.name.endswith("connect") else begin(text)
    return Behaviour(**case.fault, contains=only)


async def fall_back(system: System, bus: Bus, case: Case, text: str) -> None:
    first, *_, last = case.chain.split()
    async with await web(system, case.config()) as caller:
        await ask(caller, text)
        await become(lambda: _remembers(bus, caller.session, text))
        switched = await happened(bus, caller.session, ProviderSwitched)
        failed = await happened(bus, caller.session, ProviderFailed)
    assert [(one.role, one.before, one.after) for one in switched] == [(case.role, first, last)], case
    assert list(dict.fromkeys(one.provider for one in failed)) == case.chain.split()[:-1], (case, failed)


async def _remembers(bus: Bus, session: str, question: str) -> bool:
    """The conversation holds the answer, once."""
    return " ".join(one.text for one in await happened(bus, session, Played)) == reply_for(question)
