"""Providers that raise, hang or are left while they are opened or closed, and the session that goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Self, cast

import pytest

from connectors_app import opening
from connectors_app.asking import Deadlines
from connectors_app.base.recognizer import Recognition
from connectors_app.base.voice import Speech
from connectors_app.opening import Opening
from connectors_app.recognizing import Recognizing
from connectors_app.speaking import Speaking
from tests.connectors_app.fakes import (
    HASTY,
    ScriptedRecognition,
    ScriptedRecognizer,
    ScriptedSpeech,
    ScriptedVoice,
    Told,
    chain_of,
)

PCM = b"\x00\x10" * 4000


async def hang() -> None:
    await asyncio.Event().wait()


async def raise_() -> None:
    raise KeyError("a fault in the provider's own code")


@pytest.fixture(params=[hang, raise_])
def fault(request: pytest.FixtureRequest) -> Callable[[], Awaitable[None]]:
    return cast(Callable[[], Awaitable[None]], request.param)


class BadVoice(ScriptedVoice):
    def open(self, rate: int) -> Speech:
        return BadSpeech(self)


class BadSpeech(ScriptedSpeech):
    async def __aenter__(self) -> Self:
        self.voice.began.set()
        await self.voice.script[0]()
        return self

    async def close(self) -> None:
        self.voice.closed.set()


class BadRecognizer(ScriptedRecognizer):
    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return BadRecognition(self)


class BadRecognition(ScriptedRecognition):
    async def __aenter__(self) -> Self:
        await self.by.script[0]()
        return self


class Clinging(ScriptedVoice):
    def open(self, rate: int) -> Speech:
        return ClingingSpeech(self)


class ClingingSpeech(ScriptedSpeech):
    async def close(self) -> None:
        await self.voice.script[0]()


async def test_a_voice_that_does_not_open_has_a_next(fault: object) -> None:
    chain, told = chain_of(BadVoice("first", fault), ScriptedVoice("second", PCM)), Told()
    async with Speaking(chain, 8000, HASTY) as speaking, aclosing(speaking.speak("Good morning.", told)) as pieces:
        assert b"".join([pcm async for pcm in pieces]) == PCM
    assert [slug for slug, _ in told.failures] == ["first"]


async def test_a_recogniser_that_does_not_open_has_a_next(fault: object) -> None:
    chain = chain_of(BadRecognizer("first", fault), ScriptedRecognizer("second", None, None, "hello"))
    async with Recognizing(chain, 8000, HASTY, Told(), lambda text: None) as recognizing:
        await recognizing.begin()
        await recognizing.send(PCM)
        assert (await recognizing.finish()).provider == "second"


async def test_who_does_not_open_holds_up_nobody_beside_it() -> None:
    chain = chain_of(BadRecognizer("first", hang), second := ScriptedRecognizer("second"))
    patience = Deadlines(stall=5, transcript=5, beside=0.01)
    async with Recognizing(chain, 8000, patience, Told(), lambda text: None) as recognizing, asyncio.timeout(4):
        await recognizing.begin()
        while not second.began.is_set():
            await recognizing.send(PCM)


async def test_a_voice_left_while_it_opens_is_closed() -> None:
    voice = BadVoice("first", hang)
    async with Speaking(chain_of(voice), 8000, HASTY):
        await voice.began.wait()
    assert voice.closed.is_set()


async def test_a_voice_that_does_not_close_holds_nobody_up(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CLOSE_SECONDS", 0.01)
    speeches: Opening[ScriptedVoice, Speech] = Opening(lambda voice: voice.open(8000))
    await speeches.get(Clinging("first", fault))
    async with asyncio.timeout(5):
        await speeches.close()


async def test_what_is_lent_is_nobody_elses() -> None:
    voice, speeches = ScriptedVoice("first"), Opening[ScriptedVoice, Speech](lambda voice: voice.open(8000))
    async with speeches.lent(voice) as one, speeches.lent(voice) as two:
        assert one is not two
    async with speeches.lent(voice) as again:
        assert again is two
    await speeches.close()


async def test_what_failed_is_not_lent_again() -> None:
    voice, speeches = ScriptedVoice("first"), Opening[ScriptedVoice, Speech](lambda voice: voice.open(8000))
    with pytest.raises(KeyError):
        async with speeches.lent(voice) as one:
            await raise_()
    async with speeches.lent(voice) as two:
        assert one is not two
    await speeches.close()


async def test_those_who_need_it_at_once_share_it() -> None:
    made: list[str] = []

    def make(voice: ScriptedVoice) -> Speech:
        made.append(voice.slug)
        return voice.open(8000)

    voice, speeches = ScriptedVoice("first"), Opening(make)
    speeches.begin(voice, within=1)
    one, two = await asyncio.gather(speeches.get(voice), speeches.get(voice))
    assert one is two and made == ["first"]
    await speeches.close()
