"""OpenAI's Realtime API as far as transcription goes: a session, an audio buffer, and items that become text."""

import asyncio
import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import (
    Backstage,
    Outcome,
    Recorded,
    bearer,
    open_socket,
    parsed,
    received,
    send_text,
)
from tests.providers.brain import tokens
from tests.providers.openai import CODES, complaint
from tests.providers.outbox import Outbox
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.steering import PROMPT, Behaviour, Fault

OPENAI_REALTIME = Provider("openai_realtime", complaint)
OPENAI_REALTIME_CONNECT = OPENAI_REALTIME.route("connect", Kind.HANDSHAKE)
OPENAI_REALTIME_TRANSCRIPT = OPENAI_REALTIME.route("transcript", Kind.MESSAGE)
"""An answer is the completed transcription of a committed item."""
TURNS = (
    Turn(
        Role.STT,
        "openai_realtime",
        OPENAI_REALTIME_CONNECT,
        OPENAI_REALTIME_TRANSCRIPT,
        values={"model": {"model": "gpt-4o-transcribe"}},
    ),
)

SESSION_SECONDS = 3600.0
RATE = 24_000
SHORTEST_MS = 100
INTERIM_MS = 400
LIVE = ("gpt-live-transcribe", "gpt-realtime-whisper")
MODELS = (*LIVE, "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1")
TAKEN_BY = {
    "keywords": ("gpt-transcribe", "gpt-live-transcribe"),
    "languages": ("gpt-transcribe", "gpt-live-transcribe"),
    "delay": LIVE,
    "prompt": tuple(model for model in MODELS if model != "gpt-realtime-whisper"),
    "language": MODELS,
    "model": MODELS,
}
UNINTELLIGIBLE = ("transcription_error", "audio_unintelligible")
"""What a refusal with 422 says."""
ITEM = "conversation.item.input_audio_transcription"


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/realtime", transcribe)


def environment(url: str) -> dict[str, str]:
    """That of the HTTP API."""
    return {}


async def transcribe(request: web.Request) -> web.WebSocketResponse:
    async with received(request, OPENAI_REALTIME_CONNECT, bearer(request)) as (backstage, recorded):
        if request.query.get("intent") != "transcription" or "model" in request.query:
            raise refusal(OPENAI_REALTIME, 400, message="The stand-in has intent=transcription without a model only.")
        socket = await open_socket(request, backstage, recorded)
        await Session(backstage, recorded, socket, request).run()
        return socket


