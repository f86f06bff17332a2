"""ElevenLabs: speech over one multi-context WebSocket a session; each sentence is a context.

The SDK has no asynchronous client for this socket. A context is closed when its first audio has come: closed earlier,
the server sometimes drops its text without a word; never closed, it sends no `isFinal`.
"""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field

from connectors_app.base import ErrorKind, Options, ProviderError, Speech, Voice
from connectors_app.clients import HTTP, socket_url
from connectors_app.failures import cut, expect_ok, from_code, garbage, told_by_http
from connectors_app.line import Line, Socket, dial

RATES = (8000, 16000, 22050, 24000, 44100)
CONTEXTS = 5
"""More contexts at once end the socket."""
CLOSING_SECONDS = 3.0
"""A cancelled context that has not ended by then is taken for gone."""
INACTIVITY_SECONDS = 180
"""The longest that the server allows."""
VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")


class ElevenLabsOptions(Options):
    model: str = Field("eleven_multilingual_v2", min_length=1, description="Name of the model; not eleven_v3")
    voice: str = Field("Rachel", min_length=1, description="Name or id of the voice")
    stability: float | None = Field(None, ge=0, le=1, description="Lower is livelier, higher is steadier")
    similarity_boost: float | None = Field(None, ge=0, le=1, description="How close to the original voice")
    style: float | None = Field(None, ge=0, le=1, description="How much of the voice's style; costs time")
    use_speaker_boost: bool | None = Field(None, description="Closer to the original speaker; costs time")
    speed: float | None = Field(None, ge=0.7, le=1.2, description="1 is the usual speed")
    language: str | None = Field(None, pattern=r"^[a-z]{2}$", description="Language code, for models that take one")

    def voice_settings(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"model", "voice", "language"})

    def query(self, rate: int) -> str:
        values: dict[str, Any] = {"model_id": self.model, "output_format": f"pcm_{rate}", "auto_mode": "true"}
        values["inactivity_timeout"] = INACTIVITY_SECONDS
        if self.language:
            values["language_code"] = self.language
        return urlencode(values)


class _KnownVoice(msgspec.Struct):
    voice_id: str
    name: str = ""


class _Voices(msgspec.Struct):
    voices: list[_KnownVoice] = []
    has_more: bool = False
    next_page_token: str | None = None


_voices = msgspec.json.Decoder(_Voices)


class ElevenLabsVoice(Voice):
    slug = "elevenlabs"
    label = "ElevenLabs"
    key_setting = "ELEVENLABS_API_KEY"
    base_url_setting = "ELEVENLABS_BASE_URL"
    default_base_url = "https://api.elevenlabs.io"
    Options = ElevenLabsOptions
    options: ElevenLabsOptions
    _voice_id = ""

    async def warm(self) -> None:
        await self.voice_id()

    async def check(self) -> None:
        await self._voice_page({"page_size": "1"})

    async def close(self) -> None:
        await HTTP.leave(self)

    def open(self, rate: int) -> Speech:
        return _SocketSpeech(self, min((r for r in RATES if r >= rate), default=RATES[-1]))

    async def connect(self, rate: int) -> Socket:
        voice = quote(await self.voice_id(), safe="")
        client = await HTTP.take(self)
        url = f"{socket_url(self.credentials.base_url)}/v1/text-to-speech/{voice}/multi-stream-input"
        return await dial(client, f"{url}?{self.options.query(rate)}", self._headers())

    async def voice_id(self) -> str:
        """The id of the voice that the options name; ids pass through."""
        if not self._voice_id:
            wanted = self.options.voice
            self._voice_id = wanted if VOICE_ID.fullmatch(wanted) else await self._find(wanted)
        return self._voice_id

    async def _find(self, wanted: str) -> str:
        query = {"search": wanted, "page_size": "100"}
        while True:
            page = await self._voice_page(query)
            for voice in page.voices:
                if _goes_by(voice.name, wanted):
                    return voice.voice_id
            if not page.has_more or not page.next_page_token:
                raise ProviderError(ErrorKind.REQUEST, f"ElevenLabs has no voice named “{wanted}” in this account")
            query["next_page_token"] = page.next_page_token

    async def _voice_page(self, query: Mapping[str, str]) -> _Voices:
        client = await HTTP.take(self)
        url = f"{self.credentials.base_url}/v2/voices"
        with told_by_http(self):
            async with client.get(url, params=query, headers=self._headers()) as response:
                await expect_ok(self, response)
                body = await response.read()
        try:
            return _voices.decode(body)
        except msgspec.MsgspecError:
            raise garbage(self) from None

    def _headers(self) -> Mapping[str, str]:
        return {"xi-api-key": self.credentials.api_key}


