"""ElevenLabs Scribe: live recognition over one WebSocket a session, where we commit what is a whole utterance.

Nothing in the protocol says to which commit a transcript belongs: they come in order, one for each. So commits are
counted, also those of abandoned utterances, and there is always one before the server makes its own, after more than
half a minute. That it tells something while it understands nothing is not promised.
"""

import base64
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any, Self

import msgspec
from pydantic import Field, StringConstraints, model_validator

from connectors_app.base.connector import Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.clients import query_of
from connectors_app.elevenlabs_api import ElevenLabsConnector
from connectors_app.failures import cut, decoded, finding, from_code, told_by_http
from connectors_app.line import Socket
from connectors_app.live_recognition import LiveRecognition

RATES = (8000, 16000, 22050, 24000, 44100, 48000)
LEAST_SECONDS = 0.35
"""A commit of less than 0.3 seconds ends the socket; silence fills it up."""
KEEPALIVE_SECONDS = 5.0
"""The server ends a socket after some fifteen seconds without audio. There is no other message to keep it."""
KEEPALIVE_AUDIO_SECONDS = 0.02
PART_SECONDS, LONGEST_PART_SECONDS = 20.0, 28.0
"""A long utterance is committed in parts: at the first quiet moment after so long, and in any case before that."""
QUIET = 500
"""No sample of a quiet moment is above it."""
ERRORS = {
    "error",
    "auth_error",
    "quota_exceeded",
    "commit_throttled",
    "unaccepted_terms",
    "rate_limited",
    "queue_overflow",
    "resource_exhausted",
    "session_time_limit_exceeded",
    "input_error",
    "invalid_request",
    "chunk_size_exceeded",
    "insufficient_audio_activity",
    "transcriber_error",
}
"""After each of them the server ends the socket."""
MODELS = ["scribe_v2_realtime", "scribe_v3_live"]
"""Suggestions only: any name is sent as it is."""
LANGUAGE = r"^[a-z]{2,3}$"

Keyterm = Annotated[str, StringConstraints(min_length=1, max_length=20)]
Language = Annotated[str, StringConstraints(pattern=LANGUAGE)]


class ScribeOptions(Options):
    model: str = Field("scribe_v2_realtime", min_length=1, description="Name of the model", examples=MODELS)
    language_code: str | None = Field(None, pattern=LANGUAGE, description="Language code, such as “en”; else detected")
    secondary_languages: tuple[Language, ...] = Field(
        (), max_length=10, description="Codes of other languages that callers may speak; needs the language code"
    )
    keyterms: tuple[Keyterm, ...] = Field(
        (), max_length=50, description="Names and words that are likely to come up, up to 20 characters each"
    )
    no_verbatim: bool = Field(False, description="Leave out filler words and false starts")
    filter_background_audio: bool = Field(False, description="Ignore noise and people talking nearby")
    previous_text: str = Field("", max_length=50, description="What the call is about, as context for the first words")
    enable_logging: bool = Field(True, description="Off keeps nothing at ElevenLabs; for enterprise customers only")

    @model_validator(mode="after")
    def _name_first_language(self) -> Self:
        if self.secondary_languages and not self.language_code:
            raise ValueError("secondary_languages needs language_code")
        return self

    def query(self, rate: int) -> str:
        values = self.model_dump(exclude={"model", "previous_text"})
        told = {name: value for name, value in values.items() if value != type(self).model_fields[name].default}
        session = {"model_id": self.model, "audio_format": f"pcm_{rate}", "commit_strategy": "manual"}
        return query_of(session | told)


class ElevenLabsScribe(ElevenLabsConnector, Recognizer):
    Options = ScribeOptions
    options: ScribeOptions

    async def check(self) -> None:
        """A session costs nothing without audio, and begins for a key that may transcribe with this model."""
        with finding(self), told_by_http(self):
            socket = await self.dial(RATES[0])
            try:
                begun = await self._first_of(socket)
            finally:
                await socket.close()
        if begun != "session_started":
            raise from_code(self, begun)

    async def _first_of(self, socket: Socket) -> str:
        """What the first message is that is no warning."""
        while True:
            message = await socket.receive(timeout=5)
            if not isinstance(message.data, bytes):
                raise cut(self)
            told = decoded(self, _told, message.data)
            if told.message_type != "warning":
                return told.message_type

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        if rate not in RATES:
            raise ProviderError(ErrorKind.REQUEST, f"ElevenLabs hears no audio of {rate} Hz")
        return _Scribing(self, rate, on_interim)

    async def dial(self, rate: int) -> Socket:
        return await self.open_socket(f"/v1/speech-to-text/realtime?{self.options.query(rate)}")


