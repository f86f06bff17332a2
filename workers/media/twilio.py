"""Twilio Media Streams: a telephone call as JSON frames of µ-law, the TwiML around it and its signatures."""

import hmac
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal
from xml.sax.saxutils import escape, quoteattr

import msgspec
from aiohttp import WSMsgType, web

from workers.media import mulaw
from workers.media.outbox import PATIENCE, Kind
from workers.media.socket import HANDSHAKE, BadFrame, SocketWire
from workers.media.wire import Audio, Dtmf, Fact, HungUp, Opened, PlayedTo, Reason, Told

RATE = 8000
HELD = 3
"""Chunks that wait for a missing one before it is given up: 60 ms."""
GAP = 50
"""Missing chunks that are filled with silence; more than a second is a jump."""
MARKS = 1_000
"""Marks that may be on their way; a stream that never returns any must not fill the memory."""

# -- frames ----------------------------------------------------------------------------------------------


class MediaFormat(msgspec.Struct, rename="camel"):
    encoding: Literal["audio/x-mulaw"]
    sample_rate: Literal[8000]
    channels: Literal[1] = 1


class StartBody(msgspec.Struct, rename="camel"):
    call_sid: str
    media_format: MediaFormat
    custom_parameters: dict[str, str] = {}


class MediaBody(msgspec.Struct):
    payload: bytes
    chunk: Annotated[int, msgspec.Meta(ge=0)] = 0
    track: str = "inbound"


class MarkBody(msgspec.Struct):
    name: str


class DtmfBody(msgspec.Struct):
    digit: Annotated[str, msgspec.Meta(pattern="^[0-9*#A-D]$")]


class Frame(msgspec.Struct, tag_field="event"):
    """What Twilio sends. Fields that nobody reads are not declared, and so cost nothing to read."""


class Connected(Frame, tag="connected"):
    pass


class Start(Frame, tag="start", rename="camel"):
    stream_sid: str
    start: StartBody


class Media(Frame, tag="media"):
    media: MediaBody


class Mark(Frame, tag="mark"):
    mark: MarkBody


class Digit(Frame, tag="dtmf"):
    dtmf: DtmfBody


class Stop(Frame, tag="stop"):
    pass


AnyFrame = Connected | Start | Media | Mark | Digit | Stop

# Twilio writes its numbers as strings; lax decoding takes both.
_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame, strict=False)


def decode(data: bytes) -> AnyFrame:
    """Read a frame; raises BadFrame."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from None


class ChunkOrder:
    """Puts numbered chunks in order: doubles are dropped, a short gap becomes silence so that the clock holds."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._next = 0
        self._held: dict[int, bytes] = {}

    def take(self, number: int, pcm: bytes) -> Iterable[bytes]:
        """The chunks that can be used now. Number 0 is a chunk without one."""
        number = number or self._next
        if number == self._next and not self._held:
            self._next += 1
            return (pcm,)
        if self._next == 0 or abs(number - self._next) > GAP:
            return self._jump(number, pcm)
        if number < self._next or number in self._held:
            self._counts["double"] += 1
            return ()
        self._held[number] = pcm
        return self._release()

    def _jump(self, number: int, pcm: bytes) -> Iterable[bytes]:
        """The stream begins, or went on somewhere else."""
        self._counts["jump"] += self._next > 0
        waiting = [self._held[key] for key in sorted(self._held)]
        self._held.clear()
        self._next = number + 1
        return (*waiting, pcm)

    def _release(self) -> Iterable[bytes]:
        ready: list[bytes] = []
        if len(self._held) >= HELD:
            first = min(self._held)
            self._counts["filled"] += first - self._next
            ready.extend(bytes(len(self._held[first])) for _ in range(self._next, first))
            self._next = first
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        return ready


