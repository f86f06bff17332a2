"""The offline voice: it speaks at any rate, stops when it is told, and outlives its process."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from connectors_app.base.connector import Credentials
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Spoken
from connectors_app.providers.espeak import CHILD, Espeak, EspeakOptions
from connectors_app.providers.offline.child import Child

SENTENCE = "Your appointment on Monday is booked."
LONG = "The sea was calm, and nobody on the shore had anything to do. " * 40

PARENT = """
import asyncio
from connectors_app.base.connector import Credentials
from connectors_app.providers.espeak import Espeak, EspeakOptions

async def main():
    await Espeak(EspeakOptions(), Credentials()).warm()
    print("warm", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def espeak(**options: Any) -> AsyncIterator[Espeak]:
    voice = Espeak(EspeakOptions(**options), Credentials())
    try:
        async with asyncio.timeout(20):
            yield voice
    finally:
        await voice.close()


async def spoken(voice: Espeak, text: str = SENTENCE, rate: int = 8000) -> bytes:
    async with voice.open(rate) as speech:
        return b"".join([piece async for piece in speech.speak(text) if not isinstance(piece, Spoken)])


async def child_of(voice: Espeak) -> Child:
    await voice.warm()
    return await CHILD.take(voice)


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_speech_has_the_asked_rate() -> None:
    async with espeak() as voice:
        seconds = [len(await spoken(voice, rate=rate)) / 2 / rate for rate in (8000, 16_000, 22_050, 24_000)]
    assert min(seconds) > 1.5 and max(seconds) - min(seconds) < 0.02


async def test_speech_is_loud_enough_to_hear() -> None:
    async with espeak() as voice:
        assert np.abs(np.frombuffer(await spoken(voice), "<i2")).max() > 4000


async def test_faster_speech_is_shorter() -> None:
    async with espeak(rate=120) as slow, espeak(rate=300) as fast:
        assert len(await spoken(slow)) > 1.6 * len(await spoken(fast))


async def test_voices_differ_in_one_process() -> None:
    async with espeak() as man, espeak(voice="en-gb+f3") as woman, espeak(pitch=99) as high:
        all_spoken = {await spoken(voice) for voice in (man, woman, high)}
        assert len(all_spoken) == 3 and await CHILD.take(man) is await CHILD.take(woman)


@pytest.mark.parametrize("name", ["zz", "en-us+nobody"])
async def test_an_unknown_voice_is_named(name: str) -> None:
    async with espeak(voice=name) as voice:
        with pytest.raises(ProviderError, match=name.replace("+", r"\+")) as caught:
            await voice.check()
    assert caught.value.kind is ErrorKind.REQUEST


@pytest.mark.parametrize("options", [{"rate": 79}, {"rate": 451}, {"pitch": 100}, {"voice": "../en"}, {"speed": 1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        EspeakOptions(**options)


async def test_a_text_without_sound_is_a_failure() -> None:
    async with espeak() as voice:
        with pytest.raises(ProviderError) as caught:
            await spoken(voice, " ")
    assert caught.value.kind is ErrorKind.EMPTY


async def test_a_cancelled_text_is_abandoned() -> None:
    async with espeak() as voice, voice.open(8000) as speech:
        async with aclosing(speech.speak(LONG)) as pieces:  # type: ignore[type-var]
            assert await anext(pieces)
        assert 1 < len(await spoken(voice)) / 16_000 < 5


async def test_a_long_text_lets_others_speak() -> None:
    async with espeak() as voice, voice.open(8000) as speech:
        pieces = speech.speak(LONG)
        assert await anext(pieces)
        assert len(await asyncio.gather(*(spoken(voice) for _ in range(8)))) == 8
        assert sum([len(piece) async for piece in pieces if not isinstance(piece, Spoken)]) / 16_000 > 100


async def test_a_killed_process_is_replaced() -> None:
    async with espeak() as voice:
        before = await spoken(voice)
        child = await child_of(voice)
        gone = child.pid
        os.kill(gone, signal.SIGKILL)
        assert await spoken(voice) == before and child.pid != gone


async def test_a_stuck_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors_app.providers.offline.child.ANSWER_SECONDS", 0.2)
    async with espeak() as voice:
        child = await child_of(voice)
        os.kill(child.pid, signal.SIGSTOP)
        assert await spoken(voice)


async def test_a_stuck_process_is_replaced_though_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers go on to the next voice long before."""
    monkeypatch.setattr("connectors_app.providers.offline.child.ANSWER_SECONDS", 0.2)
    async with espeak() as voice:
        child = await child_of(voice)
        stuck, gone = child.pid, child._reading
        os.kill(stuck, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await spoken(voice)
        assert gone
        await gone
        assert await spoken(voice) and child.pid != stuck


async def test_the_process_knows_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with espeak() as voice:
        environment = environment_of((await child_of(voice)).pid)
    assert b"PYTHONPATH" in environment and b"sk-secret" not in environment


async def test_the_process_ends_with_its_voice() -> None:
    async with espeak() as voice:
        pid = (await child_of(voice)).pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_process_ends_with_its_parent() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=PIPE, stderr=PIPE)
    assert parent.stdout and parent.stderr
    async with asyncio.timeout(20):
        assert await parent.stdout.readline() == b"warm\n"
        parent.kill()
        assert await parent.stderr.read() == b""  # ends when nobody holds it any more, espeak-ng's process included
    await parent.wait()
