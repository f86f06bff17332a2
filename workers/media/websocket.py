"""Our open protocol for browsers and programs: JSON text frames and binary audio. See docs/websocket-protocol.md."""

import struct
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec
from aiohttp import WSMsgType, web

from workers.media.outbox import PATIENCE, Kind
from workers.media.socket import HANDSHAKE, BadFrame, SocketWire
from workers.media.wire import (
    Audio,
    Dtmf,
    Fact,
    HungUp,
    Opened,
    PlayedSamples,
    PlayedTo,
    Reason,
    Resumed,
    Told,
    Typed,
)

VERSION = 1
RATES = (8_000, 16_000, 24_000, 48_000)
AUDIO = 1
_HEADER = struct.Struct("<BBHIQ")
HEADER_SIZE = _HEADER.size
LONGEST_TEXT = 4_000
FAR = 2**53
"""Positions stay below what a browser's numbers can hold."""
GAP_SECONDS = 5
"""The longest gap in the caller's audio that is filled; more is a client that counts wrongly."""
MARKS = 1_000

# -- audio frames ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """`position` counts the samples of one direction before this frame, `sequence` its frames."""

    sequence: int
    position: int
    pcm: bytes

    def encode(self) -> bytes:
        return _HEADER.pack(AUDIO, VERSION, 0, self.sequence, self.position) + self.pcm


def decode_audio(data: bytes) -> AudioFrame:
    """Read a binary frame; raises BadFrame."""
    if len(data) < HEADER_SIZE or len(data) % 2:
        raise BadFrame(f"an audio frame is a header of {HEADER_SIZE} bytes and whole 16-bit samples")
    kind, version, _flags, sequence, position = _HEADER.unpack_from(data)
    if (kind, version) != (AUDIO, VERSION):
        raise BadFrame(f"kind {kind} of version {version} is not known, only {AUDIO} (audio) of version {VERSION}")
    return AudioFrame(sequence, position, data[HEADER_SIZE:])


class CallerClock:
    """Holds the caller's audio to its positions: what was sent twice is cut off, a short gap becomes silence."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.received = 0

    def take(self, frame: AudioFrame) -> tuple[bytes, int]:
        """The samples to use, and how many were missing (positive) or known (negative); raises BadFrame."""
        missing = frame.position - self.received
        if missing > GAP_SECONDS * self.rate:
            raise BadFrame(f"position {frame.position} is {missing} samples ahead of what was sent; send silence")
        pcm = bytes(2 * missing) + frame.pcm if missing >= 0 else frame.pcm[-2 * missing :]
        self.received += len(pcm) // 2
        return pcm, missing


# -- text frames -----------------------------------------------------------------------------------------

Position = Annotated[int, msgspec.Meta(ge=0, lt=FAR)]


class Resume(msgspec.Struct, forbid_unknown_fields=True):
    played: Position


class Message(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """What a client sends as text."""


class Hello(Message, tag="hello"):
    version: int
    rate: int
    played_reports: bool = False
    captions: bool = True
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    resume: Resume | None = None


class Text(Message, tag="text"):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]


class Keys(Message, tag="dtmf"):
    digits: Annotated[str, msgspec.Meta(pattern="^[0-9*#A-D]{1,32}$")]


class PlayedReport(Message, tag="played"):
    samples: Position


class Ping(Message, tag="ping"):
    id: int | Annotated[str, msgspec.Meta(max_length=64)] = 0


class Bye(Message, tag="bye"):
    pass


AnyMessage = Hello | Text | Keys | PlayedReport | Ping | Bye
_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)
_encode = msgspec.json.Encoder().encode


def decode_text(data: bytes) -> AnyMessage:
    """Read a text frame; raises BadFrame with what is wrong and where."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from None


CAPTIONS = {"transcript", "reply", "delta", "interrupted"}


def _may_be_left_out(message: Mapping[str, Any]) -> bool:
    """What the next message of its kind, or the final one, replaces."""
    return message["type"] == "delta" or message["type"] == "transcript" and not message["final"]


