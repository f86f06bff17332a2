"""OpenAI: live recognition by a transcription session of the Realtime API, one WebSocket a call.

The worker says where an utterance ends, so the server's own turn detection is off and each utterance is committed.
"""

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Self

import aiohttp
import msgspec
from pydantic import Field, model_validator

from connectors_app.base.connector import Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.failures import cut, decoded, from_code
from connectors_app.http_api import HttpConnector
from connectors_app.lasting import LastingLine
from connectors_app.line import Socket
from connectors_app.live_recognition import SocketRecognition
from connectors_app.openai_api import MODELS, likelihood
from connectors_app.resampling import Resampler

RATE = 24_000
"""The only one that the API takes for plain samples."""
SHORTEST_SECONDS = 0.1
"""Less than this cannot be committed."""
LIFETIME_SECONDS = 50 * 60.0
"""The server ends a session after sixty minutes."""
COMMIT = '{"type":"input_audio_buffer.commit"}'
CLEAR = '{"type":"input_audio_buffer.clear"}'
UNINTELLIGIBLE = "audio_unintelligible"
_ISO_639 = r"^[a-z]{2,3}$"
_HINTED = ("gpt-transcribe", "gpt-live-transcribe")
_TUNED = ("gpt-realtime-whisper", "gpt-live-transcribe")
_OLDER = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15")
_NOT_FOR: Mapping[str, tuple[str, ...]] = {
    "prompt": ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize"),
    "keywords": (*_OLDER, "gpt-realtime-whisper", "gpt-4o-transcribe-diarize"),
    "languages": (*_OLDER, "gpt-realtime-whisper", "gpt-4o-transcribe-diarize"),
    "delay": (*_OLDER, "gpt-transcribe", "gpt-4o-transcribe-diarize"),
    "logprobs": ("whisper-1",),
}
"""By option: the models that do not take it."""


class OpenAIRealtimeOptions(Options):
    model: str = Field(
        "gpt-live-transcribe",
        min_length=1,
        description="Such as gpt-live-transcribe, gpt-4o-transcribe, gpt-4o-mini-transcribe or whisper-1; the first "
        "writes while the caller speaks, the others after that",
    )
    language: str | None = Field(None, pattern=_ISO_639, description="What callers speak, in two letters: en")
    languages: tuple[str, ...] = Field(
        (), max_length=20, description="What callers may speak, for gpt-live-transcribe and gpt-transcribe"
    )
    prompt: str | None = Field(
        None, max_length=4000, description="What calls are about; for whisper-1 a list of likely words"
    )
    keywords: tuple[str, ...] = Field(
        (), max_length=100, description="Names and words that are likely, for gpt-live-transcribe and gpt-transcribe"
    )
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="How long models that write meanwhile wait: longer is more exact"
    )
    noise_reduction: Literal["near_field", "far_field"] | None = Field(
        None, description="Near field for telephones and headsets, far field for a microphone in the room"
    )
    logprobs: bool = Field(False, description="Ask how sure the model is; not with whisper-1")

    @model_validator(mode="after")
    def _the_model_takes_them(self) -> Self:
        for option, models in _NOT_FOR.items():
            if getattr(self, option) and self.model in models:
                raise ValueError(f"{self.model} does not take `{option}`")
        if self.language and self.languages:
            raise ValueError("give `language` or `languages`, not both")
        return self

    def session(self) -> dict[str, Any]:
        names = ("model", "language", "languages", "prompt", "keywords", "delay")
        heard = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": {name: value for name in names if (value := getattr(self, name))},
            "noise_reduction": {"type": self.noise_reduction} if self.noise_reduction else None,
            "turn_detection": None,
        }
        include = {"include": ["item.input_audio_transcription.logprobs"]} if self.logprobs else {}
        return {"type": "transcription", "audio": {"input": heard}, **include}


class OpenAIRealtime(HttpConnector, Recognizer):
    slug = "openai_realtime"
    credential_slug = "openai"
    label = "OpenAI realtime"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = "https://api.openai.com/v1"
    Options = OpenAIRealtimeOptions
    options: OpenAIRealtimeOptions

    async def check(self) -> None:
        await self.found("/models", MODELS)

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _LiveRecognition(self, rate, on_interim)

    async def connect(self) -> Socket:
        """A socket whose session is as the options want it."""
        socket = await self.open_socket("/realtime?intent=transcription")
        is_ready = False
        try:
            await self._configure(socket)
            is_ready = True
        finally:
            if not is_ready:
                await socket.close()
        return socket

    async def _configure(self, socket: Socket) -> None:
        """The server repeats the session when it has it, or says what is wrong with it."""
        update = {"type": "session.update", "session": self.options.session()}
        await socket.send_str(msgspec.json.encode(update).decode())
        while True:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise cut(self)
            event = decoded(self, _event, message.data)
            if event.type == "session.updated":
                return
            if event.type == "error":
                raise self.told(event.error)

    def told(self, error: "_Error | None") -> ProviderError:
        """What an event refuses. Its code says more than its type; where that says nothing, the type does."""
        error = error or _Error()
        told = from_code(self, error.code or error.type or "")
        is_request = error.type == "invalid_request_error" and error.code != "session_expired"
        return from_code(self, "invalid_request_error") if is_request and told.kind is ErrorKind.SERVER else told

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.credentials.api_key}"}


