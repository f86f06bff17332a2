"""ElevenLabs: speech over one multi-context WebSocket a session, each sentence a context; or over HTTP.

The SDK has no asynchronous client for this socket. A context is closed when its first audio has come: closed earlier,
the server sometimes drops its text without a word; never closed, it sends no `isFinal`. A socket that the server ends
because nobody spoke is opened again at once, so that the next sentence finds it open.
"""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Spoken, Voice
from connectors_app.elevenlabs_api import (
    VOICES,
    ElevenLabsConnector,
    ElevenLabsOptions,
    KnownVoice,
    Message,
    Said,
    Voices,
    lines,
    read_message,
    read_piece,
)
from connectors_app.failures import cut, expect_samples, finding, from_code, garbage
from connectors_app.line import Line, Socket
from connectors_app.voice_names import no_such_voice

RATES = (8000, 16000, 22050, 24000)
"""Those of every plan; 44.1 kHz is for the dearer ones."""
CONTEXTS = 5
"""More contexts at once end the socket."""
CLOSING_SECONDS = 3.0
"""A cancelled context that has not ended by then is taken for gone."""
VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
NO_AUDIO = "ElevenLabs sent no audio; is the quota used up?"


class ElevenLabsVoice(ElevenLabsConnector, Voice):
    Options = ElevenLabsOptions
    options: ElevenLabsOptions
    _voice_id = ""

    async def warm(self) -> None:
        """An id needs no look, but then the key has not been seen, and no connection is open."""
        if await self.voice_id() == self.options.voice:
            await self.check()

    async def check(self) -> None:
        with finding(self):
            await self._voice_page({"page_size": "1"})

    def open(self, rate: int) -> Speech:
        own_rate = min((r for r in RATES if r >= rate), default=RATES[-1])
        return _SocketSpeech(self, own_rate) if self.options.transport == "websocket" else _HttpSpeech(self, own_rate)

    async def connect(self, rate: int) -> Socket:
        voice = quote(await self.voice_id(), safe="")
        return await self.open_socket(f"/v1/text-to-speech/{voice}/multi-stream-input?{self.options.query(rate)}")

    @asynccontextmanager
    async def spoken(self, text: str, rate: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """One sentence over HTTP."""
        voice = quote(await self.voice_id(), safe="")
        way = "stream/with-timestamps" if self.options.sync_alignment else "stream"
        query = {"output_format": f"pcm_{rate}", "enable_logging": str(self.options.enable_logging).lower()}
        body = self.options.request(text)
        async with self.asking("POST", f"/v1/text-to-speech/{voice}/{way}", params=query, json=body) as response:
            yield response

    async def voice_id(self) -> str:
        """The id of the voice that the options name; ids pass through."""
        if not self._voice_id:
            wanted = self.options.voice
            self._voice_id = wanted if VOICE_ID.fullmatch(wanted) else await self._find(wanted)
        return self._voice_id

    async def _find(self, wanted: str) -> str:
        async for voice in self._known({"search": wanted}):
            if _goes_by(voice.name, wanted):
                return voice.voice_id
        raise no_such_voice(self, wanted, [voice.name async for voice in self._known({})])

    async def _known(self, query: Mapping[str, str]) -> AsyncGenerator[KnownVoice, None]:
        """The account's voices, page after page."""
        token: str | None = ""
        while token is not None:
            page = await self._voice_page(
                {**query, "page_size": "100", **({"next_page_token": token} if token else {})}
            )
            for voice in page.voices:
                yield voice
            token = (page.next_page_token or None) if page.has_more else None

    async def _voice_page(self, query: Mapping[str, str]) -> Voices:
        return await self.asked("GET", "/v2/voices", VOICES, params=query)


def _goes_by(name: str, wanted: str) -> bool:
    """Names may carry a description: “Rachel - calm”."""
    return wanted.casefold() in (name.casefold(), name.split(" - ")[0].strip().casefold())


# -- over HTTP -------------------------------------------------------------------------------------------


class _HttpSpeech(Speech):
    def __init__(self, by: ElevenLabsVoice, rate: int) -> None:
        self.rate = rate
        self._by = by

    async def speak(self, text: str) -> AsyncIterator[bytes | Spoken]:
        said = Said(text, self.rate)
        async with self._by.spoken(text, self.rate) as response, aclosing(self._pieces(response, said)) as pieces:
            async for piece in pieces:
                yield piece
        if not said.samples:
            raise ProviderError(ErrorKind.EMPTY, NO_AUDIO)
        if said.is_cut:
            raise cut(self._by)
        for mark in said.end():
            yield mark

    async def _pieces(self, response: aiohttp.ClientResponse, said: Said) -> AsyncGenerator[bytes | Spoken, None]:
        if not self._by.options.sync_alignment:
            expect_samples(self._by, response.headers)
            async for audio in response.content.iter_any():
                if pcm := said.hear(audio):
                    yield pcm
            return
        async with aclosing(lines(response.content)) as found:
            async for line in found:
                try:
                    piece = read_piece(line)
                except msgspec.MsgspecError:
                    raise garbage(self._by) from None
                for part in said.take_piece(piece):
                    yield part


# -- over the multi-context socket -----------------------------------------------------------------------


_END = b""


@dataclass(eq=False, slots=True)
class _Sentence:
    context: str
    said: Said
    pieces: asyncio.Queue[bytes | Spoken | ProviderError] = field(default_factory=asyncio.Queue)
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

    async def speak(self, text: str) -> AsyncIterator[bytes | Spoken]:
        sentence = await self._begin(text)
        try:
            await self._ask(sentence, text)
            while (piece := await sentence.pieces.get()) != _END:
                if isinstance(piece, ProviderError):
                    raise piece
                if not sentence.heard and not isinstance(piece, Spoken):
                    sentence.heard = True
                    await self._close_context(sentence)
                yield piece
            if not sentence.heard:
                raise ProviderError(ErrorKind.EMPTY, NO_AUDIO)
        finally:
            await self._leave(sentence)

    async def _begin(self, text: str) -> _Sentence:
        while len(self._sentences) >= CONTEXTS:
            self._forget_gone()
            self._freed.clear()
            if len(self._sentences) >= CONTEXTS:
                await self._freed.wait()
        sentence = _Sentence(f"s{next(self._count)}", Said(text, self.rate))
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
        await self._say({"text": " ", "context_id": sentence.context, **self._by.options.opening()})
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
            message = read_message(data)
        except msgspec.MsgspecError:
            self._end(garbage(self._by))
            return
        if message.error:
            self._end(from_code(self._by, message.error))
        elif sentence := self._sentences.get(message.contextId or ""):
            self._advance(sentence, message)

    def _advance(self, sentence: _Sentence, message: Message) -> None:
        if not sentence.left:
            for piece in sentence.said.take_message(message):
                sentence.pieces.put_nowait(piece)
        if message.isFinal:
            sentence.pieces.put_nowait(_END)
            self._drop(sentence)

    def _drop(self, sentence: _Sentence) -> None:
        del self._sentences[sentence.context]
        self._freed.set()

    def _end(self, error: ProviderError) -> None:
        """The socket, and with it every context, is over."""
        for sentence in list(self._sentences.values()):
            sentence.pieces.put_nowait(error)
            self._drop(sentence)
