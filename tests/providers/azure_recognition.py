"""Azure Speech's recognition: turns on a WebSocket, each with its context, its audio, its phrases and its end."""

import asyncio
import json
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.azure import complaint
from tests.providers.backstage import Backstage, Outcome, Recorded, open_socket, received
from tests.providers.deepgram import trailing_silence_ms
from tests.providers.outbox import Outbox
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.steering import PROMPT, Behaviour, Fault

AZURE_STT = Provider("azure_recognition", complaint)
AZURE_STT_CONNECT = AZURE_STT.route("connect", Kind.HANDSHAKE)
AZURE_STT_PHRASE = AZURE_STT.route("phrase", Kind.MESSAGE)
"""An answer is a turn's last phrase."""
TURNS = (Turn(Role.STT, "azure", AZURE_STT_CONNECT, AZURE_STT_PHRASE),)

CONNECTION_SECONDS = 600.0
TURN_MS = 600_000.0
"""Of audio, after which the service ends a turn by itself, at the end of a phrase."""
LARGEST = 8192
HYPOTHESIS_MS = 400
SEGMENTATION_MS = 500
TICKS_PER_MS = 10_000
STATUSES = {429: "TooManyRequests", 403: "Forbidden", 400: "BadRequest"}
CRLF = "\r\n"


def add_routes(app: web.Application) -> None:
    app.router.add_get("/speech/recognition/conversation/cognitiveservices/v1", recognize)


def environment(url: str) -> dict[str, str]:
    """That of the voice."""
    return {}


async def recognize(request: web.Request) -> web.WebSocketResponse:
    key = request.headers.get("Ocp-Apim-Subscription-Key")
    async with received(request, AZURE_STT_CONNECT, key) as (backstage, recorded):
        query = request.query
        is_known = query.get("format", "simple") in ("simple", "detailed") and ("language" in query) != ("cid" in query)
        if not is_known or len(request.headers.get("X-ConnectionId", "")) != 32:
            raise refusal(AZURE_STT, 400)
        socket = await open_socket(request, backstage, recorded)
        await Connection(backstage, recorded, socket, request).run()
        return socket


class Wrong(Exception):
    """What the protocol does not have; the service closes the connection."""


@dataclass(slots=True)
class Spoken:
    """The turn at hand."""

    id: str
    rate: int = 0
    before: int = 0
    """Samples before the phrase at hand."""
    is_over: bool = False


