"""ElevenLabs: speech over the multi-context WebSocket and over HTTP, voices and models."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import (
    CHUNK_MS,
    Answer,
    Backstage,
    Outcome,
    Recorded,
    break_socket,
    chunks,
    enter,
    first_byte,
    json_answer,
    open_socket,
    parsed,
    received,
    send,
    send_text,
)
from tests.providers.paths import add_shared, has_header
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.steering import Behaviour, Fault, Faulted, paced
from tests.providers.ulaw import to_ulaw

STATUS = {
    401: "invalid_api_key",
    402: "quota_exceeded",
    403: "output_format_not_allowed",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    return {"detail": {"status": error_status(status), "message": message}}, {}


def error_status(status: int) -> str:
    return STATUS.get(status, "internal_server_error" if status >= 500 else "invalid_request")


ELEVENLABS = Provider("elevenlabs", complaint)
ELEVENLABS_CONNECT = ELEVENLABS.route("connect", Kind.HANDSHAKE)
ELEVENLABS_SPEAK = ELEVENLABS.route("speak", Kind.VOICE)
"""An answer is the speech of one flushed text of a context."""
ELEVENLABS_STREAM = ELEVENLABS.route("stream", Kind.RAW_VOICE)
ELEVENLABS_TIMED = ELEVENLABS.route("timed", Kind.VOICE_LINES)
"""The same in lines of JSON, with the times of the characters."""
ELEVENLABS_VOICES = ELEVENLABS.route("voices")
ELEVENLABS_MODELS = ELEVENLABS.route("models")

RACHEL = "21m00Tcm4TlvDq8ikWAM"
VOICES = {RACHEL: "Rachel", "pNInz6obpgDQGcFmaJgB": "Adam", "EXAVITQu4vr4xnSDxMaL": "Sarah"}
VALUES: Mapping[str, Mapping[str, Any]] = {
    "voice": {"voice": "Adam"},
    "pronunciation_dictionary_locators": {"pronunciation_dictionary_locators": ["names:v1"]},
}
TURNS = (
    Turn(
        Role.TTS,
        "elevenlabs",
        ELEVENLABS_CONNECT,
        ELEVENLABS_SPEAK,
        tells_nothing=False,
        values=VALUES,
    ),
    Turn(
        Role.TTS,
        "elevenlabs",
        ELEVENLABS_TIMED,
        options={"transport": "http"},
        variant="http",
        values=VALUES,
        unseen={"enable_ssml_parsing": "only a socket has it"},
    ),
)
MODELS = ("eleven_multilingual_v2", "eleven_flash_v2_5", "eleven_turbo_v2_5")
FORMATS = {f"pcm_{rate}": rate for rate in (8000, 16_000, 22_050, 24_000)} | {"ulaw_8000": 8000}
DEAR_FORMATS = ("pcm_44100", "mp3_44100_192")
"""Only for higher plans than the stand-in's."""
MOST_CONTEXTS = 5
IDLE_SECONDS, LONGEST_IDLE_SECONDS = 20, 180
BUFFERED_CHARS = (120, 160, 250, 290)
"""Without `auto_mode`: so much text makes the first, second … generation start without a flush."""


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/text-to-speech/{voice}/multi-stream-input", converse)
    app.router.add_post("/v1/text-to-speech/{voice}/stream", stream)
    app.router.add_post("/v1/text-to-speech/{voice}/stream/with-timestamps", stream_timed)
    app.router.add_get("/v1/voices", list_voices)
    app.router.add_get("/v2/voices", list_voices)
    add_shared(app, "GET", "/v1/models", list_models, has_header("xi-api-key"))


def environment(url: str) -> dict[str, str]:
    return {"ELEVENLABS_API_KEY": "stand-in-elevenlabs", "ELEVENLABS_BASE_URL": url}


def _key(request: web.Request) -> str | None:
    return request.headers.get("xi-api-key")


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, ELEVENLABS_MODELS, _key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        models = [{"model_id": name, "name": name, "can_do_text_to_speech": True} for name in MODELS]
        return await send(request, recorded, behaviour, json_answer(models))


