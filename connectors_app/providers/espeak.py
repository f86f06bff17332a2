"""espeak-ng: a voice without a key or a network, spoken by a process of its own."""

import textwrap
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from connectors_app.base.connector import Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Voice
from connectors_app.clients import Shared
from connectors_app.providers.offline import espeak_program
from connectors_app.providers.offline.child import Child, asked, told_by_child
from connectors_app.providers.offline.espeak_program import NATIVE_RATE, REQUEST
from connectors_app.resampling import Resampler

LIBRARIES = ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll")
PIECE = 400
"""Characters that are asked for at once: a long text neither fills the memory nor holds up other sessions."""


class EspeakOptions(Options):
    voice: str = Field(
        "en-us",
        max_length=60,
        pattern=r"^[A-Za-z][A-Za-z0-9-]*(\+[A-Za-z0-9]+)?$",
        description="A language, or a language and a variant: en-us, en-gb, de, en-us+f3",
    )
    rate: int = Field(165, ge=80, le=450, description="Words per minute")
    pitch: int = Field(50, ge=0, le=99, description="50 is the voice's own pitch")

    def request(self, text: str) -> bytes:
        voice = self.voice.encode()
        return REQUEST.pack(self.rate, self.pitch, len(voice)) + voice + text.replace("\0", " ").encode()


class Espeak(Voice):
    slug = "espeak"
    label = "eSpeak NG (offline)"
    Options: ClassVar[type[Options]] = EspeakOptions
    options: EspeakOptions

    async def warm(self) -> None:
        with told_by_child(self):
            await (await CHILD.take(self)).warm()

    async def check(self) -> None:
        async with aclosing(self.samples("a")) as parts:
            async for _ in parts:
                return
        raise ProviderError(ErrorKind.EMPTY, f"espeak-ng is silent in the voice “{self.options.voice}”")

    async def close(self) -> None:
        await CHILD.leave(self)

    def open(self, rate: int) -> Speech:
        return _EspeakSpeech(self, rate)

    async def samples(self, text: str) -> AsyncGenerator[bytes, None]:
        """At the program's own rate."""
        child = await CHILD.take(self)
        with told_by_child(self):
            for piece in textwrap.wrap(text, PIECE):
                async with aclosing(asked(child, self.options.request(piece))) as parts:
                    async for pcm in parts:
                        yield pcm


class _EspeakSpeech(Speech):
    def __init__(self, voice: Espeak, rate: int) -> None:
        self._voice = voice
        self.rate = rate

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        resampler = Resampler(NATIVE_RATE, self.rate)
        is_silent = True
        async with aclosing(self._voice.samples(text)) as parts:
            async for pcm in parts:
                if samples := resampler.feed(pcm):
                    is_silent = False
                    yield samples
        if rest := resampler.end():
            yield rest
        elif is_silent:
            raise ProviderError(ErrorKind.EMPTY, "espeak-ng has nothing to say for this text")


async def _start(_: Credentials) -> Child:
    wheel = find_spec("espeakng_loader")
    folder = Path(wheel.origin).parent if wheel and wheel.origin else Path()
    library = next((folder / name for name in LIBRARIES if (folder / name).is_file()), None)
    if not wheel or not library:
        raise ProviderError(ErrorKind.UNCONFIGURED, "espeak-ng is not there: pip install espeakng-loader")
    return Child(espeak_program.__name__, str(library), str(folder / "espeak-ng-data"))


CHILD: Shared[Child] = Shared(_start, Child.close)
"""One process for all voices and sessions of a worker."""
