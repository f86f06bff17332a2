"""Azure Speech: live recognition by its WebSocket protocol, spoken directly: its SDK is no asyncio one.

An utterance is a turn: a request id of its own, its context, its audio, and the service's `turn.end`. Turns follow each
other on one connection, which is opened before the caller speaks and changed between utterances before it is ten
minutes old, when the service would end it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from pydantic import Field

from connectors_app import azure_messages
from connectors_app.azure_api import AzureConnector
from connectors_app.azure_messages import LARGEST_AUDIO
from connectors_app.base.connector import Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.failures import finding, told_by_http
from connectors_app.lasting import LastingLine
from connectors_app.line import Socket
from connectors_app.live_recognition import SocketRecognition
from connectors_app.resampling import Resampler

RATES = (8000, 16_000)
LIFETIME_SECONDS = 9 * 60.0
ENDING_SECONDS = 0.5
"""How long an abandoned turn may take to end; then another connection is quicker."""
LONGEST_SILENCE_SECONDS = 1.5
"""After the last phrase. More than that at the end says that the turn ended before it had all of its audio."""
PATH = "/speech/recognition/conversation/cognitiveservices/v1"
TICKS = 10_000_000
"""In a second, as the service counts."""
_CONFIG = '{"context":{"system":{"name":"MeshAG","version":"1","build":"Python","lang":"Python"}}}'
_UNHEARD = {"NoMatch", "InitialSilenceTimeout", "BabbleTimeout", "EndOfDictation"}
_FAILED = {
    "TooManyRequests": (ErrorKind.RATE_LIMIT, "Azure Speech takes no more calls at a time"),
    "Forbidden": (ErrorKind.QUOTA, "the quota at Azure Speech is used up"),
    "BadRequest": (ErrorKind.REQUEST, "Azure Speech does not accept what was asked; check the options of “azure”"),
}


class AzureRecognitionOptions(Options):
    language: str = Field(
        "en-US",
        pattern=r"^[a-z]{2,3}(-[A-Za-z]{4})?-([A-Z]{2}|[0-9]{3})$",
        description="Locale: en-US",
        examples=["de-DE"],
    )
    profanity: Literal["masked", "removed", "raw"] | None = Field(None, description="What becomes of rude words")
    phrases: tuple[str, ...] = Field((), max_length=500, description="Names and words that are likely to come up")
    segmentation_silence_timeout_ms: int | None = Field(
        None, ge=100, le=5000, description="Milliseconds of silence that end a phrase"
    )
    stable_partial_result_threshold: int | None = Field(
        None, ge=1, le=20, description="How often a word must be heard before it is shown: higher changes less"
    )
    endpoint_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]{8,64}$", description="Deployment of a custom model", examples=["0123-4567-89ab"]
    )

    def query(self) -> dict[str, str]:
        """A custom model has its own language."""
        wanted = {
            "language": None if self.endpoint_id else self.language,
            "cid": self.endpoint_id,
            "profanity": self.profanity,
            "stableIntermediateThreshold": self.stable_partial_result_threshold,
        }
        return {"format": "detailed"} | {k: str(v) for k, v in wanted.items() if v}

    def context(self) -> str:
        """What each turn begins with."""
        context: dict[str, Any] = {}
        if self.phrases:
            items = [{"text": phrase} for phrase in self.phrases]
            context["dgi"] = {"groups": [{"type": "Generic", "items": items}], "bias": 1.0}
        if timeout := self.segmentation_silence_timeout_ms:
            segmentation = {"mode": "Custom", "segmentationSilenceTimeoutMs": timeout}
            context["phraseDetection"] = {"mode": "Conversation", "conversation": {"segmentation": segmentation}}
        return msgspec.json.encode(context).decode()


class AzureRecognition(AzureConnector, Recognizer):
    service = "stt"
    Options = AzureRecognitionOptions
    options: AzureRecognitionOptions

    async def check(self) -> None:
        """A connection is the cheapest thing that needs a key at the recognition's host."""
        with finding(self), told_by_http(self):
            await (await self.connect()).close()

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _LiveRecognition(self, rate, on_interim)

    async def connect(self) -> Socket:
        path = f"{PATH}?{urlencode(self.options.query())}"
        socket = await self.open_socket(path, {"X-ConnectionId": uuid4().hex})
        await socket.send_str(azure_messages.text("speech.config", uuid4().hex, _CONFIG))
        return socket


class _Best(msgspec.Struct, rename="pascal"):
    display: str = ""
    confidence: float | None = None


class _Language(msgspec.Struct, rename="pascal"):
    language: str = ""


class _Phrase(msgspec.Struct, rename="pascal"):
    """Final. `DisplayText` is in both formats, `NBest` in the detailed one."""

    recognition_status: str = ""
    offset: int = 0
    duration: int = 0
    display_text: str = ""
    n_best: list[_Best] = msgspec.field(default_factory=list, name="NBest")
    primary_language: _Language | None = None

    @property
    def best(self) -> _Best:
        return self.n_best[0] if self.n_best else _Best(self.display_text)


class _Hypothesis(msgspec.Struct, rename="pascal"):
    text: str = ""


