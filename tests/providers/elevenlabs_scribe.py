"""ElevenLabs Scribe: recognition over a WebSocket, committed by the client."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import Backstage, Outcome, Recorded, open_socket, parsed, received
from tests.providers.elevenlabs import complaint
from tests.providers.outbox import Outbox
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

SCRIBE = Provider("elevenlabs_scribe", complaint)
SCRIBE_CONNECT = SCRIBE.route("connect", Kind.HANDSHAKE)
SCRIBE_LISTEN = SCRIBE.route("listen", Kind.MESSAGE)
"""An answer is a committed transcript."""
TURNS = (
    Turn(
        Role.STT,
        "elevenlabs",
        SCRIBE_CONNECT,
        SCRIBE_LISTEN,
        values={
            "model": {"model": "scribe_v3_live"},
            "secondary_languages": {"language_code": "en", "secondary_languages": ["de"]},
        },
    ),
)

MODELS = ("scribe_v2_realtime", "scribe_v3_live")
IDLE_SECONDS = 15.0
"""Without audio for so long, the session ends, without an error."""
RATES = (8000, 16_000, 22_050, 24_000, 44_100, 48_000)
PARTIAL_MS = 500
LEAST_SECONDS = 0.3
MOST_SECONDS = 36.0
"""Audio that is not committed for so long is committed by the server."""
MOST_CONTEXT, MOST_KEYTERMS, LONGEST_KEYTERM = 50, 50, 20
KINDS = {401: "auth_error", 402: "quota_exceeded", 429: "rate_limited", 503: "resource_exhausted"}


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/speech-to-text/realtime", listen)


def environment(url: str) -> dict[str, str]:
    """The key and the address are those of the voices."""
    return {}


async def listen(request: web.Request) -> web.WebSocketResponse:
    key = request.headers.get("xi-api-key") or request.query.get("token")
    async with received(request, SCRIBE_CONNECT, key) as (backstage, recorded):
        rate = _rate_of(request.query, request.query.getall("keyterms", []))
        socket = await open_socket(request, backstage, recorded)
        await Session(backstage, recorded, socket, request, rate).run()
        return socket


def _rate_of(query: Mapping[str, str], keyterms: list[str]) -> int:
    rates = {f"pcm_{rate}": rate for rate in RATES}
    wanted = query.get("audio_format", "pcm_16000")
    _expect(query.get("model_id") in MODELS, "model_id is not known")
    _expect(wanted in rates, f"the stand-in hears {', '.join(rates)}")
    _expect(query.get("commit_strategy", "manual") == "manual", "the stand-in commits when it is told to")
    is_short = all(len(term) <= LONGEST_KEYTERM for term in keyterms)
    _expect(len(keyterms) <= MOST_KEYTERMS and is_short, "keyterms are too many or too long")
    return rates[wanted]


def _expect(is_right: bool, message: str) -> None:
    if not is_right:
        raise refusal(SCRIBE, 400, message=message)


class Wrong(Exception):
    """Ends the session, after the client has been told why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Session:
    """One connection: the audio that is not committed yet, and what was told of it."""

    def __init__(
        self,
        backstage: Backstage,
        recorded: Recorded,
        socket: web.WebSocketResponse,
        request: web.Request,
        rate: int,
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._rate = rate
        self._query = dict(request.query)
        self._outbox = Outbox(request, socket, self._refuse)
        self._audio = bytearray()
        self._untold_ms = 0.0
        self._has_heard = False

    async def run(self) -> None:
        config = {"sample_rate": self._rate, "model_id": "scribe_v2_realtime", "vad_commit_strategy": False}
        self._tell("session_started", session_id=uuid4().hex, config=config)
        await self._outbox.run_while(self._read())

    async def _read(self) -> bool:
        """Until the client is done; whether it is told why."""
        while True:
            try:
                message = await self._socket.receive(timeout=IDLE_SECONDS)
            except TimeoutError:
                await self._socket.close()
                return False
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._recorded.end(Outcome.ANSWERED)
                return False
            order = parsed(message.data) if message.type is WSMsgType.TEXT else None
            try:
                self._obey(order)
            except Wrong as wrong:
                self._tell(wrong.kind, error=str(wrong))
                self._recorded.end(Outcome.REFUSED)
                return True

    def _obey(self, order: dict[str, Any] | None) -> None:
        if order is None or order.get("message_type") != "input_audio_chunk":
            raise Wrong("input_error", "Only JSON messages of type input_audio_chunk are taken.")
        context = order.get("previous_text") or ""
        if context and (self._has_heard or len(context) > MOST_CONTEXT):
            raise Wrong("input_error", "previous_text comes with the first chunk only, and is short.")
        try:
            pcm = base64.b64decode(order["audio_base_64"], validate=True)
        except (KeyError, binascii.Error):
            raise Wrong("input_error", "audio_base_64 is missing or not base64.") from None
        self._recorded.messages.append({**order, "audio_base_64": f"{len(pcm)} bytes"})
        self._hear(pcm)
        if order.get("commit"):
            self._commit_if_enough()

    # -- listening ---------------------------------------------------------------------------------------

    def _hear(self, pcm: bytes) -> None:
        self._has_heard = self._has_heard or bool(pcm)
        self._recorded.audio_bytes += len(pcm)
        self._audio += pcm
        self._untold_ms += len(pcm) / 2 / self._rate * 1000
        if self._seconds >= MOST_SECONDS:
            self._commit()
        elif self._untold_ms >= PARTIAL_MS:
            self._untold_ms = 0.0
            if text := self._transcript():
                self._tell("partial_transcript", text=text)

    @property
    def _seconds(self) -> float:
        return len(self._audio) / 2 / self._rate

    def _transcript(self) -> str:
        return self._backstage.ears.recognise(bytes(self._audio), self._rate)

    def _commit_if_enough(self) -> None:
        if self._seconds >= LEAST_SECONDS:
            self._commit()
            return
        why = f"Commit request ignored: only {self._seconds:.2f}s of uncommitted audio."
        raise Wrong("commit_throttled", f"{why} You need at least {LEAST_SECONDS}s of uncommitted audio.")

    def _commit(self) -> None:
        """What was committed is told before and after as if it were new."""
        text = self._transcript()
        behaviour, shown = self._backstage.transcribe(self._recorded, SCRIBE_LISTEN, text)
        echo = {"message_type": "partial_transcript", "text": text}
        if text and behaviour.fault is None:
            self._outbox.post(echo)
        self._outbox.post({"message_type": "committed_transcript", "text": shown}, behaviour)
        if self._query.get("include_timestamps") == "true":
            timed = {"message_type": "committed_transcript_with_timestamps", "language_code": "en", "words": []}
            self._outbox.post({**timed, "text": shown})
        if text and behaviour.fault is None:
            self._outbox.post(echo)
        self._audio.clear()
        self._untold_ms = 0.0

    # -- telling -----------------------------------------------------------------------------------------

    def _tell(self, kind: str, **told: Any) -> None:
        self._outbox.post({"message_type": kind, **told})

    async def _refuse(self, status: int) -> None:
        kind = KINDS.get(status, "error" if status >= 500 else "invalid_request")
        await self._socket.send_json({"message_type": kind, "error": "refused by the stand-in"})
        await self._socket.close()