def _goes_by(name: str, wanted: str) -> bool:
    """Names may carry a description: “Rachel - calm”."""
    return wanted.casefold() in (name.casefold(), name.split(" - ")[0].strip().casefold())


class _Message(msgspec.Struct):
    audio: bytes | None = None
    isFinal: bool | None = None  # noqa: N815
    contextId: str | None = None  # noqa: N815
    error: str | None = None


_message = msgspec.json.Decoder(_Message)
_END = b""


@dataclass(eq=False, slots=True)
class _Sentence:
    context: str
    pieces: asyncio.Queue[bytes | ProviderError] = field(default_factory=asyncio.Queue)
    """Bounded by the sentence: the server sends its audio once."""
    asked: bool = False
    heard: bool = False
    left: float = 0.0
    """When its listener went away, by the monotonic clock."""


class _SocketSpeech(Speech):
    def __init__(self, by: ElevenLabsVoice, rate: int) -> None:
        self.rate = rate
        self._by = by
        self._line = Line(by, lambda: by.connect(rate), on_message=self._hear, on_end=self._end)
        self._sentences: dict[str, _Sentence] = {}
        self._freed = asyncio.Event()
        self._count = itertools.count(1)

    async def __aenter__(self) -> "_SocketSpeech":
        self._line.open()
        return self

    async def close(self) -> None:
        await self._line.close()

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        sentence = await self._begin()
        try:
            await self._ask(sentence, text)
            while (piece := await sentence.pieces.get()) != _END:
                if isinstance(piece, ProviderError):
                    raise piece
                if not sentence.heard:
                    sentence.heard = True
                    await self._close_context(sentence)
                yield piece
            if not sentence.heard:
                raise ProviderError(ErrorKind.EMPTY, "ElevenLabs sent no audio; is the quota used up?")
        finally:
            await self._leave(sentence)

    async def _begin(self) -> _Sentence:
        while len(self._sentences) >= CONTEXTS:
            self._forget_gone()
            self._freed.clear()
            if len(self._sentences) >= CONTEXTS:
                await self._freed.wait()
        sentence = _Sentence(f"s{next(self._count)}")
        self._sentences[sentence.context] = sentence
        return sentence

    def _forget_gone(self) -> None:
        now = time.monotonic()
        for sentence in list(self._sentences.values()):
            if sentence.left and now - sentence.left > CLOSING_SECONDS:
                self._drop(sentence)

    async def _ask(self, sentence: _Sentence, text: str) -> None:
        await self._line.ready()
        sentence.asked = True
        opening: dict[str, Any] = {"text": " ", "context_id": sentence.context}
        if settings := self._by.options.voice_settings():
            opening["voice_settings"] = settings
        await self._say(opening)
        await self._say({"text": f"{text.strip()} ", "context_id": sentence.context, "flush": True})

    async def _leave(self, sentence: _Sentence) -> None:
        """Its seat is free when the server says that the context has ended."""
        if self._sentences.get(sentence.context) is not sentence:
            return
        if not sentence.asked:
            self._drop(sentence)
            return
        sentence.left = time.monotonic()
        if not sentence.heard:
            with suppress(ProviderError):  # a socket that has broken has no contexts
                await self._close_context(sentence)

    async def _close_context(self, sentence: _Sentence) -> None:
        await self._say({"context_id": sentence.context, "close_context": True})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._line.send(msgspec.json.encode(message).decode())

    def _hear(self, data: bytes) -> None:
        try:
            message = _message.decode(data)
        except msgspec.MsgspecError:
            self._end(garbage(self._by))
            return
        if message.error:
            self._end(from_code(self._by, message.error))
        elif sentence := self._sentences.get(message.contextId or ""):
            self._advance(sentence, message)

    def _advance(self, sentence: _Sentence, message: _Message) -> None:
        if message.audio and not sentence.left:
            sentence.pieces.put_nowait(message.audio)
        if message.isFinal:
            sentence.pieces.put_nowait(_END)
            self._drop(sentence)

    def _drop(self, sentence: _Sentence) -> None:
        del self._sentences[sentence.context]
        self._freed.set()

    def _end(self, error: ProviderError) -> None:
        """The socket, and with it every context, is over."""
        for sentence in list(self._sentences.values()):
            sentence.pieces.put_nowait(error if not sentence.heard else cut(self._by))
            self._drop(sentence)
