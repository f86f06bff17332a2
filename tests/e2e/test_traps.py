"""What a real conversation does to a voice loop: stalls, stories, interruptions, coughs, cut lines."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from mesh import audio
from mesh.bus.client import Bus
from mesh.events import SessionEnded, TurnDiscarded, TurnEnded
from meshag_site.embedded import NatsServer
from tests import speech
from tests.callers import Caller
from tests.e2e.conversations import (
    DEADLINE,
    MS_PER_CHAR,
    SPECTATOR,
    STORY,
    Gauges,
    ask,
    asked,
    happened,
    lead,
    say,
    telephone,
    web,
)
from tests.providers import tones
from tests.providers.brain import reply_for
from tests.providers.deepgram import DEEPGRAM_CONNECT, DEEPGRAM_LISTEN
from tests.providers.elevenlabs import ELEVENLABS_CONNECT, ELEVENLABS_SPEAK
from tests.providers.openai import OPENAI_CHAT
from tests.providers.routes import Route
from tests.providers.steering import Behaviour, Fault
from tests.unsupervised import System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

INBOX = re.compile(r"^_INBOX.*")
PROMPT = DEADLINE - 1
"""Seconds within which nobody is answered who waits for another one's stalled provider."""


@dataclass(frozen=True)
class Stall:
    """A turn whose provider stalls, what is heard of it all the same, and the answer to the question after it."""

    route: Route
    contains: str
    text: str
    rest: str
    answer: str


BROKEN, DOGS, JACKET, NEXT = (speech.UTTERANCES[place] for place in (8, 30, 18, 4))
STALLS = (
    Stall(DEEPGRAM_LISTEN, "a broken window", BROKEN, "", reply_for(NEXT)),
    Stall(OPENAI_CHAT, "dogs allowed", DOGS, "", reply_for(f"{DOGS} {NEXT}")),
    Stall(
        ELEVENLABS_SPEAK,
        "one of two about does the red",
        JACKET,
        tones.sentences(reply_for(JACKET))[1],
        reply_for(NEXT),
    ),
)


async def test_a_stalled_provider_delays_nobody(system: System, alone: None) -> None:
    """One of each kind, while others talk on the same workers; after its deadline the stalled call goes on too."""
    for stall in STALLS:
        await system.standins.steer(stall.route, Behaviour(fault=Fault.STALL, contains=stall.contains))
    said = speech.UTTERANCES
    async with asyncio.TaskGroup() as tasks:
        for stall in STALLS:
            tasks.create_task(suffer(system, stall))
        prompt = [tasks.create_task(talk(system, said[place], said[place + 11])) for place in range(3)]
    assert max(response for others in prompt for response in others.result()) < PROMPT


async def talk(system: System, *texts: str) -> list[float]:
    """The response times of a call."""
    async with await web(system) as caller:
        return [await ask(caller, text) for text in texts]


async def suffer(system: System, stall: Stall) -> None:
    """Without an apology, what can be said of a reply is said."""
    async with await web(system, document(apology="")) as caller:
        await say(caller, stall.text)
        await caller.until("error")
        if stall.rest:
            await caller.reply(stall.rest, since=caller.last_voiced)
        await system.standins.steer(stall.route)
        await ask(caller, NEXT, answer=stall.answer)


async def test_a_story_is_told_whole_beside_others(system: System, bus: Bus) -> None:
    """It lasts longer than the media streams remember and than a voice runs ahead; one caller has stopped to read."""
    async with telephone(system) as listener, await web(system) as deaf, await web(system, rate=24_000) as other:
        await say(deaf, STORY)
        await deaf.sound()
        deaf.stop_reading()
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(tell(bus, listener))
            responses = [await ask(other, text) for text in speech.UTTERANCES[:5]]
        deaf.vanish()
        assert 15 < telling.result() < 22
    assert max(responses) < PROMPT, responses


