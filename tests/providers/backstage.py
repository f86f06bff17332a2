"""What all stand-ins share: the steering, the record of requests, ears, voice and brain, and how an answer is given."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from aiohttp import ClientConnectionResetError, WSMsgType, web
from multidict import MultiMapping

from tests.providers import tones
from tests.providers.brain import Brain, Function, GoingOn, Messages, Thought, answer_last_user, think
from tests.providers.ears import Ears
from tests.providers.refusals import refusal
from tests.providers.routes import Route
from tests.providers.spoiling import FLOOD, NOT_UTF8, ODD_BYTES, PAGE, Socket, cut_up, wav_header
from tests.providers.steering import PROMPT, Behaviour, Fault, Faulted, Steering, forever, paced

REVOKED = "revoked"
"""A key with this in it is refused with 401, and so is none; every other one is welcome."""
CHUNK_MS = 100


class Outcome(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAULTED = "faulted"
    CANCELLED = "cancelled"  # the client went away before the end


@dataclass(slots=True)
class Recorded:
    """One request as it came over the wire; header names in lower case. A socket's frames are its `messages`."""

    number: int
    route: Route
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float
    body: Any = None
    """Decoded JSON; form fields, where a file is its name, type and size; text."""
    text: str = ""
    """What was asked, said or spoken, as far as it is known."""
    messages: list[Any] = field(default_factory=list)
    audio_bytes: int = 0
    client: tuple[str, int] = ("", 0)
    """Where the connection comes from: requests of one connection have the same."""
    outcome: Outcome = Outcome.OPEN
    news: "News | None" = None

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if self.news:
            self.news.tell()

    def as_json(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in self.__slots__ if name != "news"}
        return told | {"route": self.route.name}


