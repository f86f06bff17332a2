"""How a stand-in behaves: latency and faults by route, for every request or for some, changed while it runs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tests.providers.routes import Kind, Route

Piece = TypeVar("Piece")


class Fault(StrEnum):
    REFUSE = "refuse"  # an error with `status`, in the provider's own form
    NEVER = "never"  # nothing at all, and the connection stays open
    STALL = "stall"  # `after` pieces, then nothing
    CUT = "cut"  # `after` pieces, then the connection is gone
    END = "end"  # `after` pieces, then a clean end without the provider's end mark
    SHORT = "short"  # `after` pieces, then the provider's end mark, as if that were all
    GARBAGE = "garbage"  # `after` pieces, then something that cannot be read
    ERROR = "error"  # `after` pieces, then an error told inside the answer, with what `status` means
    FLOOD = "flood"  # `after` pieces, then ten megabytes in one line
    NOT_UTF8 = "not_utf8"  # `after` pieces, then bytes that are no text
    HTML = "html"  # a web page with status 200, as from a proxy
    DEAD = "dead"  # a socket that reads `after` messages, then nothing, not even a ping; it stays open
    TWICE = "twice"  # a socket's answer comes twice
    SWAPPED = "swapped"  # a socket's answer comes after the next one
    ODD = "odd"  # raw samples in pieces of odd lengths, of which the last sample is half
    HEADER = "header"  # raw samples with a WAV header before them
    EMPTY = "empty"  # a well-formed answer with nothing in it: no text, no audio
    SILENCE = "silence"  # a voice's audio of the right length, all zeros


_BREAKS = {Fault.STALL, Fault.CUT, Fault.END, Fault.GARBAGE, Fault.ERROR, Fault.FLOOD, Fault.NOT_UTF8}
_MIDWAY = {*_BREAKS, Fault.SHORT}
_HAS_AFTER = {*_MIDWAY, Fault.DEAD}
_HAS_STATUS = {Fault.REFUSE, Fault.ERROR}
_TEXT = {None, Fault.REFUSE, Fault.NEVER, *_BREAKS, Fault.EMPTY}
_FITTING = {
    Kind.BODY: {*_TEXT, Fault.HTML} - {Fault.ERROR},
    Kind.EVENTS: {*_TEXT, Fault.HTML, Fault.SHORT},
    Kind.RAW_VOICE: {
        *(None, Fault.REFUSE, Fault.NEVER, Fault.STALL, Fault.CUT, Fault.END, Fault.SHORT),
        *(Fault.HTML, Fault.ODD, Fault.HEADER, Fault.EMPTY, Fault.SILENCE),
    },
    Kind.VOICE: {*_TEXT, Fault.SHORT, Fault.SILENCE},
    Kind.VOICE_LINES: {*_TEXT, Fault.SHORT, Fault.SILENCE, Fault.HTML} - {Fault.ERROR},
    Kind.HANDSHAKE: {None, Fault.REFUSE, Fault.NEVER, Fault.CUT, Fault.STALL, Fault.DEAD, Fault.HTML},
    Kind.MESSAGE: {*_TEXT, Fault.TWICE, Fault.SWAPPED},
}
"""What can go wrong with what answers in this way; the rest would have no effect."""
_ONE_PIECE = {Kind.HANDSHAKE, Kind.MESSAGE}
_OVER_HTTP = {Kind.BODY, Kind.EVENTS, Kind.RAW_VOICE, Kind.VOICE_LINES}


class Behaviour(BaseModel):
    """One rule. Pieces are tokens of a text, chunks of a voice (100 ms), final results of a recogniser."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_ms: float = Field(default=0, ge=0, description="before the first byte")
    each_ms: float = Field(default=0, ge=0, description="before each further piece")
    fault: Fault | None = None
    after: int = Field(default=0, ge=0, description="pieces before a fault that comes midway")
    status: int = Field(default=503, ge=400, le=599, description="of a refusal")
    retry_after: float | None = Field(default=None, ge=0, description="seconds, sent with a refusal")
    bytes: int | None = Field(default=None, ge=1, description="the length of a piece, whatever is in it: a trickle")
    flap: tuple[int, int] | None = Field(default=None, description="(n, m): n requests, then not the next m, and again")
    nth: int | None = Field(default=None, ge=1, description="only the n-th request since it was steered")
    contains: str = Field(default="", description="only requests whose text has this in it")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set
        if "after" in given and self.fault not in _HAS_AFTER:
            raise ValueError(f"`after` needs a fault that comes midway: {', '.join(sorted(_HAS_AFTER))}")
        if "status" in given and self.fault not in _HAS_STATUS:
            raise ValueError("`status` needs the fault refuse or error")
        if "retry_after" in given and self.fault is not Fault.REFUSE:
            raise ValueError("`retry_after` needs the fault refuse")
        if self.flap and min(self.flap) < 1:
            raise ValueError("`flap` counts requests, from 1")
        return self

    def applies(self, number: int, text: str) -> bool:
        in_time = self.flap is None or (number - 1) % sum(self.flap) < self.flap[0]
        return in_time and self.nth in (None, number) and self.contains.lower() in text.lower()

    @property
    def is_plain(self) -> bool:
        return self.fault is None and not self.each_ms and not self.bytes


PROMPT = Behaviour()


class Steering:
    """The rules of every route: the first that applies to a request decides; none is a prompt, full answer."""

    def __init__(self) -> None:
        self._rules: dict[Route, tuple[Behaviour, ...]] = {}
        self._seen: Counter[Route] = Counter()

    def steer(self, route: Route, *behaviours: Behaviour) -> None:
        """Replace a route's rules and count its requests anew; without any it is prompt again."""
        for one in behaviours:
            _check_fit(route, one)
        self._rules[route] = behaviours
        self._seen[route] = 0

    def calm(self) -> None:
        """No route has rules any more."""
        self._rules.clear()
        self._seen.clear()

    def choose(self, route: Route, text: str) -> Behaviour:
        self._seen[route] += 1
        number = self._seen[route]
        return next((one for one in self._rules.get(route, ()) if one.applies(number, text)), PROMPT)


def _check_fit(route: Route, behaviour: Behaviour) -> None:
    """Refuse what would have no effect on this route."""
    if behaviour.fault not in (fitting := _FITTING[route.kind]):
        fits = ", ".join(sorted(one for one in fitting if one))
        raise ValueError(f"{route} is a {route.kind}, whose faults are {fits}; {behaviour.fault} is none of them")
    if route.kind in _ONE_PIECE and behaviour.each_ms:
        raise ValueError(f"{route} answers in one piece; use first_ms")
    if behaviour.bytes and route.kind not in _OVER_HTTP:
        raise ValueError(f"{route} answers in messages; use each_ms")


class Faulted(Exception):
    """The point in an answer at which its fault comes."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


async def paced(behaviour: Behaviour, pieces: Iterable[Piece]) -> AsyncIterator[Piece]:
    """The pieces in their time, as far as they come; raises Faulted where an answer breaks that has no proper end."""
    wanted = list(pieces)
    count = behaviour.after if behaviour.fault in _MIDWAY else len(wanted)
    for place, piece in enumerate(wanted[:count]):
        if place and behaviour.each_ms:
            await asyncio.sleep(behaviour.each_ms / 1000)
        yield piece
    if behaviour.fault in _MIDWAY and behaviour.fault is not Fault.SHORT:
        raise Faulted(behaviour.fault)


async def forever() -> None:
    """Until the client goes away, which cancels."""
    await asyncio.Event().wait()
