"""Whisper on this machine, by faster-whisper: whole utterances, without a key or a network."""

from collections.abc import Callable
from typing import Literal

import msgspec
from pydantic import Field

from connectors_app.base.connector import AnyOptions
from connectors_app.base.recognizer import Recognition, Transcript
from connectors_app.providers.offline import whisper_program
from connectors_app.providers.offline.local_model import MODEL_RATE, LocalModelOptions, LocalRecognizer
from connectors_app.providers.offline.whisper_program import REQUEST
from connectors_app.resampling import Resampler

SHORTEST_SECONDS = 0.1
_LOADED_WITH = {"model_path", "device", "compute_type", "cpu_threads"}


class FasterWhisperOptions(LocalModelOptions):
    """Named as faster-whisper names them."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="What the model runs on")
    compute_type: Literal[
        "default",
        "auto",
        "int8",
        "int8_float16",
        "int8_float32",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = Field("default", description="How it calculates: int8 is quick on processors, float16 on graphics cards")
    cpu_threads: int = Field(0, ge=0, le=128, description="Threads of the processor; 0: as many as the library thinks")
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$", description="What callers speak: en; empty: it listens")
    beam_size: int = Field(1, ge=1, le=20, description="How many ways it follows at once: more is slower, and better")
    temperature: float = Field(0.0, ge=0, le=1, description="0 is what is most likely")
    initial_prompt: str | None = Field(None, max_length=1000, description="Text as it might come before the utterance")
    hotwords: str | None = Field(None, max_length=1000, description="Names and words that are likely to come up")
    no_speech_threshold: float = Field(0.6, ge=0, le=1, description="How sure it must be of silence to write nothing")
    vad_filter: bool = Field(False, description="Leave out what is no speech, once more, before the model hears it")

    def request(self) -> bytes:
        options = msgspec.json.encode(self.model_dump(exclude=_LOADED_WITH, exclude_none=True))
        return REQUEST.pack(len(options)) + options


class FasterWhisper(LocalRecognizer):
    slug = "faster_whisper"
    label = "faster-whisper (local model)"
    package = "faster_whisper"
    wheel = "faster-whisper"
    setting = "MESHAG_FASTER_WHISPER_MODEL"
    program = whisper_program.__name__
    Options = FasterWhisperOptions
    options: FasterWhisperOptions

    @classmethod
    def arguments(cls, options: AnyOptions) -> tuple[str, ...]:
        assert isinstance(options, FasterWhisperOptions)
        return options.device, options.compute_type, str(options.cpu_threads)

    async def check(self) -> None:
        await self.ask(self.options.request())

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _WholeRecognition(self, rate)


_transcript = msgspec.json.Decoder(Transcript)


class _WholeRecognition(Recognition):
    def __init__(self, by: FasterWhisper, rate: int) -> None:
        self._by = by
        self._rate = rate
        self._restart()

    async def begin(self) -> None:
        self._restart()

    async def send(self, pcm: bytes) -> None:
        self._samples += self._resampler.feed(pcm)

    async def finish(self) -> Transcript:
        samples = self._samples + self._resampler.end()
        self._restart()
        if len(samples) < SHORTEST_SECONDS * MODEL_RATE * 2:
            return Transcript("")
        return _transcript.decode(await self._by.ask(self._by.options.request() + samples))

    def _restart(self) -> None:
        self._resampler = Resampler(self._rate, MODEL_RATE)
        self._samples = bytearray()