class News:
    """Wakes those who wait for something to have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def next(self) -> None:
        await self._changed.wait()


class Backstage:
    """Shared by the stand-ins of one application."""

    def __init__(
        self,
        ears: Ears,
        brain: Brain = answer_last_user,
        ms_per_char: float = tones.MS_PER_CHAR,
        going_on: GoingOn = GoingOn.EXACTLY,
        by_word: bool = False,
    ) -> None:
        self.ears = ears
        self.brain = brain
        self.ms_per_char = ms_per_char
        self.going_on = going_on
        self.by_word = by_word
        self.steering = Steering()
        self.sockets: deque[tuple[Route, Socket]] = deque(maxlen=2_000)
        self.requests: deque[Recorded] = deque(maxlen=20_000)
        self.news = News()
        self._count = 0

    def record(self, request: web.Request, route: Route) -> Recorded:
        self._count += 1
        recorded = Recorded(
            number=self._count,
            route=route,
            method=request.method,
            path=request.path,
            query=_joined(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            at=time.monotonic(),
            client=request.get_extra_info("peername", ("", 0))[:2],
            news=self.news,
        )
        self.requests.append(recorded)
        self.news.tell()
        return recorded

    def think(self, messages: Messages, functions: Sequence[Function], behaviour: Behaviour) -> Thought:
        return Thought() if behaviour.fault is Fault.EMPTY else think(self.brain, messages, functions, self.going_on)

    def transcribe(self, recorded: Recorded, route: Route, text: str) -> tuple[Behaviour, str]:
        """How an utterance on a socket is answered, and the text that is told of it."""
        behaviour = self.steering.choose(route, text)
        recorded.text = f"{recorded.text} {text}".strip()
        return behaviour, "" if behaviour.fault is Fault.EMPTY else text

    def freeze(self, route: Route) -> None:
        """The sockets that are open now answer nothing any more, no ping either."""
        for place, socket in self.sockets:
            if place is route:
                socket.freeze()

    def voice(self, text: str, rate: int, behaviour: Behaviour = PROMPT, speed: float = 1.0) -> bytes:
        """The text as s16le mono; `speed` as providers count it, 2.0 is twice as fast."""
        if behaviour.fault is Fault.EMPTY:
            return b""
        pcm = _spoken(text, rate, self.ms_per_char / speed, self.by_word)
        return bytes(len(pcm)) if behaviour.fault is Fault.SILENCE else pcm

    def char_times(self, text: str, pcm_ms: float, speed: float = 1.0) -> list[float]:
        """When each character of a text begins in its speech of this length, and when the last one ends, in ms."""
        if not self.by_word:
            return [pcm_ms * place / max(len(text), 1) for place in range(len(text) + 1)]
        return _char_times(text, pcm_ms, self.ms_per_char / speed)


BACKSTAGE = web.AppKey("backstage", Backstage)


@asynccontextmanager
async def received(request: web.Request, route: Route, key: str | None) -> AsyncIterator[tuple[Backstage, Recorded]]:
    """A request is recorded, its key looked at, and what became of it noted."""
    backstage = request.app[BACKSTAGE]
    recorded = backstage.record(request, route)
    try:
        if not key or REVOKED in key:
            raise refusal(route.provider, 401)
        yield backstage, recorded
    except web.HTTPException:
        recorded.end(Outcome.REFUSED)
        raise
    except json.JSONDecodeError:
        recorded.end(Outcome.REFUSED)
        raise refusal(route.provider, 400, message="The body is not JSON.") from None
    except ClientConnectionResetError:
        recorded.end(Outcome.CANCELLED)
        raise
    finally:
        # A cancellation is the client's going away: it is the only one who cancels a handler.
        if recorded.outcome is Outcome.OPEN:
            recorded.end(Outcome.CANCELLED)


async def enter(backstage: Backstage, recorded: Recorded, text: str) -> Behaviour:
    """How this request is answered, once its first byte is due; a refusal is raised, silence lasts."""
    recorded.text = text
    behaviour = backstage.steering.choose(recorded.route, text)
    await first_byte(behaviour)
    if behaviour.fault is Fault.REFUSE:
        raise refusal(recorded.route.provider, behaviour.status, behaviour.retry_after)
    return behaviour


async def first_byte(behaviour: Behaviour) -> None:
    if behaviour.first_ms:
        await asyncio.sleep(behaviour.first_ms / 1000)
    if behaviour.fault is Fault.NEVER:
        await forever()


@dataclass(frozen=True, slots=True)
class Answer:
    """A body in the pieces in which it is sent. `head` and `tail` frame them and are no pieces themselves."""

    content_type: str
    pieces: Sequence[bytes]
    head: bytes = b""
    tail: bytes = b""
    garbage: bytes = b""
    error: Callable[[object], bytes] | None = None
    """How the body of a refusal is told inside this answer; else as an event without a name."""


def _spoiled(answer: Answer, behaviour: Behaviour) -> Answer:
    """With the faults that it has from the beginning."""
    match behaviour.fault:
        case Fault.HTML:
            answer = Answer("text/html; charset=utf-8", (PAGE.encode(),))
        case Fault.HEADER:
            answer = replace(answer, head=wav_header() + answer.head)
        case Fault.ODD:
            answer = replace(answer, pieces=cut_up(b"".join(answer.pieces)[:-1], ODD_BYTES))
    if behaviour.bytes:
        whole = answer.head + b"".join(answer.pieces) + answer.tail
        answer = replace(answer, head=b"", pieces=cut_up(whole, behaviour.bytes), tail=b"")
    return answer


async def send(request: web.Request, recorded: Recorded, behaviour: Behaviour, answer: Answer) -> web.StreamResponse:
    """Streams an answer as its behaviour wants it."""
    answer = _spoiled(answer, behaviour)
    response = web.StreamResponse(headers={"Content-Type": answer.content_type, "Cache-Control": "no-cache"})
    await response.prepare(request)
    try:
        if behaviour.is_plain:
            await _write(response, answer.head + b"".join(answer.pieces) + answer.tail)
        else:
            await _write(response, answer.head)
            async for piece in paced(behaviour, answer.pieces):
                await _write(response, piece)
            await _write(response, answer.tail)
        recorded.end(Outcome.ANSWERED if behaviour.fault is None else Outcome.FAULTED)
    except Faulted as faulted:
        recorded.end(Outcome.FAULTED)
        if faulted.fault is Fault.ERROR:
            body, _ = recorded.route.provider.form(behaviour.status, "Told by the stand-in midway.", None)
            await response.write((answer.error or sse)(body))
        else:
            await _break(request, response, faulted.fault, answer.garbage)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        await response.write(data)


async def _break(request: web.Request, response: web.StreamResponse, fault: Fault, garbage: bytes) -> None:
    if fault is Fault.GARBAGE:
        await response.write(garbage)
    elif fault is Fault.NOT_UTF8:
        await response.write(b"data: " + NOT_UTF8 + b"\n\n")
    elif fault is Fault.FLOOD:
        with suppress(ClientConnectionResetError):
            await response.write(b"data: " + FLOOD + b"\n\n")
    elif fault is Fault.CUT and request.transport:
        request.transport.abort()
    if fault in (Fault.CUT, Fault.STALL):
        await forever()


async def open_socket(request: web.Request, backstage: Backstage, recorded: Recorded) -> web.WebSocketResponse:
    """Answers a handshake as its behaviour wants it."""
    behaviour = await enter(backstage, recorded, request.query_string)
    recorded.text = ""
    if behaviour.fault is Fault.CUT and request.transport:
        request.transport.abort()
        await forever()
    if behaviour.fault is Fault.HTML:
        raise web.HTTPOk(text=PAGE, content_type="text/html")
    socket = Socket(behaviour.after if behaviour.fault is Fault.DEAD else None)
    backstage.sockets.append((recorded.route, socket))
    await socket.prepare(request)
    if behaviour.fault is Fault.STALL:
        async for _ in socket:
            pass
    return socket


async def send_text(socket: web.WebSocketResponse, text: str) -> None:
    """Sends a frame; one that a client no longer waits for is lost."""
    with suppress(ClientConnectionResetError):
        await socket.send_str(text)


def parsed(text: str) -> dict[str, Any] | None:
    """A client's message; None when it is no JSON object."""
    try:
        message = json.loads(text)
    except json.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


