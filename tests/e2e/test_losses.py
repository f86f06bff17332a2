"""A call goes on: workers, servers and lines that are cut by hand, between two turns and in the middle."""

import asyncio

import pytest

from mesh.bus.client import Bus
from mesh.events import SessionEnded
from mesh.subjects import Stage
from tests import speech
from tests.e2e.conversations import WORKERS, ask, asked, happened, owner, say, telephone, web
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT
from tests.unsupervised import System

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SERVED = 5.0
"""Seconds after a loss within which a turn must be answered, whatever else the machine does."""


@pytest.mark.accepts("M55")
async def test_a_killed_worker_costs_no_turn(system: System, bus: Bus) -> None:
    """The caller speaks at once after the kill; every turn is answered once, whole and in order."""
    said = iter(speech.UTTERANCES)
    async with telephone(system) as caller, await web(system) as other:
        await asyncio.gather(ask(caller, next(said)), ask(other, next(said)))
        for stage in WORKERS:
            name = "-".join((await owner(bus, other.session, stage)).split("-")[:2])
            system.kill(name)
            responses = await asyncio.gather(ask(caller, next(said)), ask(other, next(said)))
            system.start_worker(name)
            assert max(responses) < SERVED, stage
    await system.ready()


async def test_words_said_while_nobody_listens_are_heard(system: System) -> None:
    """Who takes the ear over gets all of it in one breath."""
    text = speech.UTTERANCES[22]
    async with telephone(system) as caller:
        await ask(caller, speech.UTTERANCES[23])
        for name in ("stt-1", "stt-2"):
            system.kill(name)
        await say(caller, text)
        for name in ("stt-1", "stt-2"):
            system.start_worker(name)
        await caller.reply(reply_for(text), since=caller.last_voiced)
    await system.ready()


async def test_a_stopped_worker_hands_its_calls_over(system: System, bus: Bus) -> None:
    """The turn that it is at is answered whole; then another worker has the session, and it ends."""
    text, after = speech.UTTERANCES[20:22]
    async with await web(system) as caller:
        await ask(caller, speech.UTTERANCES[18])
        leaving = await owner(bus, caller.session, Stage.TTS)
        name = "-".join(leaving.split("-")[:2])
        process = system.processes.pop(name)
        await say(caller, text)
        process.terminate()
        await caller.reply(reply_for(text), since=caller.last_voiced)
        assert await asyncio.to_thread(process.wait, SERVED) == 0
        assert await owner(bus, caller.session, Stage.TTS) != leaving
        await ask(caller, after)
    system.start_worker(name)
    await system.ready()


async def test_nats_is_killed_between_turns(system: System, bus: Bus) -> None:
    async with telephone(system) as caller, await web(system) as other:
        await asyncio.gather(ask(caller, speech.UTTERANCES[0]), ask(other, speech.UTTERANCES[1]))
        await asyncio.to_thread(system.nats.restart)
        await asyncio.gather(ask(caller, speech.UTTERANCES[2]), ask(other, speech.UTTERANCES[3]))
        assert not await happened(bus, other.session, SessionEnded)


async def test_valkey_is_away_during_a_call(system: System) -> None:
    async with telephone(system) as caller, await web(system) as other:
        await asyncio.to_thread(system.valkey.kill)
        try:
            await asyncio.gather(ask(caller, speech.UTTERANCES[6]), ask(other, speech.UTTERANCES[7]))
        finally:
            await asyncio.to_thread(system.valkey.start)
        await asyncio.gather(ask(caller, speech.UTTERANCES[8]), ask(other, speech.UTTERANCES[9]))


async def test_a_cut_line_goes_on_where_the_ear_was(system: System) -> None:
    text = speech.UTTERANCES[10]
    async with await web(system) as caller:
        await say(caller, text)
        voiced = caller.last_voiced
        await caller.listen(0.5)
        caller.vanish()
        await caller.end()
        await caller.come_back()
        await caller.reply(reply_for(text), since=voiced)
        await ask(caller, speech.UTTERANCES[11])
        assert len(await asked(system, OPENAI_CHAT, text)) == 1
