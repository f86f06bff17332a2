"""The OpenAI HTTP API: its client, speech and transcriptions, for OpenAI and every endpoint that speaks the same."""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
from pydantic import Field

from connectors_app.base.connector import Connector, Credentials, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.base.voice import Speech, Voice
from connectors_app.clients import Shared, sdk_http
from connectors_app.failures import decoded, expect_samples, finding, garbage, told_by_sdk
from connectors_app.samples import as_wav, whole_samples
from connectors_app.voice_names import no_such_voice

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LANGUAGE = r"^(auto|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)$"
SHORTEST_SECONDS = 0.1
"""OpenAI refuses audio that is shorter than this."""


def _make(credentials: Credentials) -> "AsyncOpenAI":
    import openai

    client = openai.AsyncOpenAI(
        api_key=credentials.api_key or "none",
        base_url=credentials.base_url,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(**sdk_http(credentials)),
    )
    # The SDK imports these when they are first used, which must not be in a turn.
    assert client.chat.completions and client.audio.speech and client.audio.transcriptions and client.models
    return client


async def _open(credentials: Credentials) -> "AsyncOpenAI":
    return await asyncio.to_thread(_make, credentials)


async def _close(client: "AsyncOpenAI") -> None:
    await client.close()


CLIENTS: Shared["AsyncOpenAI"] = Shared(_open, _close)


class _Models(msgspec.Struct):
    data: list[msgspec.Raw]


MODELS = msgspec.json.Decoder(_Models | list[msgspec.Raw])
"""Some endpoints that speak the same leave the frame away."""


class OpenAIConnector(Connector):
    """What the roles share: the client of the credential."""

    def headers(self) -> dict[str, str]:
        """What every request has besides the usual."""
        return {}

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await CLIENTS.take(self)
        import openai

        with finding(self), told_by_sdk(self, openai):
            response = await client.models.with_raw_response.list(extra_headers=self.headers())
        decoded(self, MODELS, response.content)

    async def close(self) -> None:
        await CLIENTS.leave(self)


# -- text to speech --------------------------------------------------------------------------------------


class SpeechOptions(Options):
    model: str = Field("gpt-4o-mini-tts", min_length=1, description="Name of the model")
    voice: str = Field("alloy", min_length=1, description="Name of the voice")
    speed: float | None = Field(None, ge=0.25, le=4, description="1 is the usual speed")
    instructions: str | None = Field(None, max_length=4096, description="How to speak; not for tts-1")

    def request(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class SpeechModel(OpenAIConnector, Voice):
    Options: ClassVar[type[SpeechOptions]] = SpeechOptions
    options: SpeechOptions
    known_voices: ClassVar[tuple[str, ...]] = ()
    """There is no list to ask for: so a name that is not among these is sent, and doubted when it is refused."""

    def own_rate(self) -> int:
        """Raw samples have this rate, whatever is asked for."""
        return 24_000

    def open(self, rate: int) -> Speech:
        return _HttpSpeech(self)

    @contextmanager
    def doubting_its_name(self) -> Iterator[None]:
        try:
            yield
        except ProviderError as error:
            doubted = error.status in (400, 404) and self.known_voices and self.options.voice not in self.known_voices
            raise no_such_voice(self, self.options.voice, self.known_voices) if doubted else error from None


class _HttpSpeech(Speech):
    def __init__(self, model: SpeechModel) -> None:
        self._model = model
        self.rate = model.own_rate()

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        client = await CLIENTS.take(self._model)
        import openai

        asked = {"input": text, "response_format": "pcm", "extra_headers": self._model.headers()}
        request: Any = {**self._model.options.request(), **asked}
        empty = True
        with self._model.doubting_its_name(), told_by_sdk(self._model, openai):
            async with client.audio.speech.with_streaming_response.create(**request) as response:
                expect_samples(self._model, response.headers)
                rest = b""
                async for piece in response.iter_bytes():
                    piece, rest = whole_samples(rest + piece)
                    if piece:
                        empty = False
                        yield piece
        if empty:
            raise ProviderError(ErrorKind.EMPTY, f"{self._model.label} sent no audio")


# -- speech to text --------------------------------------------------------------------------------------


Shape = Literal["json", "verbose_json", "text"]
PLAIN: Mapping[str, Any] = {"response_format": "json"}
WITH_SEGMENTS: Mapping[str, Any] = {"response_format": "verbose_json"}
WITH_LOGPROBS: Mapping[str, Any] = {**PLAIN, "include": ["logprobs"]}
_HAS_LOGPROBS = re.compile(r"gpt-4o(-mini)?-transcribe(-\d{4}-\d\d-\d\d)?")


class TranscriptionOptions(Options):
    model: str = Field("whisper-1", min_length=1, description="Name of the model")
    language: str = Field("auto", pattern=LANGUAGE, description="Language code such as “en”, or “auto”")
    response_format: Shape | None = Field(
        None, description="Shape of the answer; else the one in which the model tells how sure it is, if it has one"
    )
    temperature: float = Field(0, ge=0, le=1, description="0 is the most certain")
    prompt: str | None = Field(None, max_length=1000, description="Names and words that are likely to come up")

    def request(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"language"} if self.language == "auto" else None)

    def fullest(self) -> Mapping[str, Any]:
        """How the model is asked to tell how sure it is, where nobody chose a shape; the newest tell nothing of it."""
        if _HAS_LOGPROBS.fullmatch(self.model):
            return WITH_LOGPROBS
        return WITH_SEGMENTS if "whisper" in self.model.lower() else PLAIN


