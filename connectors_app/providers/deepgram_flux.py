"""Deepgram Flux: live recognition in turns, over one WebSocket a session.

Our own turn-taking says where an utterance ends, so the model's own end of turn is off (`eot_threshold` 1) and
`ForceEndTurn` asks for the text. The server works through what it gets in order, and answers by an `EndOfTurn` with the
text of its last update, or by the warning that no turn is open. So some silence goes before the question: an update has
come then that covers the last word. Turns that ended by themselves are joined.
"""

from collections.abc import Callable
from typing import Literal, Self

import msgspec
from pydantic import Field, model_validator

from connectors_app.base.connector import Options
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.deepgram_api import MOST_KEYTERMS, DeepgramConnector
from connectors_app.failures import from_code
from connectors_app.line import Socket
from connectors_app.live_recognition import LiveRecognition

FORCE_END = '{"type":"ForceEndTurn"}'
NO_TURN = "FORCE_END_TURN_NO_ACTIVE_TURN"
CHUNK_SECONDS = 0.08
"""The pieces that the model works in."""
SPARE_SECONDS = 4 * CHUNK_SECONDS
"""Silence after an utterance, longer than what is between two updates."""
LAG_SECONDS = 0.5
"""Updates come for each quarter of a second; what is this close to the end of the audio has been heard."""
TAIL_SECONDS = 0.3
"""An early end of turn this close to the end of the audio is the end: the rest is the silence that ended it for us."""
GRACE_SECONDS = 0.5
"""How long to wait for the warning that no turn is open, when none is."""


class FluxOptions(Options):
    model: Literal["flux-general-en", "flux-general-multi"] = Field(
        "flux-general-en", description="The English model, or the one for ten languages"
    )
    language_hint: tuple[str, ...] = Field(
        (), max_length=10, description="Language codes that callers probably speak; only for flux-general-multi"
    )
    eot_threshold: float = Field(
        1.0, ge=0.5, le=1, description="How sure Flux must be to end a turn by itself; 1 leaves that to the agent"
    )
    eager_eot_threshold: float | None = Field(
        None, ge=0.3, le=0.9, description="How sure Flux must be to give its text early; at most the threshold above"
    )
    eot_timeout_ms: int | None = Field(
        None, ge=500, le=60_000, description="Milliseconds of silence that end a turn in any case"
    )
    keyterm: tuple[str, ...] = Field(
        (), max_length=MOST_KEYTERMS, description="Names and words that are likely to come up"
    )
    numerals: bool = Field(False, description="Numbers as digits")
    profanity_filter: bool = Field(False, description="Remove rude words")
    redact: tuple[Literal["numbers", "aggressive_numbers"], ...] = Field(
        (), description="Replace numbers in transcripts by a star"
    )
    tag: tuple[str, ...] = Field((), description="Labels of these requests in Deepgram's usage reports")
    mip_opt_out: bool = Field(False, description="Keep the audio out of Deepgram's model improvement; costs more")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.language_hint and self.model != "flux-general-multi":
            raise ValueError(f"{self.model} takes no language_hint; flux-general-multi does")
        if self.eager_eot_threshold and self.eager_eot_threshold > self.eot_threshold:
            raise ValueError("eager_eot_threshold cannot be above eot_threshold")
        return self


class DeepgramFlux(DeepgramConnector, Recognizer):
    slug = "deepgram_flux"
    credential_slug = "deepgram"
    label = "Deepgram Flux"
    tells_as_it_hears = True
    Options = FluxOptions
    options: FluxOptions

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        return _Turns(self, rate, on_interim)

    async def dial(self, rate: int) -> Socket:
        """There is no message that keeps the socket alive: pings do."""
        audio = {"encoding": "linear16", "sample_rate": rate}
        return await self.connect("/v2/listen", self.options.model_dump() | audio)


class _Word(msgspec.Struct):
    confidence: float = 1.0


class _Told(msgspec.Struct):
    """What the socket sends; `Connected` and the answers to `Configure` do not matter."""

    type: str
    event: str = ""
    turn_index: int = 0
    audio_window_end: float = 0.0
    transcript: str = ""
    words: msgspec.Raw = msgspec.Raw(b"[]")
    languages: list[str] | None = None
    trigger: str | None = None
    code: str | None = None


