"""Piper: neural voices without a key or a network, spoken by a process of its own.

Piper is the operator's to install and so are its voices, each a model and its description in one folder:
`python -m piper.download_voices --data-dir FOLDER en_US-lessac-medium`.
"""

import asyncio
import json
import textwrap
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from connectors_app.base.connector import Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Voice
from connectors_app.clients import Shared
from connectors_app.providers.offline import piper_program
from connectors_app.providers.offline.child import MODEL_SECONDS, Child, asked, told_by_child
from connectors_app.providers.offline.piper_program import RATE, VOICES
from connectors_app.resampling import Resampler
from connectors_app.voice_names import no_such_voice

FOLDER = "MESHAG_PIPER_VOICES"
PIECE = 400
"""Characters that are asked for at once: a long text does not hold up other sessions."""


class PiperOptions(Options):
    """Named as Piper names them; what is not given is the voice's own."""

    voice: str = Field(
        "en_US-lessac-medium",
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description=f"Name of a voice's model in the folder {FOLDER}, without .onnx",
    )
    speaker_id: int | None = Field(None, ge=0, le=10_000, description="Which one, of a voice with several speakers")
    length_scale: float | None = Field(None, ge=0.25, le=4, description="How long sounds are; 2 is half as fast")
    noise_scale: float | None = Field(None, ge=0, le=2, description="How much the sound varies")
    noise_w_scale: float | None = Field(None, ge=0, le=2, description="How much the lengths of sounds vary")
    volume: float = Field(1, ge=0.05, le=2, description="1 is the usual volume")
    normalize_audio: bool = Field(True, description="As loud as can be before the volume is applied")

    def request(self, text: str, voice: str) -> bytes:
        return json.dumps({"voice": voice, "text": text, "config": self.model_dump(exclude={"voice"})}).encode()


class Piper(Voice):
    slug = "piper"
    label = "Piper (offline)"
    Options: ClassVar[type[Options]] = PiperOptions
    options: PiperOptions

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        return () if environ.get(FOLDER, "").strip() else (FOLDER,)

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        return Credentials(base_url=environ.get(FOLDER, "").strip())

    @property
    def model(self) -> str:
        return self.options.voice

    async def warm(self) -> None:
        """Loads the voice, after the folder's others where all of them are kept: agents speak with any of them."""
        names = await asyncio.to_thread(_names, Path(self.credentials.base_url))
        for name in names if len(names) <= VOICES else ():
            with suppress(ProviderError):  # told to whoever chooses that voice
                await self._load(name)
        await self.check()

    async def check(self) -> None:
        await self._load(self.options.voice)

    async def close(self) -> None:
        await CHILD.leave(self)

    def open(self, rate: int) -> Speech:
        return _PiperSpeech(self, rate)

    async def _load(self, name: str) -> None:
        async with aclosing(self.parts("", name)) as parts:
            async for _ in parts:
                pass

    async def parts(self, text: str, name: str) -> AsyncGenerator[bytes, None]:
        """The rate of the voice of this name, then its samples."""
        child = await CHILD.take(self)
        try:
            with told_by_child(self):
                async with aclosing(asked(child, self.options.request(text, name))) as parts:
                    async for part in parts:
                        yield part
        except ProviderError as error:
            known = await asyncio.to_thread(_names, Path(self.credentials.base_url))
            raise no_such_voice(self, name, known) if name not in known else error from None


class _PiperSpeech(Speech):
    def __init__(self, voice: Piper, rate: int) -> None:
        self._voice = voice
        self.rate = rate

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        resampler: Resampler | None = None
        is_silent = True
        for piece in textwrap.wrap(text, PIECE):
            async with aclosing(self._voice.parts(piece, self._voice.model)) as parts:
                own_rate = RATE.unpack(await anext(parts))[0]
                resampler = resampler or Resampler(own_rate, self.rate)
                async for pcm in parts:
                    if samples := resampler.feed(pcm):
                        is_silent = False
                        yield samples
        if resampler and (rest := resampler.end()):
            yield rest
        elif is_silent:
            raise ProviderError(ErrorKind.EMPTY, "Piper has nothing to say for this text")


def _names(folder: Path) -> Sequence[str]:
    with suppress(OSError):
        return sorted(path.stem for path in folder.glob("*.onnx"))
    return ()


async def _start(credentials: Credentials) -> Child:
    if not credentials.base_url:
        raise ProviderError(ErrorKind.UNCONFIGURED, f"Piper has no voices: set {FOLDER} to the folder that they are in")
    if find_spec("piper") is None:
        raise ProviderError(ErrorKind.UNCONFIGURED, "Piper is not there: pip install piper-tts")
    folder = Path(credentials.base_url)
    if not await asyncio.to_thread(folder.is_dir):
        raise ProviderError(ErrorKind.UNCONFIGURED, f"the folder of Piper's voices is not there: {FOLDER}={folder}")
    return Child(piper_program.__name__, str(folder), patience=MODEL_SECONDS)


CHILD: Shared[Child] = Shared(_start, Child.close)
"""One process for all voices of a folder and all sessions of a worker."""
