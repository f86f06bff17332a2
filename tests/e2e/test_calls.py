"""Callers who speak and are answered, by telephone and by the websocket protocol, several at once."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from mesh import events, subjects
from mesh.bus.client import Bus
from tests import speech
from tests.e2e.conversations import WORKERS, Gauges, ask, asked, happened, owner, telephone, web
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.azure import AZURE_SPEECH
from tests.providers.openai import OPENAI_CHAT, OPENAI_TRANSCRIPTIONS
from tests.unsupervised import System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


@pytest.mark.accepts("M45", "M46", "M49", "M101")
async def test_four_telephones_at_once(system: System, bus: Bus) -> None:
    """Two turns each; the workers share them, and no turn is answered twice."""
    said = speech.UTTERANCES[:8]

    async def call(*texts: str) -> set[str]:
        async with telephone(system) as caller:
            for text in texts:
                await ask(caller, text)
            return {await owner(bus, caller.session, stage) for stage in WORKERS}

    workers = await asyncio.gather(*(call(said[place], said[place + 4]) for place in range(4)))
    assert len(set.union(*workers)) == 6
    asked_once = Counter(request["text"] for request in await system.standins.requests_to(OPENAI_CHAT))
    assert {text: asked_once[text] for text in said} == dict.fromkeys(said, 1)


@pytest.mark.accepts("M53")
async def test_five_programs_at_once(system: System) -> None:
    """At several rates, with and without reports of what was played; two turns each."""
    said = speech.UTTERANCES[8:18]
    rates = (16_000, 16_000, 16_000, 24_000, 48_000)

    async def call(rate: int, *texts: str, reports: bool) -> None:
        async with await web(system, rate=rate, reports=reports) as caller:
            for text in texts:
                await ask(caller, text)

    calls = [call(rate, said[n], said[n + 5], reports=n % 2 == 0) for n, rate in enumerate(rates)]
    await asyncio.gather(*calls)


@pytest.mark.accepts("M44", "M47", "M51", "M87")
async def test_a_turn_goes_through_five_hops(system: System, bus: Bus) -> None:
    """Caller audio, transcript, answer, voice, caller's ear: each on its subject of the bus, in this order."""
    media: Counter[str] = Counter()

    def see(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        media[subject] += len(payload)

    async with await web(system) as caller:
        watched = [subjects.audio_input(caller.session), subjects.tts_output(caller.session)]
        watches = [await bus.subscribe(subject, see) for subject in watched]
        await ask(caller, speech.UTTERANCES[0])
        told = [(stored.subject.rsplit(".", 1)[0], stored.type) for stored in await bus.history(caller.session)]
    for watch in watches:
        await watch.close()
    hops = [
        ("stt.output", "speech.ended"),
        ("stt.output", "transcript.final"),
        ("session.events", "turn.ended"),
        ("llm.output", "reply.sentence"),
        ("session.events", "played"),
    ]
    assert sorted(hops, key=told.index) == hops
    assert all(media[subject] for subject in watched)


@pytest.mark.accepts("M41", "M42", "M54")
async def test_a_changed_config_holds_from_the_next_turn(system: System) -> None:
    """Another recogniser, another model and another prompt, while the call goes on."""
    changed = document(system_prompt="You are somebody else.")
    for role, provider in (("stt", "openai"), ("llm", "anthropic"), ("tts", "azure")):
        changed["connectors"][role] = {"primary": provider, "config": {}}
    async with await web(system) as caller:
        await ask(caller, speech.UTTERANCES[0])
        async with system.client.put(f"{system.url}/sessions/{caller.session}/config", json=changed) as response:
            assert response.status == 200, await response.text()
        for text in speech.UTTERANCES[26:28]:
            await ask(caller, text)
    for route in (ANTHROPIC_MESSAGES, AZURE_SPEECH, OPENAI_TRANSCRIPTIONS):
        assert await system.standins.requests_to(route)
    (request,) = await asked(system, ANTHROPIC_MESSAGES, speech.UTTERANCES[26])
    assert request["body"]["system"] == "You are somebody else."


async def test_a_call_from_greeting_to_limit(system: System, bus: Bus) -> None:
    """Greeted because the configuration says so: the callers of all other tests hear nothing before they ask."""
    greeting = "Welcome to the house of many voices. How can I help you today?"
    config = document(greeting=greeting, limits={"max_duration_s": 10})
    async with await web(system, config) as caller:
        await caller.reply(greeting)
        await ask(caller, speech.UTTERANCES[28])
        (request,) = await asked(system, OPENAI_CHAT, speech.UTTERANCES[28])
        assert {"role": "assistant", "content": greeting} in request["body"]["messages"]
        await caller.end(12)
    assert caller.told[-1] == {"type": "ended", "reason": "time_limit"}
    assert [ended.reason for ended in await happened(bus, caller.session, events.SessionEnded)] == ["time_limit"]


async def test_pressed_keys_are_noted(system: System, bus: Bus) -> None:
    async with telephone(system) as caller, Gauges.of(bus) as gauges:
        for digit in "42#":
            await caller.press(digit)

        async def missing() -> object:
            noted = [key.digits for key in await happened(bus, caller.session, events.Dtmf)]
            return noted != ["4", "2", "#"] and f"only {noted}"

        await gauges.until(missing)
