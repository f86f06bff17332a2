"""Vosk on this machine: recognition as the caller speaks, without a key or a network."""

import itertools
from collections.abc import Callable

import msgspec
from pydantic import Field

from connectors_app.base.connector import AnyOptions
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Transcript
from connectors_app.providers.offline import vosk_program
from connectors_app.providers.offline.local_model import MODEL_RATE, LocalModelOptions, LocalRecognizer
from connectors_app.providers.offline.vosk_program import REQUEST, Do
from connectors_app.resampling import Resampler

PIECE = MODEL_RATE // 5
"""Bytes that are heard at once: a tenth of a second."""
_number = itertools.count(1)


class VoskOptions(LocalModelOptions):
    phrases: tuple[str, ...] = Field(
        (),
        max_length=500,
        description="All that callers can say, for models that take it (the small ones); empty: anything",
    )


class Vosk(LocalRecognizer):
    slug = "vosk"
    label = "Vosk (local model)"
    package = "vosk"
    wheel = "vosk"
    setting = "MESHAG_VOSK_MODEL"
    program = vosk_program.__name__
    tells_as_it_hears = True
    Options = VoskOptions
    options: VoskOptions

    @classmethod
    def arguments(cls, options: AnyOptions) -> tuple[str, ...]:
        return ()

    async def check(self) -> None:
        number = next(_number)
        await self.ask(self.beginning(number))
        await self.ask(REQUEST.pack(Do.DROP, number, 0))

    def beginning(self, number: int) -> bytes:
        return REQUEST.pack(Do.BEGIN, number, 0) + msgspec.json.encode(self.options.phrases)

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _LiveRecognition(self, rate, on_interim)


class _Answer(msgspec.Struct):
    text: str = ""
    confidence: float | None = None
    lost: bool = False


_answer = msgspec.json.Decoder(_Answer)


class _LiveRecognition(Recognition):
    def __init__(self, by: Vosk, rate: int, on_interim: Callable[[str], None]) -> None:
        self._by = by
        self._rate = rate
        self._on_interim = on_interim
        self._number = 0
        """Of the utterance that the process hears; 0: none."""
        self._restart()

    async def begin(self) -> None:
        await self._drop()
        self._restart()

    async def send(self, pcm: bytes) -> None:
        self._waiting += self._resampler.feed(pcm)
        if len(self._waiting) >= PIECE:
            await self._hear()

    async def finish(self) -> Transcript:
        self._waiting += self._resampler.end()
        if self._waiting:
            await self._hear()
        if not self._number:
            return Transcript("")
        answer = await self._ask(Do.FINISH)
        self._number = 0
        return Transcript(answer.text, confidence=answer.confidence)

    async def close(self) -> None:
        await self._drop()

    def _restart(self) -> None:
        self._resampler = Resampler(self._rate, MODEL_RATE)
        self._waiting = bytearray()
        self._heard = 0

    async def _hear(self) -> None:
        if not self._number:
            self._number = next(_number)
            await self._by.ask(self._by.beginning(self._number))
        samples, self._waiting = bytes(self._waiting), bytearray()
        answer = await self._ask(Do.HEAR, samples)
        self._heard += len(samples)
        self._on_interim(answer.text)

    async def _drop(self) -> None:
        """The process forgets an utterance that was abandoned; one that is gone has forgotten."""
        if self._number:
            number, self._number = self._number, 0
            try:
                await self._by.ask(REQUEST.pack(Do.DROP, number, 0))
            except ProviderError:
                return

    async def _ask(self, do: Do, body: bytes = b"") -> _Answer:
        answer = _answer.decode(await self._by.ask(REQUEST.pack(do, self._number, self._heard) + body))
        if answer.lost:
            raise ProviderError(ErrorKind.BROKEN, "the process of Vosk was started again within the utterance")
        return answer