class _Token(msgspec.Struct):
    logprob: float | None = None


class _Segment(msgspec.Struct):
    """Of a Whisper, where it is asked for `verbose_json`."""

    no_speech_prob: float | None = None
    avg_logprob: float | None = None

    @property
    def sureness(self) -> float:
        """At most a half below the average of -1, where Whisper itself takes its words for failed."""
        return min(1 - (self.no_speech_prob or 0.0), 2 ** min(0.0, self.avg_logprob or 0.0))


class _Language(msgspec.Struct):
    code: str = ""


class _Transcription(msgspec.Struct):
    text: str
    language: str | None = None
    languages: list[_Language] | None = None
    segments: list[_Segment] | None = None
    logprobs: list[_Token] | None = None

    @property
    def main_language(self) -> str:
        """The newest models tell all that they heard."""
        return self.language or (self.languages[0].code if self.languages else "")

    @property
    def confidence(self) -> float | None:
        if self.segments:
            return sum(segment.sureness for segment in self.segments) / len(self.segments)
        return likelihood([token.logprob or 0.0 for token in self.logprobs or ()])


def likelihood(logprobs: Sequence[float]) -> float | None:
    """The tokens' geometric mean."""
    return math.exp(min(0.0, sum(logprobs) / len(logprobs))) if logprobs else None


_transcription = msgspec.json.Decoder(_Transcription)


class TranscriptionModel(OpenAIConnector, Recognizer):
    """Batch recognition: the utterance is sent as one WAV file when it is over."""

    Options: ClassVar[type[TranscriptionOptions]] = TranscriptionOptions
    options: TranscriptionOptions
    _is_plain = False
    """The server refused to tell more than the text, which nobody had chosen."""

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _BatchRecognition(self, rate)

    async def transcribe(self, pcm: bytes, rate: int) -> Transcript:
        """A chosen shape is asked for as it is; else the fullest, or a plain one of a server that refuses that."""
        wav = as_wav(pcm, rate)
        if self.options.response_format:
            return await self._ask(wav, {})
        fullest = PLAIN if self._is_plain else self.options.fullest()
        try:
            return await self._ask(wav, fullest)
        except ProviderError as error:
            if error.status not in (400, 422) or fullest is PLAIN:
                raise
        transcript = await self._ask(wav, PLAIN)
        self._is_plain = True
        return transcript

    async def _ask(self, wav: bytes, shape: Mapping[str, Any]) -> Transcript:
        client = await CLIENTS.take(self)
        import openai

        upload = ("utterance.wav", wav, "audio/wav")
        request: Any = {**self.options.request(), **shape, "file": upload, "extra_headers": self.headers()}
        with told_by_sdk(self, openai):
            response = await client.audio.transcriptions.with_raw_response.create(**request)
        return self._read(response.content)

    def _read(self, body: bytes) -> Transcript:
        if self.options.response_format == "text":
            return Transcript(body.decode(errors="replace").strip())
        try:
            answer = _transcription.decode(body)
        except msgspec.MsgspecError:
            raise garbage(self) from None
        return Transcript(answer.text.strip(), answer.main_language, answer.confidence)


@dataclass(slots=True)
class _BatchRecognition(Recognition):
    model: TranscriptionModel
    rate: int
    audio: list[bytes] = field(default_factory=list)

    async def begin(self) -> None:
        self.audio.clear()

    async def send(self, pcm: bytes) -> None:
        self.audio.append(pcm)

    async def finish(self) -> Transcript:
        pcm = b"".join(self.audio)
        if len(pcm) < SHORTEST_SECONDS * self.rate * 2:
            return Transcript("")
        return await self.model.transcribe(pcm, self.rate)
