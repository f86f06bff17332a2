"""The seam between a media socket and the call behind it: what comes in as facts, what goes out as verbs."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict


class Reason(StrEnum):
    """Why a wire ended. Only after `LOST` may the same caller come back."""

    HANGUP = "hangup"  # the other side said so
    LOST = "lost"  # cut, silent, or too slow to take what is sent
    CLOSED = "closed"  # by us
    NEVER_OPENED = "never_opened"  # a socket that did not introduce itself in time
    REFUSED = "refused"  # it introduced itself as somebody else


# -- in --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a client that lost its socket stopped to play, in samples of agent audio. It has dropped the rest."""

    played: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The first fact of a wire; `rate` is also the wire's from now on."""

    call_id: str
    caller: str
    called: str
    rate: int
    details: Mapping[str, str] = field(default_factory=dict)
    resumed: Resumed | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Caller audio: s16le mono at the wire's rate, in order; what is missing was filled with silence."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Typed:
    text: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    digits: str


@dataclass(frozen=True, slots=True)
class PlayedTo:
    """Everything played before this mark was heard. Marks that `clear` overtook are not reported."""

    mark: int


@dataclass(frozen=True, slots=True)
class PlayedSamples:
    """The position of the ear, in the samples of agent audio given to `play` so far, cleared ones counted."""

    total: int


@dataclass(frozen=True, slots=True)
class HungUp:
    """The last fact of a wire."""

    reason: Reason
    detail: str = ""


Fact = Opened | Audio | Typed | Dtmf | PlayedTo | PlayedSamples | HungUp


# -- out -------------------------------------------------------------------------------------------------


class TranscriptTold(TypedDict):
    """What the caller said. An interim text replaces the one before; the final one replaces them all."""

    type: Literal["transcript"]
    final: bool
    text: str
    utterance: NotRequired[int]


class ReplyTold(TypedDict):
    """A sentence of the agent, before it is spoken."""

    type: Literal["reply"]
    text: str
    turn: NotRequired[int]
    sentence: NotRequired[int]


class DeltaTold(TypedDict):
    """Words of the agent as its model makes them; the sentences that follow hold the same text."""

    type: Literal["delta"]
    text: str
    turn: NotRequired[int]
    anew: NotRequired[bool]
    """What was told of `sentence` and after it is void: the words begin it anew."""
    sentence: NotRequired[int]


class StateTold(TypedDict):
    type: Literal["state"]
    state: Literal["listening", "thinking", "speaking"]


class InterruptedTold(TypedDict):
    """The caller broke in; `heard` is the part of the sentence that was played."""

    type: Literal["interrupted"]
    heard: str
    turn: NotRequired[int]
    sentence: NotRequired[int]


class ErrorTold(TypedDict):
    type: Literal["error"]
    code: str
    message: str


class EndedTold(TypedDict):
    type: Literal["ended"]
    reason: str


Told = TranscriptTold | ReplyTold | DeltaTold | StateTold | InterruptedTold | ErrorTold | EndedTold


class Wire(ABC):
    """One media socket. Nothing that is sent waits for the socket: a slow one is given up, never waited for."""

    rate: int = 8000
    """Of both directions; chosen by the other side, so it holds from `Opened` on."""
    reports_playback: bool = False
    """Whether `PlayedTo` or `PlayedSamples` come back; else the call must go by the clock."""
    takes_token: bool = False
    """Whether `welcome` can hand over a token with which the same caller opens another socket."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """What was dropped, filled or not understood."""

    @abstractmethod
    def receive(self) -> AsyncIterator[Fact]:
        """`Opened` first, `HungUp` last and always; only `HungUp` when the other side never introduced itself."""

    @abstractmethod
    async def welcome(self, session: str, *, resume: str = "", received: int = 0, sent: int = 0) -> None:
        """Answer `Opened`. `resume` is the token for the next socket; positions in samples, 0 but for a return."""

    @abstractmethod
    async def play(self, pcm: bytes) -> None:
        """Agent audio: s16le mono at the wire's rate, whole samples, in pieces of at most about a second."""

    @abstractmethod
    async def mark(self, number: int) -> None:
        """Ask for `PlayedTo(number)` once everything played so far was heard. Numbers grow."""

    @abstractmethod
    async def clear(self) -> None:
        """Stop playing at once and forget what was not heard."""

    @abstractmethod
    async def tell(self, message: Told) -> None:
        """Captions, states, errors: for those who can read; a telephone cannot."""

    @abstractmethod
    def lose(self) -> None:
        """It is of no use any more, whether it knows or not: `HungUp(LOST)` comes next, if none has come."""

    @abstractmethod
    async def close(self, reason: str = "") -> None:
        """Send what waits, then say goodbye. May be called twice."""