class _Told(msgspec.Struct):
    message_type: str = ""
    text: str = ""
    error: str = ""
    warning: str = ""
    """May come without a type."""

    def __post_init__(self) -> None:
        if not (self.message_type or self.warning):
            raise ValueError("there is no message_type")
        self.message_type = self.message_type or "warning"

    @property
    def is_error(self) -> bool:
        return self.message_type in ERRORS or bool(self.error)


_told = msgspec.json.Decoder(_Told)


class _Scribing(LiveRecognition):
    """`_commits` are those whose transcripts are still to come, by the number of their utterance."""

    def __init__(self, by: ElevenLabsScribe, rate: int, on_interim: Callable[[str], None]) -> None:
        self._options = by.options
        self._utterance = self._speaking = 0
        self._commits: deque[int] = deque()
        self._uncommitted = self._silence = 0
        self._context = ""
        self._last = ""
        """The text of the last commit, which may come once more as if it were new."""
        super().__init__(
            by,
            rate,
            on_interim,
            lambda: by.dial(rate),
            keepalive=self._silence_when_idle,
            keepalive_seconds=KEEPALIVE_SECONDS,
        )

    def _silence_when_idle(self) -> str:
        """Within an utterance it would tear a word apart, and is not needed."""
        if self._busy:
            return ""
        samples = round(KEEPALIVE_AUDIO_SECONDS * self._rate)
        self._silence += samples
        return self._chunk(bytes(2 * samples))

    async def begin(self) -> None:
        self._utterance += 1
        await super().begin()

    def _reset(self) -> None:
        super()._reset()
        self._parts: list[str] = []
        self._interim = ""

    def _restart(self) -> None:
        super()._restart()
        self._commits.clear()
        self._uncommitted = self._silence = 0
        self._last = ""
        self._context = self._options.previous_text

    async def _put(self, pcm: bytes) -> None:
        await self._line.ready()
        await self._line.send(self._chunk(pcm))
        self._speaking = self._utterance
        self._uncommitted += len(pcm) // 2
        uncommitted = self._seconds(self._uncommitted + self._silence)
        if uncommitted >= LONGEST_PART_SECONDS or (uncommitted >= PART_SECONDS and _is_quiet(pcm)):
            await self._commit()

    async def _ask_for_end(self) -> None:
        if self._uncommitted:
            await self._commit()

    async def _commit(self) -> None:
        missing = round(LEAST_SECONDS * self._rate) - self._uncommitted
        self._uncommitted = self._silence = 0
        self._commits.append(self._speaking)
        await self._line.send(self._chunk(bytes(2 * max(0, missing)), commit=True))

    def _chunk(self, pcm: bytes, *, commit: bool = False) -> str:
        """The first one of a socket has the context, also when it is silence: later it would be refused."""
        context, self._context = self._context, ""
        message: dict[str, Any] = {
            "message_type": "input_audio_chunk",
            "audio_base_64": base64.b64encode(pcm).decode(),
            "commit": commit,
            "sample_rate": self._rate,
        }
        if context:
            message["previous_text"] = context
        return msgspec.json.encode(message).decode()

    def _is_complete(self) -> bool:
        return not self._commits

    def _transcript(self) -> Transcript:
        text = " ".join(part for part in self._parts if part)
        return Transcript(text, self._options.language_code or "" if text else "")

    def _take(self, message: bytes) -> None:
        told = _told.decode(message)
        match told.message_type:
            case "partial_transcript":
                self._take_partial(told.text.strip())
            case "committed_transcript":
                self._take_committed(told.text.strip())
            case other if told.is_error:
                self._end(from_code(self._by, other))

    def _take_partial(self, text: str) -> None:
        if not self._busy or (self._commits and self._commits[0] != self._utterance):
            return  # of an earlier utterance, which was abandoned
        if text != self._last:
            self._last = ""
            self._interim = text
        self._tell()

    def _take_committed(self, text: str) -> None:
        if not self._commits:
            return  # told twice, or committed by the server itself
        utterance = self._commits.popleft()
        self._last = text
        if self._busy and utterance == self._utterance:
            self._parts.append(text)
            self._interim = ""
            self._tell()

    def _tell(self) -> None:
        self._on_interim(" ".join(part for part in (*self._parts, self._interim) if part))


def _is_quiet(pcm: bytes) -> bool:
    samples = memoryview(pcm[: len(pcm) // 2 * 2]).cast("h")
    return max(map(abs, samples), default=0) < QUIET