async def list_voices(request: web.Request) -> web.StreamResponse:
    async with received(request, ELEVENLABS_VOICES, _key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        voices = [{"voice_id": voice, "name": name, "category": "premade"} for voice, name in VOICES.items()]
        page = {"has_more": False, "total_count": len(voices), "next_page_token": None}
        return await send(request, recorded, behaviour, json_answer({"voices": voices, **page}))


async def stream(request: web.Request) -> web.StreamResponse:
    async with received(request, ELEVENLABS_STREAM, _key(request)) as (backstage, recorded):
        asked = await _asked(request, backstage, recorded)
        return await send(request, recorded, asked.behaviour, Answer("audio/pcm", asked.pieces))


async def stream_timed(request: web.Request) -> web.StreamResponse:
    async with received(request, ELEVENLABS_TIMED, _key(request)) as (backstage, recorded):
        asked = await _asked(request, backstage, recorded)
        lines = [f"{json.dumps(line)}\n".encode() for line in _timed(asked)]
        return await send(request, recorded, asked.behaviour, Answer("application/json", lines, garbage=b"{\n"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be said in one answer over HTTP."""

    text: str
    pieces: list[bytes]
    times: list[float]
    behaviour: Behaviour


async def _asked(request: web.Request, backstage: Backstage, recorded: Recorded) -> Asked:
    body = recorded.body = await request.json()
    audio_format = _format(request.query)
    if request.match_info["voice"] not in VOICES:
        raise refusal(ELEVENLABS, 404, message=_unknown_voice(request))
    if not isinstance(text := body.get("text"), str) or not text.strip():
        raise refusal(ELEVENLABS, 422, message="text: Field required")
    behaviour = await enter(backstage, recorded, text)
    speed = float((body.get("voice_settings") or {}).get("speed") or 1.0)
    pcm = backstage.voice(text, FORMATS[audio_format], behaviour, speed)
    times = backstage.char_times(text, len(pcm) / 2 / FORMATS[audio_format] * 1000, speed)
    pieces = chunks(_encoded(pcm, audio_format), _bytes_per_second(audio_format))
    return Asked(text, pieces, times, behaviour)


def _timed(asked: Asked) -> Iterator[Mapping[str, Any]]:
    """Times are those of the whole answer, as the service tells them."""
    for piece, chars in zip(asked.pieces, _shares(asked.text, asked.times, len(asked.pieces)), strict=True):
        alignment = {
            "characters": [char.text for char in chars],
            "character_start_times_seconds": [char.start / 1000 for char in chars],
            "character_end_times_seconds": [char.end / 1000 for char in chars],
        }
        told = alignment if chars else None
        audio = base64.b64encode(piece).decode()
        yield {"audio_base64": audio, "alignment": told, "normalized_alignment": told}


@dataclass(frozen=True, slots=True)
class Char:
    """When one is said, in ms from the beginning of the answer."""

    text: str
    start: float
    end: float


def _shares(text: str, times: Sequence[float], count: int) -> list[list[Char]]:
    """The characters that begin in each of so many pieces; the last one has the rest."""
    shares: list[list[Char]] = [[] for _ in range(count)]
    if shares:
        for place, char in enumerate(text):
            share = min(int(times[place] / CHUNK_MS), count - 1)
            shares[share].append(Char(char, times[place], times[place + 1]))
    return shares


def _format(query: Mapping[str, str]) -> str:
    wanted = query.get("output_format", "mp3_44100_128")
    if wanted in DEAR_FORMATS:
        raise refusal(ELEVENLABS, 403, message=f"Output format '{wanted}' is only available on the Pro tier and above.")
    if wanted not in FORMATS:
        raise refusal(ELEVENLABS, 400, message=f"the stand-in speaks {', '.join(FORMATS)}, not {wanted}")
    return wanted


def _encoded(pcm: bytes, audio_format: str) -> bytes:
    return to_ulaw(pcm) if audio_format.startswith("ulaw") else pcm


def _bytes_per_second(audio_format: str) -> int:
    return FORMATS[audio_format] * (1 if audio_format.startswith("ulaw") else 2)


def _unknown_voice(request: web.Request) -> str:
    return f"A voice with voice_id '{request.match_info['voice']}' was not found."


# -- the multi-context socket ----------------------------------------------------------------------------


async def converse(request: web.Request) -> web.WebSocketResponse:
    key = _key(request) or request.query.get("xi-api-key") or request.query.get("single_use_token")
    async with received(request, ELEVENLABS_CONNECT, key) as (backstage, recorded):
        _format(request.query)
        if re.match("eleven_v[34]", request.query.get("model_id", "")):
            raise refusal(ELEVENLABS, 403, message="This model has another socket.")
        socket = await open_socket(request, backstage, recorded)
        conversation = Conversation(backstage, recorded, socket, request)
        if request.match_info["voice"] not in VOICES:
            await conversation.refuse("voice_id_does_not_exist", _unknown_voice(request))
        else:
            await conversation.run()
        return socket


class Context:
    """One stream of speech on the socket: the text that waits, and the texts that are being spoken."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.speed = float(settings.get("speed") or 1.0)
        self.waiting = ""
        self.texts: asyncio.Queue[str | None] = asyncio.Queue()
        self.generations = 0
        self.closing = False
        self.idle: asyncio.TimerHandle | None = None

    def flush(self) -> None:
        """Speak what waits."""
        if self.waiting.strip() and not self.closing:
            self.texts.put_nowait(self.waiting)
            self.generations += 1
        self.waiting = ""

    def close(self) -> None:
        """Speak what was flushed, and nothing more."""
        if not self.closing:
            self.closing = True
            self.texts.put_nowait(None)

    @property
    def is_due(self) -> bool:
        return len(self.waiting) >= BUFFERED_CHARS[min(self.generations, len(BUFFERED_CHARS) - 1)]


class Conversation:
    """One socket. A flush alone never brings `isFinal`; only the end of a context does, and frees its place."""

    def __init__(
        self, backstage: Backstage, recorded: Recorded, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._request = request
        self._format = request.query["output_format"]
        self._aligned = request.query.get("sync_alignment") == "true"
        self._auto = request.query.get("auto_mode") == "true"
        self._idle_seconds = min(float(request.query.get("inactivity_timeout", IDLE_SECONDS)), LONGEST_IDLE_SECONDS)
        self._contexts: dict[str, Context] = {}
        self._speakers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if await self._read(tasks):
                for context in self._contexts.values():
                    context.close()
                await asyncio.gather(*self._speakers)
                await self._socket.close()
            for speaker in self._speakers:
                speaker.cancel()

    async def refuse(self, error: str, message: str) -> None:
        await send_text(self._socket, json.dumps({"message": message, "error": error, "code": 1008}))
        await self._socket.close(code=1008, message=message.encode()[:120])

    async def _read(self, tasks: asyncio.TaskGroup) -> bool:
        """Until the client is done; whether it waits for what is still to be spoken."""
        while True:
            try:
                message = await self._socket.receive(timeout=self._idle_seconds)
            except TimeoutError:
                text = f"Have not received a new text input within the timeout of {self._idle_seconds:g} seconds."
                await self.refuse("input_timeout_exceeded", text)
                return False
            if message.type is not WSMsgType.TEXT:
                self._recorded.end(Outcome.ANSWERED)
                return False
            order = parsed(message.data)
            if order is None:
                await self.refuse("invalid_message", "The message is not JSON.")
                return False
            self._recorded.messages.append(order)
            if order.get("close_socket"):
                self._recorded.end(Outcome.ANSWERED)
                return True
            if not await self._take(order, tasks):
                return False

    async def _take(self, order: Mapping[str, Any], tasks: asyncio.TaskGroup) -> bool:
        """Whether the socket goes on after this message."""
        name = order.get("context_id") or order.get("contextId") or "default"
        context = self._contexts.get(name)
        if context is None or (context.closing and not order.get("close_context")):
            if order.get("close_context"):
                return True
            if len(self._speakers) >= MOST_CONTEXTS:
                text = f"Maximum simultaneous contexts per WebSocket connection exceeded ({MOST_CONTEXTS})."
                await self.refuse("max_active_conversations", text)
                return False
            context = self._open(name, order, tasks)
        self._feed(context, order)
        return True

    def _open(self, name: str, order: Mapping[str, Any], tasks: asyncio.TaskGroup) -> Context:
        context = self._contexts[name] = Context(name, order.get("voice_settings") or {})
        speaker = tasks.create_task(self._speak(context))
        self._speakers.add(speaker)
        speaker.add_done_callback(self._speakers.discard)
        return context

    def _feed(self, context: Context, order: Mapping[str, Any]) -> None:
        if order.get("close_context"):
            context.close()
            return
        context.waiting += order.get("text") or ""
        ends_sentence = context.waiting.rstrip().endswith((".", "!", "?"))
        if order.get("flush") or context.is_due or (self._auto and ends_sentence):
            context.flush()
        if context.idle:
            context.idle.cancel()
        context.idle = asyncio.get_running_loop().call_later(self._idle_seconds, context.close)

    async def _speak(self, context: Context) -> None:
        while text := await context.texts.get():
            await self._generate(context, text)
        if context.idle:
            context.idle.cancel()
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]
        await send_text(self._socket, json.dumps({"isFinal": True, "contextId": context.name}))

    async def _generate(self, context: Context, text: str) -> None:
        self._recorded.text += text
        behaviour = self._backstage.steering.choose(ELEVENLABS_SPEAK, text)
        await first_byte(behaviour)
        if behaviour.fault is Fault.REFUSE:
            await self.refuse(error_status(behaviour.status), "refused by the stand-in")
            return
        end = f', "contextId": {json.dumps(context.name)}}}'
        try:
            async for piece in paced(behaviour, self._pieces(text, behaviour, context.speed)):
                await send_text(self._socket, piece + end)
        except Faulted as faulted:
            if faulted.fault is Fault.ERROR:
                await self.refuse(error_status(behaviour.status), "refused by the stand-in midway")
            else:
                await break_socket(self._request, self._socket, faulted.fault)

    def _pieces(self, text: str, behaviour: Behaviour, speed: float) -> tuple[str, ...]:
        pcm = self._backstage.voice(text, FORMATS[self._format], behaviour, speed)
        times = self._backstage.char_times(text, len(pcm) / 2 / FORMATS[self._format] * 1000, speed)
        return _messages(pcm, self._format, text if self._aligned else "", tuple(times))


@lru_cache(maxsize=256)
def _messages(pcm: bytes, audio_format: str, aligned: str, times: tuple[float, ...]) -> tuple[str, ...]:
    """Audio as messages that lack only their context; `aligned` is the text whose times they tell, if they do."""
    pieces = chunks(_encoded(pcm, audio_format), _bytes_per_second(audio_format))
    messages = []
    for place, (piece, chars) in enumerate(zip(pieces, _shares(aligned, times, len(pieces)), strict=True)):
        alignment = _alignment(chars, place * CHUNK_MS) if chars else None
        message = {"audio": base64.b64encode(piece).decode(), "isFinal": None}
        messages.append(json.dumps({**message, "normalizedAlignment": alignment, "alignment": alignment})[:-1])
    return tuple(messages)


def _alignment(chars: list[Char], before: float) -> dict[str, list[Any]]:
    """Times are relative to the chunk, as the service tells them."""
    return {
        "chars": [char.text for char in chars],
        "charStartTimesMs": [round(char.start - before) for char in chars],
        "charDurationsMs": [round(char.end) - round(char.start) for char in chars],
    }
