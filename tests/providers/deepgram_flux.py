"""Deepgram Flux: recognition in turns over a WebSocket, which the client can end itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import Backstage, Outcome, Recorded, open_socket, parsed, received
from tests.providers.deepgram import api_key, complaint, trailing_silence_ms
from tests.providers.outbox import Outbox
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn

FLUX = Provider("deepgram_flux", complaint)
FLUX_CONNECT = FLUX.route("connect", Kind.HANDSHAKE)
FLUX_LISTEN = FLUX.route("listen", Kind.MESSAGE)
"""An answer is the end of a turn; its text is the transcript."""
TURNS = (
    Turn(
        Role.STT,
        "deepgram_flux",
        FLUX_CONNECT,
        FLUX_LISTEN,
        values={"language_hint": {"model": "flux-general-multi", "language_hint": ["de", "en"]}},
    ),
)

IDLE_SECONDS = 60.0
"""Without audio, a message or a ping for so long, the socket is closed."""
MODELS = ("flux-general-en", "flux-general-multi")
RATES = ("8000", "16000", "24000", "44100", "48000")
UPDATE_MS = 250
ENDED_MS, RESUMED_MS = 640, 320
"""Silence that makes the model sure of the end of a turn, and sure enough for an early one."""
MOST_KEYTERMS = 100


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v2/listen", listen)


def environment(url: str) -> dict[str, str]:
    """The key and the address are Deepgram's."""
    return {}


async def listen(request: web.Request) -> web.WebSocketResponse:
    async with received(request, FLUX_CONNECT, api_key(request)) as (backstage, recorded):
        options = Options.of(request.query, request.query.getall("keyterm", []))
        socket = await open_socket(request, backstage, recorded)
        await Listening(backstage, recorded, socket, request, options).run()
        return socket


@dataclass(frozen=True, slots=True)
class Options:
    rate: int
    threshold: float
    eager_threshold: float | None
    timeout_ms: int

    @classmethod
    def of(cls, query: Mapping[str, str], keyterms: list[str]) -> "Options":
        threshold = _number(query, "eot_threshold", 0.7, 0.5, 1.0)
        eager = _number(query, "eager_eot_threshold", None, 0.3, 0.9)
        timeout = _number(query, "eot_timeout_ms", 5000, 500, 60_000)
        _expect(query.get("model") in MODELS, f"model must be one of {', '.join(MODELS)}")
        _expect(query.get("encoding") == "linear16", "the stand-in hears encoding=linear16")
        _expect(query.get("sample_rate") in RATES, f"sample_rate must be one of {', '.join(RATES)}")
        _expect(eager is None or eager <= threshold, "eager_eot_threshold must not exceed eot_threshold")
        _expect("language" not in query, "language is no parameter of Flux")
        is_multi = query.get("model") == "flux-general-multi"
        _expect("language_hint" not in query or is_multi, "language_hint needs flux-general-multi")
        _expect(query.get("redact") in (None, "numbers", "aggressive_numbers"), "redact is not known")
        _expect(len(keyterms) <= MOST_KEYTERMS, "Keyterm limit exceeded")
        return cls(int(query["sample_rate"]), threshold, eager, int(timeout))


def _number(query: Mapping[str, str], name: str, usual: Any, low: float, high: float) -> Any:
    if name not in query:
        return usual
    _expect(low <= float(query[name]) <= high, f"{name} must be from {low:g} to {high:g}")
    return float(query[name])


def _expect(is_right: bool, message: str) -> None:
    if not is_right:
        raise refusal(FLUX, 400, message=message)


