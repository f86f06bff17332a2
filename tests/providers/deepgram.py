"""Deepgram: live transcription over a WebSocket, and the list of projects."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import (
    Backstage,
    Outcome,
    Recorded,
    enter,
    json_answer,
    open_socket,
    parsed,
    received,
    send,
    send_text,
)
from tests.providers.outbox import Outbox
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.ulaw import from_ulaw

CODES = {
    400: "Bad Request",
    401: "INVALID_AUTH",
    402: "ASR_PAYMENT_REQUIRED",
    403: "INSUFFICIENT_PERMISSIONS",
    404: "PROJECT_NOT_FOUND",
    429: "TOO_MANY_REQUESTS",
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    request_id = str(uuid4())
    body = {"err_code": CODES.get(status, "INTERNAL_SERVER_ERROR"), "err_msg": message, "request_id": request_id}
    return body, {"dg-request-id": request_id, "dg-error": message}


DEEPGRAM = Provider("deepgram", complaint)
DEEPGRAM_CONNECT = DEEPGRAM.route("connect", Kind.HANDSHAKE)
DEEPGRAM_LISTEN = DEEPGRAM.route("listen", Kind.MESSAGE)
"""An answer is the final result of an utterance; its text is the transcript."""
DEEPGRAM_PROJECTS = DEEPGRAM.route("projects")
TURNS = (
    Turn(
        Role.STT,
        "deepgram",
        DEEPGRAM_CONNECT,
        DEEPGRAM_LISTEN,
        values={
            "keywords": {"model": "nova-2", "keywords": ["MeshAG:2"]},
            "language_hint": {"language": "multi", "language_hint": ["de", "en"]},
        },
    ),
)

IDLE_SECONDS = web.AppKey("deepgram_idle_seconds", float)
IDLE_REASON = b"Deepgram did not receive audio data or a text message within the timeout window. See NET-0001"
INTERIM_MS = 400
"""Audio between two interim results, which may be empty; the service sends one about each second."""
KEPT_SILENCE_MS = 500
VOICED = 150.0
HANGOVER_MS = 200
"""Added to `endpointing`, so that the closure of a consonant ends nothing."""
NOTICEABLE_MS = 100
"""A Finalize with less audio than this to process gets no answer, as the service says it may."""
MODEL = {"name": "general-nova-3", "version": "2025-01-01.0", "arch": "nova-3"}


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/listen", listen)
    app.router.add_get("/v1/projects", list_projects)


def environment(url: str) -> dict[str, str]:
    return {"DEEPGRAM_API_KEY": "stand-in-deepgram", "DEEPGRAM_BASE_URL": url}


def api_key(request: web.Request) -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key if scheme.lower() in ("token", "bearer") else None


async def list_projects(request: web.Request) -> web.StreamResponse:
    async with received(request, DEEPGRAM_PROJECTS, api_key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        project = {"project_id": "00000000-0000-4000-8000-000000000001", "name": "Stand-in"}
        return await send(request, recorded, behaviour, json_answer({"projects": [project]}))


async def listen(request: web.Request) -> web.WebSocketResponse:
    async with received(request, DEEPGRAM_CONNECT, api_key(request)) as (backstage, recorded):
        options = Options.of(request.query)
        socket = await open_socket(request, backstage, recorded)
        await Listening(backstage, recorded, socket, request, options).run(request.app[IDLE_SECONDS])
        return socket


@dataclass(frozen=True, slots=True)
class Options:
    """What the stand-in does with a connection's parameters; all of them are recorded."""

    encoding: str
    rate: int
    interims: bool
    endpointing_ms: int | None
    utterance_end_ms: int | None
    vad_events: bool
    formatted: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Options":
        encoding, rate = query.get("encoding", ""), query.get("sample_rate", "")
        if encoding not in ("linear16", "mulaw"):
            raise refusal(DEEPGRAM, 400, message="the stand-in hears encoding=linear16 and mulaw")
        if not rate.isdigit() or not 8000 <= int(rate) <= 48_000:
            raise refusal(DEEPGRAM, 400, message="sample_rate is required with encoding, 8000 to 48000")
        if query.get("channels", "1") != "1":
            raise refusal(DEEPGRAM, 400, message="the stand-in hears channels=1")
        _check_vocabulary(query)
        endpointing, utterance_end = query.get("endpointing", "10"), query.get("utterance_end_ms", "")
        return cls(
            encoding=encoding,
            rate=int(rate),
            interims=query.get("interim_results") == "true",
            endpointing_ms=None if endpointing == "false" else 10 if endpointing == "true" else int(endpointing),
            utterance_end_ms=int(utterance_end) if utterance_end else None,
            vad_events=query.get("vad_events") == "true",
            formatted="true" in (query.get("punctuate"), query.get("smart_format")),
        )


