"""What goes wrong with providers, as it is done to any stand-in: for the fallback's tests and its measurements."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind
from tests.providers.nowhere import NO_NAME, NO_PORT, untrusted, without_tls
from tests.providers.routes import Kind, Route, Turn
from tests.providers.steering import Behaviour, Fault

Latency = Mapping[Kind, Mapping[str, Any]]
"""Fields of the behaviour of a healthy provider, by how it answers."""
Facts = Mapping[str, Any]

LATE_MS = 6000


@dataclass(frozen=True)
class Trouble:
    """A fault, where it comes, and for which providers it exists."""

    name: str
    told_as: ErrorKind | None
    """What the failure of the provider is called; None: it does not fail."""
    facts: Callable[[Turn], Facts] | None = None
    """Fields of a behaviour, in place of the healthy one's."""
    at: str = "answer"
    """`request`: at the first request of a turn; `answer`: where it is answered."""
    fits: Callable[[Turn], bool] = lambda turn: True
    address: Callable[[], AbstractAsyncContextManager[str]] = field(default=lambda: nullcontext(""))
    """Where the provider is, for a while, in place of its own; empty: where it should be."""

    def rules(self, turn: Turn, latency: Latency) -> dict[Route, tuple[Behaviour, ...]]:
        if self.facts is None:
            return {}
        route = turn.asked if self.at == "request" else turn.answered
        healthy = latency.get(route.kind, {})
        return {route: (Behaviour(**{**healthy, **self.facts(turn)}), Behaviour(**healthy))}

    def __str__(self) -> str:
        return self.name


def _midway(kind: Fault, **more: Any) -> Callable[[Turn], Facts]:
    """In the middle: of a model's second sentence or later, of a voice's second one, of a document."""

    def facts(turn: Turn) -> Facts:
        match turn.role:
            case Role.LLM:
                return {"fault": kind, "after": 17, **more}
            case Role.TTS:
                return {"fault": kind, "after": 8, "nth": 2, **more}
            case _:
                return {"fault": kind, "after": 1 if turn.answered.kind is Kind.BODY else 0, **more}

    return facts


def _trickle(turn: Turn) -> Facts:
    """A document comes byte by byte, anything else piece by piece."""
    return {"bytes": 1, "each_ms": 600} if turn.answered.kind is Kind.BODY else {"each_ms": 1200}


def _all(**facts: Any) -> Callable[[Turn], Facts]:
    return lambda turn: facts


def _refuse(status: int, kind: ErrorKind, **more: Any) -> Trouble:
    said = f" retry-after {more['retry_after']:g}" if more else ""
    return Trouble(f"{status}{said}", kind, _all(fault=Fault.REFUSE, status=status, **more), at="request")


def _on_a_socket(turn: Turn) -> bool:
    return turn.asked.kind is Kind.HANDSHAKE


def _over_http(turn: Turn) -> bool:
    return turn.answered.kind in (Kind.BODY, Kind.EVENTS, Kind.RAW_VOICE, Kind.VOICE_LINES)


def _whole_message(turn: Turn) -> bool:
    return turn.answered.kind is Kind.MESSAGE


def _tells_errors(turn: Turn) -> bool:
    return turn.answered.kind in (Kind.EVENTS, Kind.VOICE, Kind.MESSAGE)


def _raw(turn: Turn) -> bool:
    return turn.answered.kind is Kind.RAW_VOICE


def _voice(turn: Turn) -> bool:
    return turn.role is Role.TTS


HEALTHY = Trouble("none", None, _all())
TROUBLES = (
    Trouble("refused", ErrorKind.REFUSED, address=lambda: nullcontext(NO_PORT)),
    Trouble("no such host", ErrorKind.REFUSED, address=lambda: nullcontext(NO_NAME)),
    Trouble("does not speak TLS", ErrorKind.REFUSED, address=without_tls),
    Trouble("certificate not trusted", ErrorKind.REFUSED, address=untrusted),
    _refuse(401, ErrorKind.AUTH),
    _refuse(429, ErrorKind.RATE_LIMIT),
    _refuse(429, ErrorKind.RATE_LIMIT, retry_after=30),
    _refuse(500, ErrorKind.SERVER),
    Trouble("never answers", ErrorKind.TIMEOUT, _all(fault=Fault.NEVER)),
    Trouble("socket opens and stays mute", ErrorKind.TIMEOUT, _all(fault=Fault.STALL), at="request", fits=_on_a_socket),
    Trouble("first byte late", ErrorKind.TIMEOUT, _all(first_ms=LATE_MS)),
    Trouble("trickles", ErrorKind.TIMEOUT, _trickle, fits=lambda turn: not _whole_message(turn)),
    Trouble("stalls midway", ErrorKind.TIMEOUT, _midway(Fault.STALL)),
    Trouble("cut midway", ErrorKind.BROKEN, _midway(Fault.CUT)),
    Trouble("half, closed cleanly", ErrorKind.BROKEN, _midway(Fault.END), fits=lambda turn: not _raw(turn)),
    Trouble("error told midway", ErrorKind.SERVER, _midway(Fault.ERROR, status=500), fits=_tells_errors),
    Trouble("half the audio, as if whole", ErrorKind.BROKEN, _midway(Fault.SHORT), fits=_voice),
    Trouble("garbage midway", ErrorKind.BROKEN, _midway(Fault.GARBAGE), fits=lambda turn: not _raw(turn)),
    Trouble("web page with status 200", ErrorKind.BROKEN, _all(fault=Fault.HTML), fits=_over_http),
    Trouble("well-formed and empty", ErrorKind.EMPTY, _all(fault=Fault.EMPTY), fits=lambda turn: turn.tells_nothing),
    Trouble("silence as audio", ErrorKind.EMPTY, _all(fault=Fault.SILENCE), fits=_voice),
    Trouble("flapping", ErrorKind.SERVER, _all(fault=Fault.REFUSE, status=503, flap=(1, 1)), at="request"),
)
