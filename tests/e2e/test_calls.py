"""Callers who speak and are answered, by telephone and by the websocket protocol, several at once."""

import asyncio

import pytest

from tests import speech
from tests.e2e.conversations import ask, telephone, web
from tests.unsupervised import System

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]


@pytest.mark.accepts("M45", "M46")
async def test_four_telephones_at_once(system: System) -> None:
    async def call(*texts: str) -> None:
        async with telephone(system) as caller:
            for text in texts:
                await ask(caller, text)

    said = speech.UTTERANCES
    await asyncio.gather(*(call(said[place], said[place + 4]) for place in range(4)))


@pytest.mark.accepts("M53")
async def test_five_programs_at_once(system: System) -> None:
    async def call(rate: int, *texts: str) -> None:
        async with await web(system, rate=rate) as caller:
            for text in texts:
                await ask(caller, text)

    said = speech.UTTERANCES[8:18]
    rates = (16_000, 16_000, 16_000, 24_000, 48_000)
    await asyncio.gather(*(call(rate, said[place], said[place + 5]) for place, rate in enumerate(rates)))
