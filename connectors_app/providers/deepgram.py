"""Deepgram: live recognition over one WebSocket a session.

The socket is spoken to directly: the SDK builds a Pydantic model of every message, words included, and has neither
keep-alive nor reconnection.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from pydantic import Field

from connectors_app.base import Options, ProviderError, Recognition, Recognizer, Transcript
from connectors_app.clients import HTTP, socket_url
from connectors_app.failures import expect_ok, from_code, garbage, told_by_http
from connectors_app.line import Line, Socket, dial

KEEPALIVE = '{"type":"KeepAlive"}'
KEEPALIVE_SECONDS = 4.0
"""The server ends a socket after ten seconds without audio or a message."""
FINALIZE = '{"type":"Finalize"}'
SLACK_SECONDS = 0.1
"""A final result that ends this close to the end of the audio covers it."""
GRACE_SECONDS = 0.5
"""How long to wait for `from_finalize`, which is not promised, when every word heard is final already."""


class DeepgramOptions(Options):
    model: str = Field("nova-3", min_length=1, description="Name of the model")
    language: str = Field("en", pattern=r"^[A-Za-z-]{2,10}$", description="Language code, or “multi”")
    smart_format: bool = Field(True, description="Write numbers, dates and amounts as people do")
    punctuate: bool = Field(True, description="Punctuation and capital letters")
    numerals: bool = Field(False, description="Numbers as digits")
    profanity_filter: bool = Field(False, description="Remove rude words")
    keyterm: tuple[str, ...] = Field((), max_length=100, description="Names and words that are likely to come up")
    endpointing: int | None = Field(None, ge=10, le=5000, description="Milliseconds of silence that end a phrase")

    def query(self, rate: int) -> str:
        values = self.model_dump(exclude_none=True)
        values |= {"encoding": "linear16", "sample_rate": rate, "channels": 1, "interim_results": True}
        return urlencode({key: _in_query(value) for key, value in values.items()}, doseq=True)


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


class DeepgramLive(Recognizer):
    slug = "deepgram"
    label = "Deepgram"
    key_setting = "DEEPGRAM_API_KEY"
    base_url_setting = "DEEPGRAM_BASE_URL"
    default_base_url = "https://api.deepgram.com"
    Options = DeepgramOptions
    options: DeepgramOptions

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await HTTP.take(self)
        url = f"{self.credentials.base_url}/v1/projects"
        with told_by_http(self):
            async with client.get(url, headers=self._headers()) as response:
                await expect_ok(self, response)

    async def close(self) -> None:
        await HTTP.leave(self)

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _LiveRecognition(self, rate, on_interim)

    async def connect(self, rate: int) -> Socket:
        client = await HTTP.take(self)
        url = f"{socket_url(self.credentials.base_url)}/v1/listen?{self.options.query(rate)}"
        return await dial(client, url, self._headers())

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Token {self.credentials.api_key}"}


class _Alternative(msgspec.Struct):
    transcript: str = ""
    confidence: float = 0.0
    languages: list[str] = []


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative] = []


class _Said(msgspec.Struct):
    """What the live API sends; only `Results` and errors matter."""

    type: str = ""
    start: float = 0.0
    duration: float = 0.0
    is_final: bool = False
    from_finalize: bool = False
    channel: msgspec.Raw = msgspec.Raw(b"{}")
    variant: str = ""
    code: str = ""


_said = msgspec.json.Decoder(_Said)
_channel = msgspec.json.Decoder(_Channel)


class _LiveRecognition(Recognition):
    """The API's clock is the audio it was sent: results are told apart by where they end on it."""

    def __init__(self, by: DeepgramLive, rate: int, on_interim: Callable[[str], None]) -> None:
        self._by = by
        self._rate = rate
        self._on_interim = on_interim
        self._line = Line(
            by,
            lambda: by.connect(rate),
            on_message=self._hear,
            on_end=self._end,
            on_open=self._restart,
            keepalive=KEEPALIVE,
            keepalive_seconds=KEEPALIVE_SECONDS,
        )
        self._changed = asyncio.Event()
        self._sent = 0
        self._busy = False
        self._reset()

    async def __aenter__(self) -> "_LiveRecognition":
        self._line.open()
        return self

    async def close(self) -> None:
        await self._line.close()

    async def begin(self) -> None:
        abandoned = self._busy
        self._busy = True
        self._reset()
        if abandoned:
            await self._line.send(FINALIZE)

    async def send(self, pcm: bytes) -> None:
        if self._error:
            raise self._error
        await self._line.send(pcm)
        self._sent += len(pcm) // 2

    async def finish(self) -> Transcript:
        if self._sent == self._start:
            self._busy = False
            return Transcript("")
        self._asked = True
        await self._line.send(FINALIZE)
        while not self._complete():
            self._changed.clear()
            try:
                async with asyncio.timeout(GRACE_SECONDS if self._settled() else None):
                    await self._changed.wait()
            except TimeoutError:
                break
        self._busy = False
        return self._transcript()

    def _reset(self) -> None:
        self._error: ProviderError | None = None
        self._start = self._sent
        self._finals: list[_Alternative] = []
        self._interim = ""
        self._heard = self._asked = self._flushed = False
        self._final_until = self._seconds()

    def _restart(self) -> None:
        """A new socket, a new clock. What the old one lost stays lost until the next utterance begins."""
        lost = self._error
        self._sent = 0
        self._reset()
        self._error = lost

    def _seconds(self) -> float:
        return self._sent / self._rate

    def _complete(self) -> bool:
        if self._error:
            raise self._error
        return self._flushed or self._final_until >= self._seconds() - SLACK_SECONDS

    def _settled(self) -> bool:
        return self._heard and not self._interim

    def _transcript(self) -> Transcript:
        spoken = [final for final in self._finals if final.transcript]
        if not spoken:
            return Transcript("")
        language = spoken[0].languages[0] if spoken[0].languages else ""
        return Transcript(self._text(), language, min(final.confidence for final in spoken))

    def _text(self) -> str:
        return " ".join(text for text in (*(f.transcript for f in self._finals), self._interim) if text)

    def _end(self, error: ProviderError) -> None:
        if self._busy:
            self._error = error
            self._changed.set()

    def _hear(self, message: bytes) -> None:
        try:
            said = _said.decode(message)
            if said.type == "Results":
                self._take(said, _channel.decode(said.channel))
            elif said.type == "Error":
                self._end(from_code(self._by, said.code or said.variant))
        except msgspec.MsgspecError:
            self._end(garbage(self._by))

    def _take(self, said: _Said, channel: _Channel) -> None:
        if not self._busy or (said.start + said.duration) * self._rate <= self._start:
            return  # of an earlier utterance, which was abandoned
        self._heard = True
        best = channel.alternatives[0] if channel.alternatives else _Alternative()
        if said.is_final:
            self._finals.append(best)
            self._interim = ""
            self._final_until = said.start + said.duration
            self._flushed = self._asked and said.from_finalize
        else:
            self._interim = best.transcript
        if best.transcript:
            self._on_interim(self._text())
        self._changed.set()
