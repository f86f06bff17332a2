"""OpenAI's HTTP API: chat completions, transcriptions, speech and models."""

import io
import itertools
import time
import wave
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import Answer, bearer, chunks, enter, json_answer, received, send, sse
from tests.providers.brain import Call, Thought, last_user_text, tokens
from tests.providers.chat_messages import check_messages, functions_of
from tests.providers.paths import add_shared
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.steering import Fault

CODES = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    kind, code = CODES.get(status, ("invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}, {}


OPENAI = Provider("openai", complaint)
OPENAI_CHAT = OPENAI.route("chat", Kind.EVENTS)
OPENAI_TRANSCRIPTIONS = OPENAI.route("transcriptions")
OPENAI_SPEECH = OPENAI.route("speech", Kind.RAW_VOICE)
OPENAI_MODELS = OPENAI.route("models")
TURNS = (
    Turn(Role.STT, "openai", OPENAI_TRANSCRIPTIONS),
    Turn(Role.LLM, "openai", OPENAI_CHAT),
    Turn(Role.TTS, "openai", OPENAI_SPEECH, values={"voice": {"voice": "nova"}}),
    Turn(Role.STT, "custom", OPENAI_TRANSCRIPTIONS, options={"model": "whisper-1"}),
    Turn(Role.LLM, "custom", OPENAI_CHAT, options={"model": "gpt-4o"}),
    Turn(
        Role.TTS,
        "custom",
        OPENAI_SPEECH,
        options={"model": "tts-1", "voice": "alloy"},
        values={"voice": {"voice": "nova"}},
        unseen={"sample_rate": "it says what the endpoint sends, which cannot be asked for"},
    ),
)

SPEECH_RATE = 24_000
SPEECH_VOICES: tuple[object, ...] = ("alloy", "ash", "coral", "echo", "nova", "onyx", {"id": "voice_1234"})
"""Some, and one that an account has made."""
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4o-mini-transcribe", "whisper-1", "gpt-4o-mini-tts", "tts-1")
SHORTEST_SECONDS = 0.1
LOGPROBS = ("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15")
FormField = str | bytes | bytearray | web.FileField
_CREATED = 1_700_000_000


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/audio/transcriptions", transcribe)
    app.router.add_post("/v1/audio/speech", speak)
    add_shared(app, "GET", "/v1/models", list_models)


def environment(url: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": "stand-in-openai", "OPENAI_BASE_URL": f"{url}/v1"}


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, OPENAI_MODELS, bearer(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "openai"} for name in MODELS]
        return await send(request, recorded, behaviour, json_answer({"object": "list", "data": data}))


# -- chat ------------------------------------------------------------------------------------------------


async def chat(request: web.Request) -> web.StreamResponse:
    async with received(request, OPENAI_CHAT, bearer(request)) as (backstage, recorded):
        body = recorded.body = await request.json()
        for name in ("model", "messages"):
            if not body.get(name):
                raise refusal(OPENAI, 400, message=f"Missing required parameter: '{name}'.", param=name)
        check_messages(OPENAI, body["messages"])
        functions = functions_of(OPENAI, body.get("tools") or ())
        behaviour = await enter(backstage, recorded, last_user_text(body["messages"]))
        thought = backstage.think(body["messages"], functions, behaviour)
        answer = _streamed(body, thought) if body.get("stream") else _whole(body, thought)
        return await send(request, recorded, behaviour, answer)


def _limit(body: Mapping[str, Any], thought: Thought) -> tuple[list[str], str]:
    """The tokens of the answer's text and why it ends."""
    words = tokens(thought.text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return words[:limit], "tool_calls" if thought.calls else "length" if limit < len(words) else "stop"


def _usage(body: Mapping[str, Any], thought: Thought) -> dict[str, int]:
    asked = sum(len(str(message.get("content", "")).split()) for message in body["messages"])
    told = min(thought.length, body.get("max_completion_tokens") or body.get("max_tokens") or thought.length)
    return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}


def _whole(body: Mapping[str, Any], thought: Thought) -> Answer:
    words, reason = _limit(body, thought)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None}
    if thought.calls:
        message["tool_calls"] = [
            _begun(call) | {"function": {"name": call.name, "arguments": "".join(call.pieces)}}
            for call in thought.calls
        ]
    return json_answer(
        {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
            "usage": _usage(body, thought),
        }
    )


def _streamed(body: Mapping[str, Any], thought: Thought) -> Answer:
    wants_usage = (body.get("stream_options") or {}).get("include_usage")
    words, reason = _limit(body, thought)
    common = {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body["model"],
        **({"usage": None} if wants_usage else {}),
    }

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return sse({**common, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})

    usage = sse({**common, "choices": [], "usage": _usage(body, thought)}) if wants_usage else b""
    return Answer(
        content_type="text/event-stream; charset=utf-8",
        head=chunk({"role": "assistant", "content": None if thought.calls else ""}),
        pieces=[chunk({"content": word}) for word in words]
        + [chunk(delta) for place, call in enumerate(thought.calls) for delta in _deltas(place, call)],
        tail=chunk({}, reason) + usage + sse("[DONE]"),
        garbage=b'data: {"id": "chatcmpl-\n\n',
    )


def _begun(call: Call) -> dict[str, Any]:
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": {"name": call.name, "arguments": ""}}


def _deltas(place: int, call: Call) -> Iterator[dict[str, Any]]:
    """A call as it grows: its name first, then its arguments in pieces that break anywhere."""
    yield {"tool_calls": [{"index": place, **_begun(call)}]}
    for piece in call.pieces:
        yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


# -- transcriptions --------------------------------------------------------------------------------------


async def transcribe(request: web.Request) -> web.StreamResponse:
    async with received(request, OPENAI_TRANSCRIPTIONS, bearer(request)) as (backstage, recorded):
        form = await request.post()
        recorded.body = {name: _field(value) for name, value in form.items()}
        pcm, rate = _audio(form.get("file"))
        recorded.audio_bytes = len(pcm)
        if not form.get("model"):
            raise refusal(OPENAI, 400, message="you must provide a model parameter", param="model")
        text = backstage.ears.recognise(pcm, rate)
        behaviour = await enter(backstage, recorded, text)
        heard = "" if behaviour.fault is Fault.EMPTY else text
        return await send(request, recorded, behaviour, _transcript(recorded.body, heard, len(pcm) / 2 / rate))


def _field(value: FormField) -> object:
    if isinstance(value, web.FileField):
        size = value.file.seek(0, io.SEEK_END)
        value.file.seek(0)
        return {"filename": value.filename, "content_type": value.content_type, "bytes": size}
    return str(value)


def _audio(upload: FormField | None) -> tuple[bytes, int]:
    """The samples of a WAV file and their rate."""
    if not isinstance(upload, web.FileField):
        raise refusal(OPENAI, 400, message="[{'type': 'missing', 'loc': ('body', 'file')}]", param="file")
    try:
        with wave.open(upload.file, "rb") as sound:
            frames, rate = sound.readframes(sound.getnframes()), sound.getframerate()
            shape = (sound.getnchannels(), sound.getsampwidth())
    except (wave.Error, EOFError):
        raise refusal(OPENAI, 400, message="Invalid file format. The stand-in reads WAV.", param="file") from None
    finally:
        upload.file.close()
    if shape != (1, 2):
        raise refusal(OPENAI, 400, message="The stand-in reads 16-bit mono WAV.", param="file")
    if len(frames) / 2 / rate < SHORTEST_SECONDS:
        raise refusal(OPENAI, 400, message="Audio file is too short. Minimum audio length is 0.1 seconds.")
    return frames, rate


def _transcript(form: Mapping[str, Any], text: str, seconds: float) -> Answer:
    wanted, has_logprobs = form.get("response_format", "json"), "include[]" in form
    if has_logprobs and (wanted != "json" or form["model"] not in LOGPROBS):
        message = "'include' with 'logprobs' needs the response_format json and a model that has them."
        raise refusal(OPENAI, 400, message=message, param="include")
    if "prompt" in form and form["model"] == "gpt-4o-transcribe-diarize":
        raise refusal(OPENAI, 400, message="This model takes no prompt.", param="prompt")
    if wanted == "verbose_json" and str(form["model"]).startswith("gpt-"):
        message = f"response_format 'verbose_json' is not compatible with model '{form['model']}'."
        raise refusal(OPENAI, 400, message=message, param="response_format")
    if "-" in str(form.get("language", "")):
        raise refusal(OPENAI, 400, message="Language parameter must be in ISO-639-1 format.", param="language")
    duration = {"type": "duration", "seconds": round(seconds, 2)}
    if form.get("stream") == "true" and form["model"] != "whisper-1":
        return _transcript_events(text)
    if wanted == "text":
        return Answer("text/plain; charset=utf-8", (f"{text}\n".encode(),))
    if wanted == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": round(seconds, 2), "text": text, "seek": 0, "tokens": []}
        segment |= {"temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.01}
        whole = {"task": "transcribe", "language": "english", "duration": round(seconds, 2), "text": text}
        return json_answer(whole | {"segments": [segment] if text else [], "usage": duration})
    if wanted == "json":
        logprobs = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in tokens(text)]
        return json_answer({"text": text, **({"logprobs": logprobs} if has_logprobs else {}), "usage": duration})
    message = f"response_format '{wanted}' is not one of json, verbose_json, text"
    raise refusal(OPENAI, 400, message=message, param="response_format")


def _transcript_events(text: str) -> Answer:
    return Answer(
        content_type="text/event-stream; charset=utf-8",
        pieces=[sse({"type": "transcript.text.delta", "delta": word}) for word in tokens(text)],
        tail=sse({"type": "transcript.text.done", "text": text}) + sse("[DONE]"),
        garbage=b'data: {"type": "transcript.\n\n',
    )


# -- speech ----------------------------------------------------------------------------------------------


async def speak(request: web.Request) -> web.StreamResponse:
    async with received(request, OPENAI_SPEECH, bearer(request)) as (backstage, recorded):
        body = recorded.body = await request.json()
        for name in ("model", "input", "voice"):
            if not body.get(name):
                raise refusal(OPENAI, 400, message=f"Missing required parameter: '{name}'.", param=name)
        speed = float(body.get("speed", 1.0))
        if not 0.25 <= speed <= 4:
            raise refusal(OPENAI, 400, message="speed must be between 0.25 and 4.0", param="speed")
        if body["voice"] not in SPEECH_VOICES:
            message = f"Invalid value: '{body['voice']}'. Supported values are: {SPEECH_VOICES}."
            raise refusal(OPENAI, 400, message=message, param="voice")
        head, content_type = _container(body.get("response_format", "mp3"))
        behaviour = await enter(backstage, recorded, body["input"])
        pcm = backstage.voice(body["input"], SPEECH_RATE, behaviour, speed)
        return await send(request, recorded, behaviour, Answer(content_type, chunks(pcm, SPEECH_RATE * 2), head))


def _container(wanted: str) -> tuple[bytes, str]:
    if wanted == "pcm":
        return b"", "audio/pcm"
    if wanted == "wav":
        return _endless_wav_header(), "audio/wav"
    message = f"the stand-in speaks response_format pcm and wav, not {wanted}"
    raise refusal(OPENAI, 400, message=message, param="response_format")


def _endless_wav_header() -> bytes:
    """A WAV header for a stream of unknown length, as OpenAI sends it."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, SPEECH_RATE, 0, "NONE", ""))
            sound.writeframes(b"")
        header = bytearray(file.getvalue())
    for place in itertools.chain(range(4, 8), range(40, 44)):
        header[place] = 0xFF
    return bytes(header)