async def break_socket(request: web.Request, socket: web.WebSocketResponse, fault: Fault) -> None:
    """One that is told as an error is up to the stand-in: it has a form of its own."""
    assert fault is not Fault.ERROR
    if fault is Fault.GARBAGE:
        await send_text(socket, '{"unfinished": ')
    elif fault is Fault.NOT_UTF8:
        await socket.send_frame(NOT_UTF8, WSMsgType.TEXT)
    elif fault is Fault.FLOOD:
        await send_text(socket, FLOOD.decode())
    elif fault is Fault.END:
        await socket.close()
    elif fault is Fault.CUT and request.transport:
        request.transport.abort()
    if fault in (Fault.CUT, Fault.STALL):
        await forever()


def json_answer(body: Any) -> Answer:
    """A JSON body; in two pieces, so that it can break in the middle."""
    data = json.dumps(body).encode()
    middle = len(data) // 2
    return Answer("application/json", (data[:middle], data[middle:]), garbage=b'{"unfinished": ')


def sse(data: object, event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunks(audio: bytes, bytes_per_second: int) -> list[bytes]:
    """Audio in chunks of 100 ms."""
    size = bytes_per_second * CHUNK_MS // 1000
    return [audio[start : start + size] for start in range(0, len(audio), size)]


def bearer(request: web.Request) -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None


def _joined(values: MultiMapping[str]) -> dict[str, str]:
    """A repeated parameter is joined by commas."""
    return {name: ",".join(values.getall(name)) for name in dict.fromkeys(values)}


@lru_cache(maxsize=256)
def _spoken(text: str, rate: int, ms_per_char: float, by_word: bool) -> bytes:
    return (tones.encode_words if by_word else tones.encode)(text, rate, ms_per_char)


def _char_times(text: str, pcm_ms: float, ms_per_char: float) -> list[float]:
    """Evenly within each word; the silence after it belongs to the space."""
    times: list[float] = []
    before = 0
    for at, begin, end in tones.word_times(text, ms_per_char):
        start = at - len(text[:at].split()[-1])
        times += [float(before)] * (start - len(times))
        times += [begin + (end - begin) * place / (at - start) for place in range(at - start)]
        before = end
    times += [float(before)] * (len(text) - len(times))
    return [*times, pcm_ms if text[-1:].isspace() else before]