class Wrong(Exception):
    """An event that the server answers with an error; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Session:
    def __init__(
        self, backstage: Backstage, recorded: Recorded, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._outbox = Outbox(request, socket)
        self._transcription: dict[str, Any] | None = None
        self._include: list[str] = []
        self._buffer = bytearray()
        self._shown = ""
        self._looked_at = 0
        self._last_item: str | None = None
        self._item = _new_id("item")

    async def run(self) -> None:
        self._post({"type": "session.created", "session": self._session()})
        writer = asyncio.create_task(self._outbox.run())
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                await self._read()
        except TimeoutError:
            message = "Your session hit the maximum duration of 60 minutes."
            await send_text(self._socket, json.dumps(_error("session_expired", message)))
            await self._socket.close()
        finally:
            writer.cancel()
        self._recorded.end(Outcome.ANSWERED)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                self._post(_error("invalid_event", "The server takes text messages."))
                continue
            event = parsed(message.data)
            try:
                if event is None:
                    raise Wrong("invalid_json", "The message is not valid JSON.")
                self._obey(event)
            except Wrong as wrong:
                self._post(_error(wrong.code, str(wrong), wrong.param, (event or {}).get("event_id")))

    def _obey(self, event: dict[str, Any]) -> None:
        if event.get("type") != "input_audio_buffer.append":
            self._recorded.messages.append(event)
        match event.get("type"):
            case "session.update":
                self._update(event.get("session"))
            case "input_audio_buffer.append":
                self._hear(event.get("audio"))
            case "input_audio_buffer.clear":
                self._forget()
                self._post({"type": "input_audio_buffer.cleared"})
            case "input_audio_buffer.commit":
                self._commit()
            case other:
                raise Wrong("invalid_value", f"Invalid value: '{other}'.", "type")

    def _session(self) -> dict[str, Any]:
        heard = {"format": {"type": "audio/pcm", "rate": RATE}, "transcription": self._transcription}
        audio = {"input": {**heard, "noise_reduction": None, "turn_detection": None}}
        return {"type": "transcription", "object": "realtime.transcription_session", "id": "sess_1", "audio": audio}

    def _update(self, session: Any) -> None:
        if not isinstance(session, Mapping) or session.get("type") != "transcription":
            raise Wrong("missing_required_parameter", "Missing required parameter: 'session.type'.", "session.type")
        _allow("session", session, ("type", "audio", "include"))
        _allow("session.audio", session["audio"], ("input",))
        heard = session["audio"]["input"]
        _allow("session.audio.input", heard, ("format", "transcription", "noise_reduction", "turn_detection"))
        if heard.get("format", {"type": "audio/pcm", "rate": RATE}) != {"type": "audio/pcm", "rate": RATE}:
            raise Wrong("invalid_value", "The stand-in takes audio/pcm at 24000.", "session.audio.input.format")
        if heard.get("turn_detection", "server_vad") is not None:
            raise Wrong("invalid_value", "The stand-in has no VAD.", "session.audio.input.turn_detection")
        if (heard.get("noise_reduction") or {"type": "near_field"})["type"] not in ("near_field", "far_field"):
            raise Wrong("invalid_value", "near_field or far_field", "session.audio.input.noise_reduction.type")
        self._transcription = _checked(heard.get("transcription"))
        self._include = session.get("include", [])
        self._post({"type": "session.updated", "session": self._session()})

    # -- the buffer --------------------------------------------------------------------------------------

    def _hear(self, audio: Any) -> None:
        try:
            pcm = base64.b64decode(audio, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Wrong("invalid_value", "Invalid 'audio'. Expected base64-encoded audio bytes.", "audio") from None
        if len(pcm) % 2:
            raise Wrong("invalid_value", "Invalid 'audio'. Expected whole samples.", "audio")
        self._buffer += pcm
        self._recorded.audio_bytes += len(pcm)
        if self._is_live and len(self._buffer) - self._looked_at >= INTERIM_MS * RATE // 500:
            self._look()

    @property
    def _is_live(self) -> bool:
        return bool(self._transcription) and self._transcription["model"] in LIVE  # type: ignore[index]

    def _look(self) -> None:
        """Live models write as they hear, and take nothing back."""
        self._looked_at = len(self._buffer)
        text = self._text().rpartition(" ")[0]
        if text.startswith(self._shown) and text != self._shown:
            self._post(self._delta(text[len(self._shown) :]))
            self._shown = text

    def _forget(self) -> None:
        self._buffer.clear()
        self._shown = ""
        self._looked_at = 0
        self._item = _new_id("item")

    def _commit(self) -> None:
        held = len(self._buffer) / 2 / RATE * 1000
        if held < SHORTEST_MS:
            message = f"buffer too small. Expected at least {SHORTEST_MS}ms of audio, but buffer only has {held:.2f}ms"
            raise Wrong("input_audio_buffer_commit_empty", f"Error committing input audio buffer: {message} of audio.")
        place = {"previous_item_id": self._last_item}
        item = {"id": self._item, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        item |= {"content": [{"type": "input_audio", "transcript": None}]}  # type: ignore[dict-item]
        self._post({"type": "input_audio_buffer.committed", "item_id": self._item, **place})
        self._post({"type": "conversation.item.added", "item": item, **place})
        self._post({"type": "conversation.item.done", "item": item, **place})
        if self._transcription:
            self._transcribe()
        self._last_item = self._item
        self._forget()

    def _text(self) -> str:
        return self._backstage.ears.recognise(bytes(self._buffer), RATE)

    def _transcribe(self) -> None:
        text = self._text()
        behaviour, shown = self._backstage.transcribe(self._recorded, OPENAI_REALTIME_TRANSCRIPT, text)
        prompt = Behaviour(first_ms=behaviour.first_ms)
        if behaviour.fault is None:
            for event in self._rest_of(shown):
                self._post(event, prompt)
        if behaviour.fault in (Fault.REFUSE, Fault.ERROR):
            self._post(self._failed(behaviour.status), prompt)
        else:
            self._post(self._completed(shown), behaviour)

    def _rest_of(self, text: str) -> Iterator[dict[str, Any]]:
        """What no delta had yet: Whisper has all of it in one, the others have one a token."""
        rest = text.removeprefix(self._shown)
        whole = self._transcription and self._transcription["model"] == "whisper-1"
        yield from (self._delta(piece) for piece in ([rest] if whole else tokens(rest)))

    def _delta(self, text: str) -> dict[str, Any]:
        return {"type": f"{ITEM}.delta", "item_id": self._item, "content_index": 0, "delta": text}

    def _completed(self, text: str) -> dict[str, Any]:
        usage = {"type": "duration", "seconds": len(self._buffer) / 2 / RATE}
        event = {"type": f"{ITEM}.completed", "item_id": self._item, "content_index": 0, "transcript": text}
        if "item.input_audio_transcription.logprobs" in self._include:
            event["logprobs"] = [{"token": token, "logprob": -0.1, "bytes": []} for token in tokens(text)]
        return {**event, "usage": usage}

    def _failed(self, status: int) -> dict[str, Any]:
        kind, code = UNINTELLIGIBLE if status == 422 else CODES.get(status, ("invalid_request_error", None))
        error = {"type": kind, "code": code, "message": "refused by the stand-in", "param": None}
        return {"type": f"{ITEM}.failed", "item_id": self._item, "content_index": 0, "error": error}

    # -- sending -----------------------------------------------------------------------------------------

    def _post(self, event: dict[str, Any], behaviour: Behaviour = PROMPT) -> None:
        self._outbox.post({"event_id": _new_id("event"), **event}, behaviour)


def _allow(place: str, values: Any, names: tuple[str, ...]) -> None:
    if not isinstance(values, Mapping):
        raise Wrong("invalid_type", f"Invalid type for '{place}': expected an object.", place)
    if unknown := [name for name in values if name not in names]:
        raise Wrong("unknown_parameter", f"Unknown parameter: '{place}.{unknown[0]}'.", f"{place}.{unknown[0]}")


def _checked(transcription: Any) -> dict[str, Any] | None:
    if transcription is None:
        return None
    place = "session.audio.input.transcription"
    _allow(place, transcription, tuple(TAKEN_BY))
    model = transcription.get("model")
    if model not in MODELS:
        raise Wrong("invalid_value", f"Invalid value: '{model}'.", f"{place}.model")
    for name in transcription:
        if model not in TAKEN_BY[name]:
            raise Wrong("invalid_value", f"'{name}' is not supported with '{model}'.", f"{place}.{name}")
    return dict(transcription)


def _error(code: str, message: str, param: str | None = None, event_id: str | None = None) -> dict[str, Any]:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "event_id": _new_id("event"), "error": error}


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid4().hex[:20]}"