class Listening:
    """One connection: the turn that is open or could begin, and the audio that it has had."""

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
        self._outbox = Outbox(request, socket, self._refuse)
        self._id = str(uuid4())
        self._sequence = 0
        self._turn = 0
        self._audio = bytearray()
        self._before = 0
        """Samples of the turns before this one."""
        self._untold_ms = self._silence_ms = 0.0
        self._open = self._eager = False
        self._shown = ""
        """The text of the last update; what was heard after it is decoded for the next one only."""

    async def run(self) -> None:
        self._post("Connected")
        await self._outbox.run_while(self._read())

    async def _read(self) -> bool:
        """Until the client is done; whether it waits for what is still due."""
        while True:
            try:
                message = await self._socket.receive(timeout=IDLE_SECONDS)
            except TimeoutError:
                await self._socket.close(code=1011, message=b"NET-0001")
                return False
            if message.type is WSMsgType.BINARY:
                self._hear(message.data)
                continue
            if message.type is not WSMsgType.TEXT:
                self._recorded.end(Outcome.ANSWERED)
                return False
            if self._obey(parsed(message.data) or {}):
                return True

    def _obey(self, command: dict[str, Any]) -> bool:
        """Whether it was the last command. What it does not know ends the connection: a KeepAlive, too."""
        self._recorded.messages.append(command)
        match command.get("type"):
            case "ForceEndTurn" if self._open:
                self._end("manual", self._shown)
            case "ForceEndTurn":
                told = {"code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "There is no turn to end."}
                self._post("Warning", **told)
            case "CloseStream":
                self._tell("Update")
                self._recorded.end(Outcome.ANSWERED)
                return True
            case _:
                self._post("Error", code="UNPARSABLE_CLIENT_MESSAGE", description="The message is not known.")
                self._recorded.end(Outcome.REFUSED)
                return True
        return False

    # -- listening ---------------------------------------------------------------------------------------

    def _hear(self, pcm: bytes) -> None:
        self._recorded.audio_bytes += len(pcm)
        self._audio += pcm
        ms = len(pcm) / 2 / self._options.rate * 1000
        self._untold_ms += ms
        silence = trailing_silence_ms(pcm, self._options.rate)
        self._silence_ms = self._silence_ms + ms if silence is None else silence
        if self._open and self._silence_ms < RESUMED_MS and self._eager:
            self._eager = False
            self._tell("TurnResumed")
        elif self._open and self._is_over():
            self._end("timeout" if self._options.threshold == 1 else "model", self._transcript())
        elif self._open and self._is_early():
            self._eager = True
            self._tell("EagerEndOfTurn")
        elif self._untold_ms >= UPDATE_MS:
            self._tell("Update" if self._open or not self._begins() else "StartOfTurn")

    def _is_over(self) -> bool:
        needed = self._options.timeout_ms if self._options.threshold == 1 else ENDED_MS
        return self._silence_ms >= min(needed, self._options.timeout_ms)

    def _is_early(self) -> bool:
        return self._options.eager_threshold is not None and not self._eager and self._silence_ms >= RESUMED_MS

    def _begins(self) -> bool:
        """A turn begins with its first words."""
        self._open = bool(self._transcript())
        return self._open

    def _transcript(self) -> str:
        return self._backstage.ears.recognise(bytes(self._audio), self._options.rate)

    # -- telling -----------------------------------------------------------------------------------------

    def _tell(self, event: str) -> None:
        self._untold_ms = 0.0
        self._shown = self._transcript()
        self._post("TurnInfo", **self._told(event, self._shown))

    def _end(self, trigger: str, text: str) -> None:
        behaviour, shown = self._backstage.transcribe(self._recorded, FLUX_LISTEN, text)
        told = {**self._message("TurnInfo"), **self._told("EndOfTurn", shown), "trigger": trigger}
        self._outbox.post(told, behaviour)
        self._before += len(self._audio) // 2
        self._audio.clear()
        self._turn += 1
        self._shown = ""
        self._untold_ms = self._silence_ms = 0.0
        self._open = self._eager = False

    def _told(self, event: str, text: str) -> dict[str, Any]:
        start = self._before / self._options.rate
        return {
            "event": event,
            "turn_index": self._turn,
            "audio_window_start": start,
            "audio_window_end": start + len(self._audio) / 2 / self._options.rate,
            "transcript": text,
            "words": [{"word": word, "confidence": 0.97} for word in text.split()],
            "end_of_turn_confidence": 0.9 if "End" in event else 0.1,
        }

    def _message(self, kind: str) -> dict[str, Any]:
        sequence, self._sequence = self._sequence, self._sequence + 1
        return {"type": kind, "request_id": self._id, "sequence_id": sequence}

    def _post(self, kind: str, **told: Any) -> None:
        self._outbox.post({**self._message(kind), **told})

    async def _refuse(self, status: int) -> None:
        self._sequence += 1
        error = {"type": "Error", "sequence_id": self._sequence, "code": f"HTTP_{status}", "description": "no"}
        await self._socket.send_json(error)
        await self._socket.close(code=1011)