def _check_vocabulary(query: Mapping[str, str]) -> None:
    is_newest = query.get("model", "").startswith("nova-3")
    if "keyterm" in query and not is_newest:
        raise refusal(DEEPGRAM, 400, message="Keyterms are only supported with Nova-3.")
    if "language_hint" in query and not (is_newest and query.get("language") == "multi"):
        raise refusal(DEEPGRAM, 400, message="language_hint needs Nova-3 and language=multi.")
    if "keywords" in query and is_newest:
        raise refusal(DEEPGRAM, 400, message="Keywords are not supported with Nova-3; use keyterm.")


class Listening:
    """One connection: what was heard since the last final result, and the messages that are due."""

    def __init__(
        self,
        backstage: Backstage,
        recorded: Recorded,
        socket: web.WebSocketResponse,
        request: web.Request,
        options: Options,
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._options = options
        self._id = str(uuid4())
        self._outbox = Outbox(request, socket, self._refuse)
        self._audio = bytearray()
        self._before = 0
        """Samples heard before those in `_audio`."""
        self._interim_at = 0.0
        self._unspoken_ms = 0.0
        self._silence_ms = 0.0
        self._speaking = False
        self._utterance_open = False

    async def run(self, idle_seconds: float) -> None:
        await self._outbox.run_while(self._read(idle_seconds))

    async def _read(self, idle_seconds: float) -> bool:
        """Until the client is done; whether it waits for what is still due."""
        while True:
            try:
                message = await self._socket.receive(timeout=idle_seconds)
            except TimeoutError:
                await self._socket.close(code=1011, message=IDLE_REASON)
                return False
            if message.type is WSMsgType.BINARY and message.data:
                self._hear(message.data)
                continue
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                self._recorded.end(Outcome.ANSWERED)
                return False
            command = parsed(message.data) if message.type is WSMsgType.TEXT else {"type": "CloseStream"}
            if command is None:
                await self._socket.close(code=1008, message=b"DATA-0000: the text message is not JSON")
                return False
            if self._obey(command):
                return True

    def _obey(self, command: dict[str, Any]) -> bool:
        """Whether it was the last command. An empty binary message ends the stream as well."""
        self._recorded.messages.append(command)
        match command.get("type"):
            case "Finalize" if self._buffered_ms >= NOTICEABLE_MS:
                self._final(speech_final=True, from_finalize=True)
            case "CloseStream":
                self._conclude()
                return True
        return False

    def _conclude(self) -> None:
        if self._buffered_ms >= NOTICEABLE_MS:
            self._final(speech_final=True)
        seconds = (self._before + len(self._audio) // 2) / self._options.rate
        metadata = {"type": "Metadata", "transaction_key": "deprecated", "request_id": self._id, "channels": 1}
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._outbox.post({**metadata, "sha256": "0" * 64, "created": created, "duration": seconds})
        self._recorded.end(Outcome.ANSWERED)

    # -- listening ---------------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> None:
        pcm = from_ulaw(data) if self._options.encoding == "mulaw" else data
        self._recorded.audio_bytes += len(data)
        self._audio += pcm
        self._notice_voice(pcm)
        endpointing = self._options.endpointing_ms
        if self._speaking and endpointing is not None and self._silence_ms >= endpointing + HANGOVER_MS:
            self._final(speech_final=True)
        elif self._speaking and self._options.interims and self._buffered_ms - self._interim_at >= INTERIM_MS:
            self._interim()
        elif not self._speaking:
            self._hear_nothing(len(pcm))
            self._forget_silence()

    def _notice_voice(self, pcm: bytes) -> None:
        silence = trailing_silence_ms(pcm, self._options.rate)
        if silence is None:
            self._silence_ms += len(pcm) / 2 / self._options.rate * 1000
        else:
            if not self._speaking and self._options.vad_events:
                self._outbox.post(
                    {"type": "SpeechStarted", "channel": [0], "timestamp": self._before / self._options.rate}
                )
            self._speaking, self._silence_ms = True, silence
        limit = self._options.utterance_end_ms
        if self._utterance_open and limit is not None and self._silence_ms >= limit:
            self._utterance_open = False
            self._outbox.post(
                {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": self._before / self._options.rate}
            )

    @property
    def _buffered_ms(self) -> float:
        return len(self._audio) / 2 / self._options.rate * 1000

    def _hear_nothing(self, size: int) -> None:
        """While nobody speaks, too, the service tells that it listens."""
        self._unspoken_ms += size / 2 / self._options.rate * 1000
        if self._options.interims and self._unspoken_ms >= INTERIM_MS:
            self._unspoken_ms = 0.0
            self._outbox.post(self._results("", is_final=False, speech_final=False))

    def _forget_silence(self) -> None:
        spare = len(self._audio) - 2 * self._options.rate * KEPT_SILENCE_MS // 1000
        if spare > 0:
            spare -= spare % 2
            del self._audio[:spare]
            self._before += spare // 2

    # -- results -----------------------------------------------------------------------------------------

    def _interim(self) -> None:
        self._interim_at = self._buffered_ms
        self._outbox.post(self._results(self._transcript(), is_final=False, speech_final=False))

    def _final(self, *, speech_final: bool, from_finalize: bool = False) -> None:
        text = self._transcript()
        behaviour, shown = self._backstage.transcribe(self._recorded, DEEPGRAM_LISTEN, text)
        results = self._results(shown, is_final=True, speech_final=speech_final)
        self._outbox.post({**results, "from_finalize": from_finalize}, behaviour)
        self._before += len(self._audio) // 2
        self._audio.clear()
        self._interim_at = 0.0
        self._speaking = False
        self._utterance_open = bool(text)

    def _transcript(self) -> str:
        text = self._backstage.ears.recognise(bytes(self._audio), self._options.rate)
        return text if self._options.formatted else "".join(c for c in text.lower() if c.isalnum() or c in " '")

    def _results(self, text: str, *, is_final: bool, speech_final: bool) -> dict[str, Any]:
        start, duration = self._before / self._options.rate, self._buffered_ms / 1000
        words = _words(text, start, duration)
        confidence = 0.99 if text else 0.0
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": duration,
            "start": start,
            "is_final": is_final,
            "speech_final": speech_final,
            "from_finalize": False,
            "channel": {"alternatives": [{"transcript": text, "confidence": confidence, "words": words}]},
            "metadata": {"request_id": self._id, "model_info": MODEL, "model_uuid": str(UUID(int=3))},
        }

    async def _refuse(self, status: int) -> None:
        error = {"type": "Error", "variant": f"HTTP_{status}", "description": "refused by the stand-in", "message": ""}
        await send_text(self._socket, json.dumps(error))
        await self._socket.close(code=1011, message=b"refused by the stand-in")


def trailing_silence_ms(pcm: bytes, rate: int) -> float | None:
    """Silence at the end of audio that has a voice in it; None when it has none."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    frame = min(rate // 50, len(samples)) or 1
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    voiced = np.flatnonzero(np.einsum("ij,ij->i", frames, frames) > VOICED**2 * frame)
    return None if not len(voiced) else (len(frames) - 1 - int(voiced[-1])) * frame / rate * 1000


def _words(text: str, start: float, duration: float) -> list[dict[str, Any]]:
    """The words in even steps through the audio."""
    words = text.split()
    step = duration / max(len(words), 1)
    return [
        {
            "word": "".join(c for c in word.lower() if c.isalnum() or c == "'"),
            "punctuated_word": word,
            "start": round(start + place * step, 3),
            "end": round(start + (place + 1) * step, 3),
            "confidence": 0.99,
        }
        for place, word in enumerate(words)
    ]