async def tell(bus: Bus, listener: Caller) -> float:
    """Hear a story; returns how many seconds its voice ran ahead of the ear at most."""
    made, most = 0, 0.0

    def hear(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        nonlocal made, most
        chunk = audio.decode(payload)
        if chunk.rate == listener.rate:
            made += chunk.count
            most = max(most, (made - listener.speaker.position(listener.now())) / listener.rate)

    watch = await bus.subscribe("tts.output.*", hear)
    await ask(listener, STORY, seconds=60)
    await watch.close()
    return most


@dataclass(frozen=True)
class BrokenInto:
    """What an interruption of a story led to."""

    silent_after: float
    heard: float
    told: str
    """What the language model believes was heard."""


async def test_barge_in_stops_the_agent(system: System) -> None:
    """By telephone, by a program that reports what it played, and by one that does not."""
    callers = [telephone(system), await web(system), await web(system, reports=False)]
    texts = speech.UTTERANCES[10:13]
    story = reply_for(STORY)
    results = await asyncio.gather(*(break_in(system, *pair) for pair in zip(callers, texts, strict=True)))
    assert min(broken.silent_after for broken in results) < 0.7
    for broken in results:
        assert 0.3 < broken.silent_after < 1.2, broken
        assert story.startswith(broken.told) and abs(len(broken.told) - characters(story, broken.heard)) < 25, broken


async def break_in(system: System, caller: Caller, text: str) -> BrokenInto:
    """Interrupt a story after some seconds; the question gets its answer, and nothing of the story comes after."""
    async with caller:
        await say(caller, STORY)
        await caller.listen(2.0)
        voiced = caller.now() + lead(text, caller.rate)
        async with asyncio.TaskGroup() as tasks:
            silence = tasks.create_task(caller.cleared())
            await say(caller, text)
        silent = silence.result()
        heard = sum(len(pcm) for start, pcm in caller.speaker.pieces if start < silent) / 2 / caller.rate
        await caller.reply(reply_for(text), since=silent)
        request = (await asked(system, OPENAI_CHAT, text))[-1]
        *_, told, _ = request["body"]["messages"]
        return BrokenInto(silent - voiced, heard, told["content"] if told["role"] == "assistant" else "")


def characters(text: str, seconds: float) -> int:
    """How much of a text was said in this time."""
    count = 0
    for sentence in tones.sentences(text):
        length = len(tones.encode(sentence, 8000, MS_PER_CHAR)) / 2 / 8000
        if seconds < length:
            return count + round(len(sentence) * seconds / length)
        seconds -= length
        count += len(sentence) + 1
    return count


async def test_an_utterance_while_the_agent_thinks_is_added(system: System, bus: Bus) -> None:
    first, second = speech.UTTERANCES[5:7]
    await system.standins.steer(OPENAI_CHAT, Behaviour(first_ms=1200))
    async with await web(system) as caller:
        await say(caller, first)
        await caller.until("state", state="thinking")
        await ask(caller, second, answer=reply_for(f"{first} {second}"))
        discarded = await happened(bus, caller.session, TurnDiscarded)
        assert [turn.turn for turn in await happened(bus, caller.session, TurnEnded)] == [1, 1]
    assert [turn.generation for turn in discarded] == [1]


async def test_two_utterances_in_a_row_are_one_turn(system: System, bus: Bus) -> None:
    first, second = speech.UTTERANCES[7:9]
    async with telephone(system) as caller:
        await say(caller, first, second, pause=0.15)
        await caller.reply(reply_for(f"{first} {second}"), since=caller.last_voiced)


async def test_a_cough_does_not_lose_the_reply(system: System) -> None:
    """Voiced long enough to silence the agent, and nothing that is a word."""
    await asyncio.gather(*(cough(caller) for caller in (telephone(system), await web(system))))


async def cough(caller: Caller) -> None:
    text = speech.UTTERANCES[9]
    reply = reply_for(text)
    async with caller:
        await say(caller, text)
        voiced = caller.last_voiced
        await caller.listen(0.3)
        await say(caller, "Ahem.")
        await caller.silence(1.0)
        heard = caller.heard(voiced)
    assert caller.speaker.cleared_at, "the cough was not noticed"
    length = len(tones.encode(reply, caller.rate, MS_PER_CHAR)) / 2 / caller.rate
    played = sum(len(pcm) for _, pcm in caller.speaker.pieces) / 2 / caller.rate
    assert abs(played - length) < 0.2, (played, length)
    assert heard[-1].complete and tones.said(reply, heard)[-1] == tones.sentences(reply)[-1]


async def test_hanging_up_lets_everybody_go(system: System, bus: Bus) -> None:
    """At once, or in the middle of a reply; the next caller of the same agent is answered, and nothing is left."""
    async with Gauges.of(bus) as gauges:
        await gauges.until(gauges.busy)
        before = await interest(system)
        for hasty in [telephone(system) for _ in range(3)] + [await web(system) for _ in range(3)]:
            async with hasty:
                pass
        async with telephone(system) as first:
            await say(first, STORY)
            await first.listen(0.5)
        async with telephone(system) as second, await web(system) as third:
            await ask(second, speech.UTTERANCES[0])
            await say(third, STORY)
            await third.sound()

        async def left() -> object:
            return await gauges.busy() or (await interest(system) - before)

        await gauges.until(left)
        assert [ended.reason for ended in await happened(bus, third.session, SessionEnded)] == ["hangup"]


async def interest(system: System) -> Counter[str]:
    """What every connection to NATS listens to, and the open sockets at providers."""
    spec = system.nats.spec
    assert isinstance(spec, NatsServer)
    async with system.client.get(f"http://127.0.0.1:{spec.monitor_port}/connz?subs=1") as response:
        connections = (await response.json())["connections"]
    found = Counter(
        f"{connection['name']} {INBOX.sub('inbox', subject)}"
        for connection in connections
        if connection.get("name", SPECTATOR) != SPECTATOR
        for subject in connection.get("subscriptions_list", ())
    )
    for route in (DEEPGRAM_CONNECT, ELEVENLABS_CONNECT):
        sockets = await system.standins.requests_to(route)
        found[route.name] = sum(socket["outcome"] == "open" for socket in sockets)
    return found