_phrase = msgspec.json.Decoder(_Phrase)
_hypothesis = msgspec.json.Decoder(_Hypothesis)


class _LiveRecognition(SocketRecognition):
    """The service may end a turn before the utterance is over: then the next turn goes on after its last phrase."""

    _by: AzureRecognition
    _line: LastingLine

    def __init__(self, by: AzureRecognition, rate: int, on_interim: Callable[[str], None]) -> None:
        super().__init__(by, on_interim, partial(LastingLine, by, by.connect, lifetime=LIFETIME_SECONDS))
        self._rate = rate
        self._turn_rate = min((one for one in RATES if one >= rate), default=max(RATES))
        self._turn = ""
        """The request id of the turn that has begun at the service and not ended."""
        self._leaving = ""
        """That of an abandoned one."""
        self._reset()

    async def begin(self) -> None:
        self._reset()
        self._busy = True
        if self._turn:
            self._leaving, self._turn = self._turn, ""
            await self._end_abandoned()

    async def send(self, pcm: bytes) -> None:
        await self._say(self._resampler.feed(pcm))

    async def finish(self) -> Transcript:
        await self._say(self._resampler.end())
        for _ in range(2):
            if self._turn or self._tail:
                await self._open_turn()
                await self._line.send(azure_messages.audio(self._turn))
                await self._until(lambda: not self._turn)
                self._raise_lost()
            if len(self._tail) <= LONGEST_SILENCE_SECONDS * self._turn_rate * 2:
                break
        self._busy = False
        self._line.rest()
        return self._transcript()

    def _reset(self) -> None:
        self._error = None
        self._resampler = Resampler(self._rate, self._turn_rate)
        self._phrases: list[_Phrase] = []
        self._hypothesis = ""
        self._tail = bytearray()
        """Samples of the utterance that no phrase covers yet."""
        self._covered = 0
        """Bytes of the turn before the tail."""

    def _restart(self) -> None:
        """A new connection has no turn. What the old one lost stays lost until the next utterance begins."""
        self._turn = self._leaving = ""

    # -- what is sent ------------------------------------------------------------------------------------

    async def _say(self, samples: bytes) -> None:
        self._raise_lost()
        if not samples:
            return
        self._tail += samples
        if self._turn:
            await self._send(samples)
        else:
            await self._open_turn()

    async def _open_turn(self) -> None:
        """With all that no phrase covers."""
        if self._turn:
            return
        turn = uuid4().hex
        self._covered = 0
        await self._line.send(azure_messages.text("speech.context", turn, self._by.options.context()))
        await self._line.send(azure_messages.audio(turn, azure_messages.wave_header(self._turn_rate), "audio/x-wav"))
        self._turn = turn
        await self._send(bytes(self._tail))

    async def _send(self, samples: bytes) -> None:
        turn = self._turn
        for start in range(0, len(samples), LARGEST_AUDIO):
            await self._line.send(azure_messages.audio(turn, samples[start : start + LARGEST_AUDIO]))

    async def _end_abandoned(self) -> None:
        """The service has one turn at a time."""
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await self._line.send(azure_messages.audio(self._leaving))
                await self._until(lambda: not self._leaving)
                self._raise_lost()
        except TimeoutError:
            self._leaving = ""
            self._line.renew()

    # -- what is heard -----------------------------------------------------------------------------------

    def _take(self, message: bytes) -> None:
        told = azure_messages.parse(message)
        if self._turn and told.turn == self._turn:
            self._take_of_turn(told.path, told.body)
        elif told.turn == self._leaving and told.path == "turn.end":
            self._leaving = ""

    def _take_of_turn(self, path: str, body: bytes) -> None:
        match path:
            case "speech.hypothesis" | "speech.fragment":
                self._hypothesis = _hypothesis.decode(body).text
                self._on_interim(self._text())
            case "speech.phrase":
                self._take_phrase(_phrase.decode(body))
            case "turn.end":
                self._turn = ""

    def _take_phrase(self, phrase: _Phrase) -> None:
        status = phrase.recognition_status
        covered = (phrase.offset + phrase.duration) * self._turn_rate // TICKS * 2
        if 0 < covered <= self._covered and status == "Success":
            return  # told twice
        if status == "Success":
            self._phrases.append(phrase)
        elif status not in _UNHEARD:
            kind, why = _FAILED.get(status, (ErrorKind.SERVER, "Azure Speech has an error of its own"))
            self._end(ProviderError(kind, f"{why} ({status})"))
        self._hypothesis = ""
        del self._tail[: max(0, covered - self._covered)]
        self._covered = max(self._covered, covered)
        self._on_interim(self._text())

    def _text(self) -> str:
        return " ".join(text for text in (*(one.best.display for one in self._phrases), self._hypothesis) if text)

    def _transcript(self) -> Transcript:
        if not self._phrases:
            return Transcript("")
        sure = [one.best.confidence for one in self._phrases if one.best.confidence is not None]
        told = self._phrases[0].primary_language
        language = told.language if told else self._by.options.language
        return Transcript(self._text(), language, min(sure, default=None))
