"""Azure Speech: text to speech by its REST API, one request a sentence, streamed as it is spoken."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Literal, Self
from xml.sax.saxutils import escape, quoteattr

import msgspec
from pydantic import Field, model_validator

from connectors_app.azure_api import AzureConnector
from connectors_app.base.connector import Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Voice
from connectors_app.failures import expect_samples, finding
from connectors_app.samples import whole_samples
from connectors_app.voice_names import no_such_voice

FORMATS = {
    8000: "raw-8khz-16bit-mono-pcm",
    16000: "raw-16khz-16bit-mono-pcm",
    22050: "raw-22050hz-16bit-mono-pcm",
    24000: "raw-24khz-16bit-mono-pcm",
    44100: "raw-44100hz-16bit-mono-pcm",
    48000: "raw-48khz-16bit-mono-pcm",
}
FULL_NAME = re.compile(r"[A-Za-z]{2,3}-[\w:-]+")
_LOCALE = r"^[a-z]{2,3}(-[A-Za-z]{4})?(-([A-Z]{2}|[0-9]{3}))?$"


class AzureOptions(Options):
    """Named as SSML names them."""

    voice: str = Field(
        "en-US-JennyNeural",
        pattern=r"^[\w][\w :()-]*$",
        max_length=100,
        description="Full name of the voice, such as en-US-JennyNeural, or its short one, such as Jenny",
    )
    rate: float | None = Field(None, ge=0.5, le=2, description="How fast; 1 is the usual speed")
    pitch: int | None = Field(None, ge=-50, le=50, description="Per cent higher or lower than usual")
    volume: float | None = Field(None, ge=0, le=100, description="0 is silent, 100 the usual volume")
    style: str | None = Field(None, pattern=r"^[A-Za-z_-]+$", description="Speaking style, for voices that have some")
    styledegree: float | None = Field(None, ge=0.01, le=2, description="How much of the style; 1 is the usual degree")
    role: str | None = Field(
        None, pattern=r"^[A-Za-z]+$", description="Whom it plays, for voices that can: OlderAdultMale"
    )
    language: str | None = Field(
        None, pattern=_LOCALE, description="Locale to speak in, for multilingual voices: de-DE"
    )
    lexicon: str | None = Field(None, pattern=r"^https://\S+$", description="Address of a lexicon of pronunciations")
    effect: Literal["eq_car", "eq_telecomhp8k"] | None = Field(
        None, description="Made for cars, or for telephones (8 kHz)"
    )

    @model_validator(mode="after")
    def _has_a_style(self) -> Self:
        if self.styledegree is not None and not self.style:
            raise ValueError("styledegree says how much of a style: it needs `style` too")
        return self

    def ssml(self, text: str, voice: str) -> str:
        """`voice` is the full name."""
        said = escape("".join(char for char in text if char.isprintable() or char.isspace()))
        said = _element("prosody", said, rate=_plain(self.rate), pitch=_signed(self.pitch), volume=_plain(self.volume))
        style = {"style": self.style, "styledegree": _plain(self.styledegree), "role": self.role}
        said = _element("mstts:express-as", said, **style)
        said = _element("lang", said, **{"xml:lang": self.language})
        if self.lexicon:
            said = f"<lexicon uri={quoteattr(self.lexicon)}/>{said}"
        return (
            '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            f'xmlns:mstts="https://www.w3.org/2001/mstts" xml:lang={quoteattr(_locale(voice))}>'
            f"{_element('voice', said, name=voice, effect=self.effect)}</speak>"
        )


def _element(tag: str, inside: str, **attributes: str | None) -> str:
    """Only where it says something."""
    given = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items() if value)
    return f"<{tag}{given}>{inside}</{tag}>" if given else inside


def _plain(number: float | None) -> str | None:
    return None if number is None else f"{number:g}"


def _signed(per_cent: int | None) -> str | None:
    return None if per_cent is None else f"{per_cent:+d}%"


def _locale(voice: str) -> str:
    return "-".join(voice.split("-")[:2])


class _KnownVoice(msgspec.Struct, rename="pascal"):
    short_name: str
    display_name: str = ""
    local_name: str = ""
    locale: str = ""

    def goes_by(self, wanted: str) -> bool:
        return wanted in {name.casefold() for name in (self.short_name, self.display_name, self.local_name)}


_voices = msgspec.json.Decoder(list[_KnownVoice])


class AzureVoice(AzureConnector, Voice):
    service = "tts"
    Options = AzureOptions
    options: AzureOptions
    _full_name = ""

    @property
    def model(self) -> str:
        return self.options.voice

    async def warm(self) -> None:
        self._full_name = self._pick(await self._list_voices())

    async def check(self) -> None:
        with finding(self):
            await self._list_voices()

    async def full_name(self) -> str:
        """Of the voice that the options name; a full name needs no look into the list."""
        if not self._full_name:
            wanted = self.options.voice
            self._full_name = wanted if FULL_NAME.fullmatch(wanted) else self._pick(await self._list_voices())
        return self._full_name

    def _pick(self, known: Sequence[_KnownVoice]) -> str:
        """A short name is one of several languages' at times: English before others."""
        wanted = self.options.voice.casefold()
        found = [voice for voice in known if voice.goes_by(wanted)]
        if not found:
            raise no_such_voice(self, self.options.voice, (voice.short_name for voice in known))
        return min(found, key=lambda voice: (voice.locale != "en-US", not voice.locale.startswith("en-"))).short_name

    async def _list_voices(self) -> Sequence[_KnownVoice]:
        return await self.asked("GET", "/cognitiveservices/voices/list", _voices)

    def open(self, rate: int) -> Speech:
        return _HttpSpeech(self, min((r for r in FORMATS if r >= rate), default=max(FORMATS)))

    async def stream(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        ssml = self.options.ssml(text, await self.full_name())
        headers = {"Content-Type": "application/ssml+xml", "X-Microsoft-OutputFormat": FORMATS[rate]}
        async with self.asking("POST", "/cognitiveservices/v1", data=ssml.encode(), headers=headers) as response:
            expect_samples(self, response.headers)
            async for piece in response.content.iter_any():
                yield piece


class _HttpSpeech(Speech):
    def __init__(self, by: AzureVoice, rate: int) -> None:
        self._by = by
        self.rate = rate

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        rest = b""
        empty = True
        async with aclosing(self._by.stream(text, self.rate)) as pieces:
            async for piece in pieces:
                piece, rest = whole_samples(rest + piece)
                if piece:
                    empty = False
                    yield piece
        if empty:
            raise ProviderError(ErrorKind.EMPTY, "Azure Speech sent no audio")
