"""What all of ElevenLabs' APIs share, and what its voices take and tell: audio with the times of its characters."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from pydantic import Field, model_validator

from connectors_app import sse
from connectors_app.base.connector import Options
from connectors_app.base.voice import Spoken
from connectors_app.http_api import HttpConnector
from connectors_app.samples import whole_samples
from connectors_app.word_ends import WordEnds

INACTIVITY_SECONDS = 180
"""The longest that the server allows."""
VOICE_SETTINGS = {"stability", "similarity_boost", "style", "use_speaker_boost", "speed"}
WITHOUT_SOCKET = ("eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo")
"""They speak on sockets of another protocol, which is made for dialogues."""


class ElevenLabsConnector(HttpConnector):
    slug = "elevenlabs"
    label = "ElevenLabs"
    key_setting = "ELEVENLABS_API_KEY"
    base_url_setting = "ELEVENLABS_BASE_URL"
    default_base_url = "https://api.elevenlabs.io"

    def headers(self) -> Mapping[str, str]:
        return {"xi-api-key": self.credentials.api_key}


class ElevenLabsOptions(Options):
    model: str = Field(
        "eleven_multilingual_v2",
        min_length=1,
        description="Name of the model; eleven_flash_v2_5 is the fastest, eleven_v3 and later need the transport http",
    )
    voice: str = Field("Rachel", min_length=1, description="Name or id of the voice")
    transport: Literal["websocket", "http"] = Field(
        "websocket", description="One socket for a whole session, or a request for each sentence"
    )
    stability: float | None = Field(None, ge=0, le=1, description="Lower is livelier, higher is steadier")
    similarity_boost: float | None = Field(None, ge=0, le=1, description="How close to the original voice")
    style: float | None = Field(None, ge=0, le=1, description="How much of the voice's style; costs time")
    use_speaker_boost: bool | None = Field(None, description="Closer to the original speaker; costs time")
    speed: float | None = Field(None, ge=0.7, le=1.2, description="1 is the usual speed")
    language: str | None = Field(None, pattern=r"^[a-z]{2}$", description="Language code, for models that take one")
    seed: int | None = Field(None, ge=0, le=4_294_967_295, description="The same seed sounds alike each time")
    apply_text_normalization: Literal["auto", "on", "off"] | None = Field(
        None, description="Whether numbers and dates are written out first; “on” not for flash and turbo v2.5"
    )
    pronunciation_dictionary_locators: tuple[str, ...] = Field(
        (), max_length=3, description="Dictionaries, each as its id, a colon and its version's id"
    )
    enable_ssml_parsing: bool = Field(False, description="Read SSML tags in the text; only for the transport websocket")
    enable_logging: bool = Field(True, description="False: ElevenLabs keeps nothing of it, for enterprise accounts")
    sync_alignment: bool = Field(
        True, description="Ask where each word ends, so that another voice can go on in the middle of a sentence"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.model in WITHOUT_SOCKET and self.transport == "websocket":
            raise ValueError(f"{self.model} has no socket: set `transport` to http")
        if self.enable_ssml_parsing and self.transport == "http":
            raise ValueError("enable_ssml_parsing needs the transport websocket")
        for locator in self.pronunciation_dictionary_locators:
            if not all(locator.partition(":")):
                raise ValueError("pronunciation_dictionary_locators: each is an id, a colon and a version's id")
        return self

    def query(self, rate: int) -> str:
        """Of a socket."""
        values: dict[str, Any] = {"model_id": self.model, "output_format": f"pcm_{rate}", "auto_mode": True}
        values |= {"inactivity_timeout": INACTIVITY_SECONDS, "sync_alignment": self.sync_alignment}
        values |= {"enable_ssml_parsing": self.enable_ssml_parsing, "enable_logging": self.enable_logging}
        values |= self._generation()
        return urlencode({name: _written(value) for name, value in values.items()})

    def opening(self) -> dict[str, Any]:
        """What the first message of a context, or the body of a request, says of the voice."""
        settings = self.model_dump(exclude_none=True, include=VOICE_SETTINGS)
        locators = [locator.partition(":") for locator in self.pronunciation_dictionary_locators]
        dictionaries = [{"pronunciation_dictionary_id": one, "version_id": version} for one, _, version in locators]
        said = {"voice_settings": settings, "pronunciation_dictionary_locators": dictionaries}
        return {name: value for name, value in said.items() if value}

    def request(self, text: str) -> dict[str, Any]:
        """Of one sentence over HTTP."""
        return {"text": text, "model_id": self.model, **self.opening(), **self._generation()}

    def _generation(self) -> dict[str, Any]:
        said = {"language_code": self.language, "seed": self.seed}
        said |= {"apply_text_normalization": self.apply_text_normalization}
        return {name: value for name, value in said.items() if value is not None}


def _written(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


class KnownVoice(msgspec.Struct):
    voice_id: str
    name: str = ""


class Voices(msgspec.Struct):
    voices: list[KnownVoice]
    has_more: bool = False
    next_page_token: str | None = None


VOICES = msgspec.json.Decoder(Voices)
"""Raises MsgspecError."""


# -- audio and its words ---------------------------------------------------------------------------------


class Timed(msgspec.Struct):
    """Of HTTP: times are those of the whole answer."""

    characters: list[str] = []
    character_end_times_seconds: list[float] = []


class Piece(msgspec.Struct):
    """One line of an answer over HTTP."""

    audio_base64: bytes = b""
    alignment: Timed | None = None


class Alignment(msgspec.Struct):
    """Of the socket: times are those of the message's own audio."""

    chars: list[str] | None = None
    charStartTimesMs: list[float] | None = None  # noqa: N815
    charDurationsMs: list[float] | None = None  # noqa: N815

    def ends(self) -> list[float]:
        """Seconds."""
        both = zip(self.charStartTimesMs or (), self.charDurationsMs or (), strict=False)
        return [(start + duration) / 1000 for start, duration in both]