_told = msgspec.json.Decoder(_Told)
_words = msgspec.json.Decoder(list[_Word])


class _Turn(msgspec.Struct):
    text: str
    ended: bool = False
    confidence: float | None = None
    language: str = ""


class _Turns(LiveRecognition):
    """The API's clock is the audio it was sent: what ends before the utterance begins is of an earlier one."""

    def __init__(self, by: DeepgramFlux, rate: int, on_interim: Callable[[str], None]) -> None:
        self._rest = b""
        self._chunk = 2 * round(rate * CHUNK_SECONDS)
        self._owed = 0
        """Answers to ForceEndTurn that are still to come."""
        self._spoken = 0
        """Where the utterance ends on the API's clock: silence is sent after it."""
        super().__init__(by, rate, on_interim, lambda: by.dial(rate))

    async def begin(self) -> None:
        self._rest = b""
        await super().begin()

    async def send(self, pcm: bytes) -> None:
        self._rest += pcm
        while len(self._rest) >= self._chunk:
            piece, self._rest = self._rest[: self._chunk], self._rest[self._chunk :]
            await super().send(piece)

    async def finish(self) -> Transcript:
        self._spoken = self._sent + len(self._rest) // 2
        if self._spoken > self._start:
            await self.send(bytes(2 * round(SPARE_SECONDS * self._rate)))
        rest, self._rest = self._rest, b""
        if rest:
            await super().send(rest)
        transcript = await super().finish()
        if not self._is_eager:
            self._owed = 0  # has come, or is no longer waited for
        return transcript

    async def _ask_for_end(self) -> None:
        self._owed += 1
        await self._line.send(FORCE_END)

    def _reset(self) -> None:
        super()._reset()
        self._turns: dict[int, _Turn] = {}
        self._spoken = self._sent
        self._covered = self._seconds(self._sent)
        self._heard = self._is_open = self._is_eager = False

    def _restart(self) -> None:
        super()._restart()
        self._owed = 0

    def _is_complete(self) -> bool:
        return not self._owed or (self._is_eager and self._is_heard_but(TAIL_SECONDS))

    def _patience(self) -> float | None:
        is_all_told = self._heard and not self._is_open and self._is_heard_but(LAG_SECONDS)
        return GRACE_SECONDS if is_all_told else None

    def _is_heard_but(self, seconds: float) -> bool:
        return self._covered >= self._seconds(self._spoken) - seconds

    def _transcript(self) -> Transcript:
        spoken = [turn for _, turn in sorted(self._turns.items()) if turn.text]
        if not spoken:
            return Transcript("")
        told = [turn.confidence for turn in spoken if turn.confidence is not None]
        return Transcript(self._text(), spoken[0].language, min(told, default=None))

    def _text(self) -> str:
        return " ".join(turn.text for _, turn in sorted(self._turns.items()) if turn.text)

    def _take(self, message: bytes) -> None:
        told = _told.decode(message)
        if told.type == "TurnInfo":
            self._take_turn(told)
        elif told.type == "Warning" and told.code == NO_TURN:
            self._answered()
        elif told.type == "Error":
            self._end(from_code(self._by, told.code or ""))

    def _take_turn(self, told: _Told) -> None:
        is_end = told.event == "EndOfTurn"
        if is_end and told.trigger in ("manual", None):
            self._answered()
        if not self._busy or told.audio_window_end * self._rate <= self._start:
            return  # of an earlier utterance
        self._heard = True
        self._covered = max(self._covered, told.audio_window_end)
        turn = self._turns.get(told.turn_index)
        if turn is None or is_end or not turn.ended:
            self._turns[told.turn_index] = self._turn_of(told) if is_end else _Turn(told.transcript)
            self._is_open = not is_end and bool(told.transcript or told.event == "StartOfTurn")
            self._is_eager = told.event == "EagerEndOfTurn" or (self._is_eager and told.event == "Update")
        self._on_interim(self._text())

    def _turn_of(self, told: _Told) -> _Turn:
        words = _words.decode(told.words)
        confidence = sum(word.confidence for word in words) / len(words) if words else None
        return _Turn(told.transcript, True, confidence, told.languages[0] if told.languages else "")

    def _answered(self) -> None:
        """Never more than was asked: an answer may come after it was given up."""
        self._owed = max(0, self._owed - 1)