class _Error(msgspec.Struct):
    type: str | None = None
    code: str | None = None


class _Sureness(msgspec.Struct):
    logprob: float


class _Language(msgspec.Struct):
    code: str


class _Event(msgspec.Struct):
    """What the server says; of items only their transcriptions matter."""

    type: str
    item_id: str = ""
    delta: str | None = None
    transcript: str | None = None
    error: _Error | None = None
    logprobs: list[_Sureness] | None = None
    languages: list[_Language] | None = None


_event = msgspec.json.Decoder(_Event)


class _LiveRecognition(SocketRecognition):
    """Utterances are told apart by the items that their audio becomes: the server names one for each commit, in order.

    What it says of an item before that is of the utterance at hand, unless an earlier one is still to be named.
    """

    _by: OpenAIRealtime
    _line: LastingLine

    def __init__(self, by: OpenAIRealtime, rate: int, on_interim: Callable[[str], None]) -> None:
        super().__init__(by, on_interim, partial(LastingLine, by, by.connect, lifetime=LIFETIME_SECONDS))
        self._rate = rate
        self._utterance = 0
        self._unanswered: deque[int] = deque()
        """The utterances whose commit or clear the server has not acknowledged."""
        self._past: deque[str] = deque(maxlen=64)
        """Items of earlier utterances."""
        self._held = 0
        """Bytes in the server's buffer."""
        self._item = ""
        self._reset()

    async def begin(self) -> None:
        self._reset()
        self._busy = True
        if self._held:
            await self._clear()

    async def send(self, pcm: bytes) -> None:
        await self._append(self._resampler.feed(pcm))

    async def finish(self) -> Transcript:
        await self._append(self._resampler.end())
        if self._sent < SHORTEST_SECONDS * RATE * 2:
            if self._held:
                await self._clear()
            self._busy = False
            return Transcript("")
        self._unanswered.append(self._utterance)
        self._held = 0
        await self._line.send(COMMIT)
        await self._until(lambda: self._transcript is not None)
        self._busy = False
        self._line.rest()
        assert self._transcript
        return self._transcript

    def _reset(self) -> None:
        self._error = None
        self._transcript: Transcript | None = None
        self._resampler = Resampler(self._rate, RATE)
        self._utterance += 1
        self._sent = 0
        self._said = ""
        if self._item:
            self._past.append(self._item)
        self._item = ""

    def _restart(self) -> None:
        """A new socket has no audio and owes no answer. What the old one lost stays lost until the next utterance."""
        self._unanswered.clear()
        self._held = 0

    async def _append(self, pcm: bytes) -> None:
        self._raise_lost()
        if pcm:
            await self._line.send(f'{{"type":"input_audio_buffer.append","audio":"{b64encode(pcm).decode()}"}}')
            self._held += len(pcm)
            self._sent += len(pcm)

    async def _clear(self) -> None:
        """An abandoned utterance's audio is none of the next one's."""
        self._unanswered.append(self._utterance - 1)
        self._held = 0
        await self._line.send(CLEAR)

    # -- what the server says ----------------------------------------------------------------------------

    def _take(self, message: bytes) -> None:
        event = _event.decode(message)
        match event.type.removeprefix("conversation.item.input_audio_transcription."):
            case "input_audio_buffer.committed" | "input_audio_buffer.cleared":
                self._acknowledge(event.item_id)
            case "delta" | "completed" | "failed" if self._is_ours(event.item_id):
                self._advance(event)
            case "error":
                self._end(self._by.told(event.error))

    def _acknowledge(self, item: str) -> None:
        utterance = self._unanswered.popleft() if self._unanswered else self._utterance
        if not item:
            return
        if utterance == self._utterance and self._busy:
            self._item = item
            self._on_interim(self._said.strip())
        else:
            self._past.append(item)

    def _is_ours(self, item: str) -> bool:
        if self._item or not self._busy or item in self._past:
            return self._busy and item == self._item
        if any(utterance != self._utterance for utterance in self._unanswered):
            self._past.append(item)
            return False
        self._item = item
        return True

    def _advance(self, event: _Event) -> None:
        if event.error:
            self._fail(event.error)
        elif event.transcript is not None:
            language = event.languages[0].code if event.languages else ""
            sure = likelihood([one.logprob for one in event.logprobs or ()])
            self._transcript = Transcript(event.transcript.strip(), language, sure)
        else:
            self._said += event.delta or ""
            self._on_interim(self._said.strip())

    def _fail(self, error: _Error) -> None:
        if error.code == UNINTELLIGIBLE:
            self._transcript = Transcript("")
        else:
            self._end(self._by.told(error))
