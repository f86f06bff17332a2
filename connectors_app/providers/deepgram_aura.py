"""Deepgram Aura: speech over a WebSocket, sentence after sentence.

The socket has no contexts: what is asked is said in its order, and `Flushed` ends each sentence. So when a caller
interrupts, the socket is left with what it still has to say, and the next one is opened meanwhile; `Clear` would stop
it too, but not say which of the answers that follow belong to what was cleared. A socket also takes so many flushes a
minute only, and is followed by another one before they are used up.
"""

import asyncio
import re
import textwrap
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import Field

from connectors_app.base.connector import Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Speech, Voice
from connectors_app.deepgram_api import DeepgramConnector
from connectors_app.failures import cut, from_code, garbage
from connectors_app.line import Line, Socket
from connectors_app.samples import whole_samples
from connectors_app.voice_names import no_such_voice

RATES = (8000, 16000, 24000, 32000, 48000)
LONGEST_TEXT = 2000
"""Characters in one message."""
FLUSHES = 18
FLUSH_SECONDS = 60.0
"""A socket takes 20 flushes in this time; those that come too soon are dropped with a warning."""
FLUSH = '{"type":"Flush"}'
NEWEST = "aura-2-"
FULL_NAME = re.compile(r"aura(-2)?-[a-z]+-[a-z]{2}")


class AuraOptions(Options):
    model: str = Field(
        "aura-2-thalia-en",
        pattern=r"^[A-Za-z][A-Za-z0-9-]*$",
        max_length=60,
        description="Model of the voice, such as aura-2-thalia-en, or its name, such as thalia",
    )
    speed: float | None = Field(None, ge=0.7, le=1.5, description="1 is the usual speed; not in all languages")
    mip_opt_out: bool | None = Field(None, description="True: Deepgram does not learn from these texts; costs more")

    def query(self, model: str, rate: int) -> dict[str, Any]:
        """`model` is the full name."""
        return self.model_dump() | {"model": model, "encoding": "linear16", "sample_rate": rate}


class _KnownVoice(msgspec.Struct):
    canonical_name: str = ""
    name: str = ""

    def goes_by(self, wanted: str) -> bool:
        return wanted in (self.canonical_name.casefold(), self.name.casefold())


class _Models(msgspec.Struct):
    tts: list[_KnownVoice] = []


_models = msgspec.json.Decoder(_Models)


class DeepgramAura(DeepgramConnector, Voice):
    slug = "deepgram"
    label = "Deepgram"
    Options = AuraOptions
    options: AuraOptions
    _full_name = ""
    _is_closed = False

    async def warm(self) -> None:
        await self.check()
        self._full_name = self._pick(await self._list_voices())

    async def close(self) -> None:
        self._is_closed = True
        await super().close()

    def open(self, rate: int) -> Speech:
        return _AuraSpeech(self, min((r for r in RATES if r >= rate), default=RATES[-1]))

    async def dial(self, rate: int) -> Socket:
        if self._is_closed:  # a socket that was to follow an interrupted one would take a new client
            raise cut(self)
        return await self.connect("/v1/speak", self.options.query(await self.full_name(), rate))

    async def full_name(self) -> str:
        """Of the voice that the options name; a full name needs no look into the list."""
        if not self._full_name:
            wanted = self.options.model
            self._full_name = wanted if FULL_NAME.fullmatch(wanted) else self._pick(await self._list_voices())
        return self._full_name

    def _pick(self, known: Sequence[_KnownVoice]) -> str:
        """The newest of that name."""
        wanted = self.options.model.casefold()
        found = [voice.canonical_name for voice in known if voice.goes_by(wanted)]
        if not found:
            raise no_such_voice(self, self.options.model, (voice.canonical_name for voice in known))
        return max(found, key=lambda name: name.startswith(NEWEST))

    async def _list_voices(self) -> Sequence[_KnownVoice]:
        return (await self.asked("GET", "/v1/models", _models)).tts


class _Told(msgspec.Struct):
    """`Flushed` ends a sentence; `Metadata` and `Warning` end nothing."""

    type: str = ""
    code: str = ""
    err_code: str = ""


_told = msgspec.json.Decoder(_Told)
_END = b""