class Message(msgspec.Struct):
    """Of the socket."""

    audio: bytes | None = None
    alignment: Alignment | None = None
    isFinal: bool | None = None  # noqa: N815
    contextId: str | None = None  # noqa: N815
    error: str | None = None


read_piece = msgspec.json.Decoder(Piece).decode
read_message = msgspec.json.Decoder(Message).decode
"""Both raise MsgspecError."""


class Said:
    """What has come of one sentence: samples that are whole, and where its words end in them."""

    def __init__(self, text: str, rate: int) -> None:
        self._ends = WordEnds(text)
        self._rate = rate
        self._half = b""
        self.samples = 0

    def hear(self, audio: bytes) -> bytes:
        pcm, self._half = whole_samples(self._half + audio)
        self.samples += len(pcm) // 2
        return pcm

    def take_piece(self, piece: Piece) -> Iterator[bytes | Spoken]:
        if piece.alignment:
            yield from self._align(piece.alignment.characters, piece.alignment.character_end_times_seconds, 0)
        if pcm := self.hear(piece.audio_base64):
            yield pcm

    def take_message(self, message: Message) -> Iterator[bytes | Spoken]:
        if message.alignment:
            yield from self._align(message.alignment.chars or (), message.alignment.ends(), self.samples)
        if pcm := self.hear(message.audio or b""):
            yield pcm
        if message.isFinal:
            yield from self.end()

    def end(self) -> list[Spoken]:
        return self._ends.end(self.samples, self._rate)

    @property
    def is_cut(self) -> bool:
        return self._ends.is_cut(self.samples, self._rate)

    def _align(self, characters: Sequence[str], seconds: Sequence[float], since: int) -> list[Spoken]:
        return self._ends.feed(characters, [since + round(second * self._rate) for second in seconds])


async def lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """However long they are: aiohttp's own lines have a limit that a second of audio is over."""
    async with aclosing(sse.lines(_ended(content.iter_any()))) as found:
        async for line in found:
            if line.strip():
                yield line


async def _ended(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The last line needs no end."""
    async for piece in pieces:
        yield piece
    yield b"\n"