class Connection:
    def __init__(
        self, backstage: Backstage, recorded: Recorded, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._detailed = request.query.get("format") == "detailed"
        self._outbox = Outbox(request, socket, in_order=True)
        self._is_configured = False
        self._turn: Spoken | None = None
        self._past: set[str] = set()
        self._audio = bytearray()
        self._looked_at = 0.0
        self._silence_ms = 0.0
        self._is_speaking = False

    async def run(self) -> None:
        writer = asyncio.create_task(self._outbox.run())
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                await self._read()
        except Wrong as wrong:
            await self._socket.close(code=1002, message=str(wrong).encode())
        except TimeoutError:
            reason = f"Maximum websocket connection duration exceeded(> {CONNECTION_SECONDS * 1000:.0f}ms)"
            await self._socket.close(message=reason.encode())
        finally:
            writer.cancel()
        self._recorded.end(Outcome.ANSWERED)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                head, _, body = message.data.partition(CRLF * 2)
                self._told(_headers(head), body)
            elif message.type is WSMsgType.BINARY:
                (length,) = struct.unpack_from(">H", message.data)
                self._heard(_headers(message.data[2 : 2 + length].decode()), message.data[2 + length :])

    def _told(self, headers: dict[str, str], body: str) -> None:
        if headers["content-type"] != "application/json":
            raise Wrong("a text message is JSON")
        self._recorded.messages.append({"path": headers["path"], "body": json.loads(body)})
        match headers["path"]:
            case "speech.config":
                if not json.loads(body)["context"]["system"]["version"]:
                    raise Wrong("speech.config says which client it is")
                self._is_configured = True
            case "speech.context":
                self._begin(headers["x-requestid"])
            case "telemetry":
                pass
            case path:
                raise Wrong(f"there is no {path}")

    def _begin(self, turn: str) -> None:
        if not self._is_configured:
            raise Wrong("speech.config comes first")
        if self._turn:
            raise Wrong("a turn begins before the last one has ended")
        if turn in self._past:
            raise Wrong("a request id is used once")
        self._turn = Spoken(turn)
        self._past.add(turn)
        self._forget()
        self._post("turn.start", {"context": {"serviceTag": "0" * 32}})

    def _forget(self) -> None:
        self._audio.clear()
        self._looked_at = self._silence_ms = 0.0
        self._is_speaking = False

    # -- listening ---------------------------------------------------------------------------------------

    def _heard(self, headers: dict[str, str], body: bytes) -> None:
        if headers["path"] != "audio":
            raise Wrong("binary messages are audio")
        if len(body) > LARGEST:
            raise Wrong("a message of audio is too large")
        turn = self._turn
        if turn is None or turn.id != headers["x-requestid"]:
            if headers["x-requestid"] in self._past:
                return  # of a turn that the service has ended
            raise Wrong("audio of a turn that has not begun")
        if not turn.rate:
            turn.rate = _rate_of(body, headers.get("content-type", ""))
        elif turn.is_over:
            raise Wrong("audio after its end")
        elif body:
            self._hear(turn, body)
        else:
            self._conclude(turn)

    def _hear(self, turn: Spoken, pcm: bytes) -> None:
        self._recorded.audio_bytes += len(pcm)
        self._audio += pcm
        silence = trailing_silence_ms(pcm, turn.rate)
        if silence is not None and not self._is_speaking:
            self._post("speech.startDetected", {"Offset": self._ticks(turn)})
        self._is_speaking |= silence is not None
        self._silence_ms = self._silence_ms + len(pcm) / 2 / turn.rate * 1000 if silence is None else silence
        if self._is_speaking and self._silence_ms >= SEGMENTATION_MS:
            self._phrase(turn)
            if turn.before / turn.rate * 1000 >= TURN_MS:
                self._end_turn()
        elif self._is_speaking and self._ms(turn) - self._looked_at >= HYPOTHESIS_MS:
            self._looked_at = self._ms(turn)
            if text := self._text(turn):
                shown = text.lower().strip(".?!")
                place = {"Offset": self._ticks(turn), "Duration": int(self._ms(turn) * TICKS_PER_MS)}
                self._post("speech.hypothesis", {"Text": shown, **place})

    def _ms(self, turn: Spoken) -> float:
        return len(self._audio) / 2 / turn.rate * 1000

    def _ticks(self, turn: Spoken) -> int:
        return turn.before * 1000 * TICKS_PER_MS // turn.rate

    def _text(self, turn: Spoken) -> str:
        return self._backstage.ears.recognise(bytes(self._audio), turn.rate)

    def _conclude(self, turn: Spoken) -> None:
        turn.is_over = True
        self._post("speech.endDetected", {"Offset": self._ticks(turn)})
        if self._audio:
            self._phrase(turn)
        self._end_turn()

    def _end_turn(self) -> None:
        assert self._turn
        end = {"RecognitionStatus": "EndOfDictation", "Offset": self._ticks(self._turn), "Duration": 0}
        self._post("speech.phrase", end)
        self._post("turn.end", {})
        self._turn = None

    def _phrase(self, turn: Spoken) -> None:
        text = self._text(turn)
        behaviour, shown = self._backstage.transcribe(self._recorded, AZURE_STT_PHRASE, text)
        place = {"Offset": self._ticks(turn), "Duration": int(self._ms(turn) * TICKS_PER_MS)}
        if behaviour.fault in (Fault.REFUSE, Fault.ERROR):
            phrase: dict[str, Any] = {"RecognitionStatus": STATUSES.get(behaviour.status, "Error"), **place}
            behaviour = Behaviour(first_ms=behaviour.first_ms)
        else:
            phrase = {"RecognitionStatus": "Success" if shown else "NoMatch", **place, **self._said(shown)}
        self._post("speech.phrase", phrase, behaviour)
        turn.before += len(self._audio) // 2
        self._forget()

    def _said(self, text: str) -> dict[str, Any]:
        if not text or not self._detailed:
            return {"DisplayText": text}
        plain = text.lower().strip(".?!")
        best = {"Confidence": 0.93, "Lexical": plain, "ITN": plain, "MaskedITN": plain, "Display": text}
        return {"DisplayText": text, "NBest": [best]}

    # -- sending -----------------------------------------------------------------------------------------

    def _post(self, path: str, body: dict[str, Any], behaviour: Behaviour = PROMPT) -> None:
        assert self._turn
        form = f"Content-Type: application/json; charset=utf-8{CRLF}"
        text = f"X-RequestId:{self._turn.id}{CRLF}{form}Path:{path}{CRLF}{CRLF}{json.dumps(body)}"
        self._outbox.post(text, behaviour)


def _headers(text: str) -> dict[str, str]:
    """Raises Wrong where one is missing that every message has."""
    lines = [line.partition(":") for line in text.split(CRLF) if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    try:
        if len(headers["x-requestid"]) != 32 or not headers["path"]:
            raise Wrong("a message has a path and a request id of 32 digits")
        datetime.fromisoformat(headers["x-timestamp"])
    except (KeyError, ValueError):
        raise Wrong("a message has a path, a request id and a time") from None
    return headers


def _rate_of(head: bytes, content_type: str) -> int:
    """A turn's first audio is the head of a WAV file."""
    if content_type != "audio/x-wav" or head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt ":
        raise Wrong("the first audio is a header, audio/x-wav")
    form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, 20)
    if (form, channels, bits) != (1, 1, 16) or rate not in (8000, 16_000):
        raise Wrong("16-bit mono samples at 8 or 16 kHz")
    return int(rate)