class TwilioWire(SocketWire):
    """One bidirectional stream. `call_id` is the call that this socket was opened for; another one is refused."""

    max_message: ClassVar[int] = 64 * 1024
    rate = RATE
    reports_playback = True

    def __init__(
        self, request: web.BaseRequest, *, call_id: str, handshake: float = HANDSHAKE, patience: float = PATIENCE
    ) -> None:
        super().__init__(request, handshake=handshake, patience=patience)
        self._call_id = call_id
        self._order = ChunkOrder(self.counts)
        self._sid = b""
        self._marks: deque[int] = deque(maxlen=MARKS)

    def _read(self, opcode: WSMsgType, data: bytes) -> Iterable[Fact]:
        if opcode is not WSMsgType.TEXT:
            raise BadFrame("a binary frame")
        match decode(data):
            case Media(MediaBody(payload, chunk, "inbound")) if self._sid:
                return [Audio(pcm) for pcm in self._order.take(chunk, mulaw.decode(payload))]
            case Mark(MarkBody(name)):
                return self._came_back(name)
            case Digit(DtmfBody(digit)):
                return (Dtmf(digit),)
            case Start() as start if not self._sid:
                return (self._open(start),)
            case Stop():
                return (HungUp(Reason.HANGUP),)
            case _:
                return ()

    def _open(self, start: Start) -> Fact:
        body = start.start
        if body.call_sid != self._call_id:
            return HungUp(Reason.REFUSED, "the stream belongs to another call")
        self._sid = msgspec.json.encode(start.stream_sid)
        return Opened(body.call_sid, "", "", RATE, body.custom_parameters)

    def _came_back(self, name: str) -> Iterable[Fact]:
        """After `clear` Twilio returns the marks that it skipped: those are forgotten here, so they say nothing."""
        number = int(name) if name.isdecimal() else -1
        while self._marks and self._marks[0] < number:
            self._marks.popleft()
        if not self._marks or self._marks[0] != number:
            self.counts["stale_mark"] += 1
            return ()
        return (PlayedTo(self._marks.popleft()),)

    async def welcome(self, session: str, *, resume: str = "", received: int = 0, sent: int = 0) -> None:
        """Twilio waits for no answer to its start."""

    async def tell(self, message: Told) -> None:
        """A telephone cannot read."""

    async def play(self, pcm: bytes) -> None:
        payload = b64encode(mulaw.encode(pcm))
        self._send(Kind.PLAYBACK, b'{"event":"media","streamSid":%b,"media":{"payload":"%b"}}' % (self._sid, payload))

    async def mark(self, number: int) -> None:
        self._marks.append(number)
        self._send(Kind.PLAYBACK, b'{"event":"mark","streamSid":%b,"mark":{"name":"%d"}}' % (self._sid, number))

    async def clear(self) -> None:
        self._marks.clear()
        self._outbox.drop_playback()
        self._send(Kind.WORD, b'{"event":"clear","streamSid":%b}' % self._sid)

    def _send(self, kind: Kind, data: bytes) -> None:
        self._outbox.put(kind, WSMsgType.TEXT, data)


# -- TwiML -----------------------------------------------------------------------------------------------


def _response(verbs: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>'


def twiml(stream_url: str, after_url: str) -> str:
    """Connect the call to a stream; when that ends, Twilio asks `after_url` how to go on."""
    stream = f"<Connect><Stream url={quoteattr(stream_url)}/></Connect>"
    return _response(f'{stream}<Redirect method="POST">{escape(after_url)}</Redirect>')


def hangup() -> str:
    return _response("<Hangup/>")


def say(text: str) -> str:
    """A sentence in Twilio's own voice, for a caller whom we cannot connect."""
    return _response(f"<Say>{escape(text)}</Say><Hangup/>")


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """What Twilio sends as `X-Twilio-Signature` with this form to this address."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return b64encode(hmac.digest(auth_token.encode(), signed.encode("utf-8", "surrogatepass"), "sha1")).decode()


def valid_signature(auth_token: str, url: str, form: Mapping[str, str], claimed: str) -> bool:
    return hmac.compare_digest(signature(auth_token, url, form).encode(), claimed.encode("utf-8", "surrogatepass"))