@dataclass(eq=False, slots=True)
class _Sentence:
    text: str
    pieces: asyncio.Queue[bytes | ProviderError] = field(default_factory=asyncio.Queue)
    """Bounded by the sentence: the server sends its audio once."""
    half: bytes = b""
    heard: bool = False
    left: bool = False

    def hear(self, audio: bytes) -> None:
        pcm, self.half = whole_samples(self.half + audio)
        if pcm:
            self.heard = True
            self.pieces.put_nowait(pcm)


class _Stretch:
    """One socket and the sentences that it was asked for, in their order."""

    def __init__(self, by: DeepgramAura, rate: int) -> None:
        self._by = by
        self._sentences: deque[_Sentence] = deque()
        self._flushes: deque[float] = deque()
        self._asking = asyncio.Lock()
        self._changed = asyncio.Event()
        self._line = Line(
            by,
            lambda: by.dial(rate),
            on_message=self._read,
            on_binary=self._hear,
            on_end=self._end,
            on_open=self._flushes.clear,
        )
        self._line.open()

    @property
    def is_full(self) -> bool:
        """So many flushes that the next ones might be dropped."""
        now = time.monotonic()
        return sum(now - at < FLUSH_SECONDS for at in self._flushes) >= FLUSHES

    @property
    def is_left(self) -> bool:
        """There is something to say, and nobody listens to any of it."""
        return bool(self._sentences) and all(sentence.left for sentence in self._sentences)

    async def ask(self, sentence: _Sentence) -> None:
        """Its messages in one piece: what two sentences sent at once would be said as one."""
        await self._line.ready()
        async with self._asking:
            self._sentences.append(sentence)
            for part in textwrap.wrap(sentence.text, LONGEST_TEXT - 1):
                await self._line.send(msgspec.json.encode({"type": "Speak", "text": f"{part} "}).decode())
            self._flushes.append(time.monotonic())
            await self._line.send(FLUSH)

    async def fall_silent(self) -> None:
        """Waits until nobody listens to anything that it still has to say."""
        while self._sentences and not self.is_left:
            self._changed.clear()
            await self._changed.wait()

    def leave(self, sentence: _Sentence) -> None:
        sentence.left = True
        self._changed.set()

    async def close(self) -> None:
        await self._line.close()

    def _hear(self, audio: bytes) -> None:
        if self._sentences and not self._sentences[0].left:
            self._sentences[0].hear(audio)

    def _read(self, data: bytes) -> None:
        try:
            told = _told.decode(data)
        except msgspec.MsgspecError:
            self._end(garbage(self._by))
            return
        if told.type == "Flushed" and self._sentences:
            self._sentences.popleft().pieces.put_nowait(_END)
            self._changed.set()
        elif told.type == "Error":
            self._end(from_code(self._by, told.code or told.err_code))

    def _end(self, error: ProviderError) -> None:
        """The socket, and with it what it still had to say, is over."""
        while self._sentences:
            self._sentences.popleft().pieces.put_nowait(error)
        self._changed.set()


class _AuraSpeech(Speech):
    def __init__(self, by: DeepgramAura, rate: int) -> None:
        self.rate = rate
        self._by = by
        self._stretch: _Stretch | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def __aenter__(self) -> "_AuraSpeech":
        self._go_on()
        return self

    async def close(self) -> None:
        self._is_closed = True
        if self._stretch:
            await self._stretch.close()
        for task in (ending := list(self._ending)):
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        sentence, stretch = _Sentence(text), self._stretch or self._go_on()
        try:
            await stretch.ask(sentence)
            if stretch is self._stretch and stretch.is_full:
                self._go_on()
            while (piece := await sentence.pieces.get()) != _END:
                if isinstance(piece, ProviderError):
                    raise piece
                yield piece
            if not sentence.heard:
                raise ProviderError(ErrorKind.EMPTY, "Deepgram sent no audio")
        finally:
            stretch.leave(sentence)
            if stretch is self._stretch and stretch.is_left and not self._is_closed:
                self._go_on()

    def _go_on(self) -> _Stretch:
        """With another socket; the one before ends when it has said what somebody listens to."""
        if self._stretch:
            self._ending.add(task := asyncio.create_task(_end(self._stretch)))
            task.add_done_callback(self._ending.discard)
        self._stretch = _Stretch(self._by, self.rate)
        return self._stretch


async def _end(stretch: _Stretch) -> None:
    try:
        await stretch.fall_silent()
    finally:
        await stretch.close()
