"""Deepgram: live recognition over one WebSocket a session.

The socket is spoken to directly: the SDK builds a Pydantic model of every message, words included, and has neither
keep-alive nor reconnection.
"""

import re
from collections.abc import Callable
from typing import Literal, Self

import msgspec
from pydantic import Field, model_validator

from connectors_app.base.connector import Options
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.deepgram_api import MOST_KEYTERMS, DeepgramConnector
from connectors_app.failures import from_code
from connectors_app.line import Socket
from connectors_app.live_recognition import LiveRecognition

KEEPALIVE = '{"type":"KeepAlive"}'
KEEPALIVE_SECONDS = 4.0
"""The server ends a socket after ten seconds without audio or a message."""
FINALIZE = '{"type":"Finalize"}'
SLACK_SECONDS = 0.1
"""A final result that ends this close to the end of the audio covers it."""
GRACE_SECONDS = 0.5
"""How long to wait for `from_finalize`, which is not promised, when every word heard is final already."""
MULTILINGUAL = ("nova-3", "nova-3-general", "nova-2", "nova-2-general")
"""The models that follow a caller from one language into another."""
ENGLISH_ONLY = re.compile(
    "nova-2-(atc|automotive|conversationalai|drivethru|finance|medical|meeting|phonecall|video|voicemail)"
)


class DeepgramOptions(Options):
    model: str = Field("nova-3", pattern=r"^[a-z0-9][A-Za-z0-9._-]*$", description="Name of the model")
    language: str = Field("en", pattern=r"^[A-Za-z0-9-]{2,10}$", description="Language code, or “multi”")
    language_hint: tuple[str, ...] = Field(
        (),
        max_length=10,
        description="Languages that are likely; only for Nova-3 with the language “multi”",
    )
    version: str | None = Field(None, min_length=1, description="Version of the model; else the latest one")
    smart_format: bool = Field(True, description="Write numbers, dates and amounts as people do")
    punctuate: bool = Field(True, description="Punctuation and capital letters")
    numerals: bool = Field(False, description="Numbers as digits")
    dictation: bool = Field(False, description="Spoken commands such as “comma” become signs; needs punctuation")
    filler_words: bool = Field(False, description="Keep “uh” and “um” (English)")
    profanity_filter: bool = Field(False, description="Remove rude words")
    redact: tuple[Literal["pci", "pii", "phi", "numbers", "aggressive_numbers", "ssn"], ...] = Field(
        (), description="What is made unreadable in transcripts, such as card numbers (pci) or all numbers (English)"
    )
    keyterm: tuple[str, ...] = Field(
        (), max_length=MOST_KEYTERMS, description="Names and words that are likely to come up (Nova-3)"
    )
    keywords: tuple[str, ...] = Field(
        (), max_length=MOST_KEYTERMS, description="The same for older models, with a weight if wanted: “MeshAG:2”"
    )
    replace: tuple[str, ...] = Field(
        (), max_length=200, description="What is written differently than heard: “in voice:invoice”"
    )
    endpointing: int | None = Field(None, ge=10, le=5000, description="Milliseconds of silence that end a phrase")
    tag: tuple[str, ...] = Field((), description="Labels of these requests in Deepgram's usage reports")
    mip_opt_out: bool = Field(False, description="Keep the audio out of Deepgram's model improvement; costs more")

    @model_validator(mode="after")
    def _fits_model(self) -> Self:
        is_newest = self.model.startswith("nova-3")
        if self.keyterm and not is_newest:
            raise ValueError(f"{self.model} takes keywords, not keyterm")
        if self.keywords and is_newest:
            raise ValueError(f"{self.model} takes keyterm, not keywords")
        if self.dictation and not (self.punctuate or self.smart_format):
            raise ValueError("dictation needs punctuate or smart_format")
        return self

    @model_validator(mode="after")
    def _speaks_language(self) -> Self:
        if self.language == "multi" and self.model not in MULTILINGUAL:
            raise ValueError(f"{self.model} has no language “multi”; {', '.join(MULTILINGUAL)} have it")
        if self.language_hint and not (self.language == "multi" and self.model.startswith("nova-3")):
            raise ValueError("language_hint needs Nova-3 and the language “multi”")
        if ENGLISH_ONLY.fullmatch(self.model) and self.language.split("-")[0] != "en":
            raise ValueError(f"{self.model} understands English only")
        return self