class WebsocketWire(SocketWire):
    """One client of the open protocol."""

    max_message: ClassVar[int] = 128 * 1024
    takes_token = True

    def __init__(
        self,
        request: web.BaseRequest,
        *,
        captions: bool = True,
        handshake: float = HANDSHAKE,
        patience: float = PATIENCE,
    ) -> None:
        """`captions`: whether this session shows them to a client that asks for them."""
        super().__init__(request, handshake=handshake, patience=patience)
        self._captions = captions
        self._is_open = False
        self._clock = CallerClock(self.rate)
        self._sequence = 0
        self._sent = 0
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS)

    # -- in

    def _read(self, opcode: WSMsgType, data: bytes) -> Iterable[Fact]:
        if opcode is WSMsgType.BINARY:
            return self._hear(decode_audio(data))
        match decode_text(data):
            case Hello() as hello if not self._is_open:
                return (self._open(hello),)
            case Ping(id):
                self._say({"type": "pong", "id": id})
                return ()
            case Bye():
                return (HungUp(Reason.HANGUP),)
            case message if self._is_open:
                return self._act(message)
        raise BadFrame("the first message is `hello`")

    def _act(self, message: AnyMessage) -> Iterable[Fact]:
        match message:
            case Text(text):
                return (Typed(text),)
            case Keys(digits):
                return (Dtmf(digits),)
            case PlayedReport(samples):
                return self._played(samples)
        raise BadFrame("`hello` was said before")

    def _open(self, hello: Hello) -> Fact:
        if hello.version != VERSION:
            raise BadFrame(f"version {hello.version} is not spoken here, only {VERSION}")
        if hello.rate not in RATES:
            raise BadFrame(f"rate {hello.rate} is not one of {', '.join(map(str, RATES))}")
        self._is_open = True
        self.rate = self._clock.rate = hello.rate
        self.reports_playback = hello.played_reports
        self._captions = self._captions and hello.captions
        resumed = Resumed(hello.resume.played) if hello.resume else None
        return Opened("", hello.name, "", hello.rate, resumed=resumed)

    def _hear(self, frame: AudioFrame) -> Iterable[Fact]:
        if not self._is_open:
            raise BadFrame("the first message is `hello`")
        pcm, missing = self._clock.take(frame)
        if missing:
            self.counts["filled" if missing > 0 else "double"] += abs(missing)
        return (Audio(pcm),) if pcm else ()

    def _played(self, samples: int) -> Iterable[Fact]:
        heard = min(samples, self._sent)
        facts: list[Fact] = [PlayedSamples(heard)]
        while self._marks and self._marks[0][1] <= heard:
            facts.append(PlayedTo(self._marks.popleft()[0]))
        return facts

    def _explain(self, error: BadFrame) -> None:
        self._say({"type": "error", "code": "bad_message", "message": str(error)[:500]}, Kind.CAPTION)

    # -- out

    async def welcome(self, session: str, *, resume: str = "", received: int = 0, sent: int = 0) -> None:
        self._clock.received = received
        self._sent = sent
        self._say(
            {
                "type": "welcome",
                "version": VERSION,
                "session": session,
                "rate": self.rate,
                "captions": self._captions,
                "resume": resume,
                "received": received,
            }
        )

    async def play(self, pcm: bytes) -> None:
        frame = AudioFrame(self._sequence, self._sent, pcm)
        self._sequence += 1
        self._sent += len(pcm) // 2
        self._outbox.put(Kind.PLAYBACK, WSMsgType.BINARY, frame.encode())

    async def mark(self, number: int) -> None:
        if self.reports_playback:
            self._marks.append((number, self._sent))

    async def clear(self) -> None:
        self._marks.clear()
        self._outbox.drop_playback()
        self._say({"type": "clear", "position": self._sent})

    async def tell(self, message: Told) -> None:
        if message["type"] not in CAPTIONS or self._captions:
            self._say(message, Kind.CAPTION if _may_be_left_out(message) else Kind.WORD)

    def _say(self, message: Mapping[str, Any], kind: Kind = Kind.WORD) -> None:
        self._outbox.put(kind, WSMsgType.TEXT, _encode(message))