class DeepgramLive(DeepgramConnector, Recognizer):
    slug = "deepgram"
    label = "Deepgram"
    tells_as_it_hears = True
    Options = DeepgramOptions
    options: DeepgramOptions

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _Listening(self, rate, on_interim)

    async def dial(self, rate: int) -> Socket:
        audio = {"encoding": "linear16", "sample_rate": rate, "channels": 1, "interim_results": True}
        return await self.connect("/v1/listen", self.options.model_dump() | audio)


class _Alternative(msgspec.Struct):
    transcript: str = ""
    confidence: float = 0.0
    languages: list[str] | None = None


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative] = []


class _Said(msgspec.Struct):
    """What the live API sends; only `Results` and errors matter."""

    type: str
    start: float = 0.0
    duration: float = 0.0
    is_final: bool | None = None
    from_finalize: bool | None = None
    channel: msgspec.Raw = msgspec.Raw(b"{}")
    variant: str | None = None
    code: str | None = None


_said = msgspec.json.Decoder(_Said)
_channel = msgspec.json.Decoder(_Channel)


class _Listening(LiveRecognition):
    """The API's clock is the audio it was sent: results are told apart by where they lie on it."""

    def __init__(self, by: DeepgramLive, rate: int, on_interim: Callable[[str], None]) -> None:
        super().__init__(
            by,
            rate,
            on_interim,
            lambda: by.dial(rate),
            keepalive=lambda: KEEPALIVE,
            keepalive_seconds=KEEPALIVE_SECONDS,
        )

    async def _ask_for_end(self) -> None:
        await self._line.send(FINALIZE)

    def _reset(self) -> None:
        super()._reset()
        self._finals: dict[float, _Alternative] = {}  # by where they begin
        self._interim = ""
        self._heard = self._flushed = False
        self._final_until = self._seconds(self._sent)

    def _is_complete(self) -> bool:
        return self._flushed or self._final_until >= self._seconds(self._sent) - SLACK_SECONDS

    def _patience(self) -> float | None:
        return GRACE_SECONDS if self._heard and not self._interim else None

    def _transcript(self) -> Transcript:
        spoken = [final for final in self._in_order() if final.transcript]
        if not spoken:
            return Transcript("")
        language = spoken[0].languages[0] if spoken[0].languages else ""
        return Transcript(self._text(), language, min(final.confidence for final in spoken))

    def _text(self) -> str:
        return " ".join(text for text in (*(f.transcript for f in self._in_order()), self._interim) if text)

    def _in_order(self) -> list[_Alternative]:
        return [self._finals[start] for start in sorted(self._finals)]

    def _take(self, message: bytes) -> None:
        said = _said.decode(message)
        if said.type == "Results":
            self._take_results(said, _channel.decode(said.channel))
        elif said.type == "Error":
            self._end(from_code(self._by, said.code or said.variant or ""))

    def _take_results(self, said: _Said, channel: _Channel) -> None:
        end = said.start + said.duration
        if not self._busy or end * self._rate <= self._start:
            return  # of an earlier utterance, which was abandoned
        self._heard = True
        best = channel.alternatives[0] if channel.alternatives else _Alternative()
        if said.is_final:
            self._finals[said.start] = best
            self._interim = ""
            self._final_until = max(self._final_until, end)
            self._flushed = self._flushed or (self._asked and bool(said.from_finalize))
        elif end > self._final_until:
            self._interim = best.transcript
        self._on_interim(self._text())
