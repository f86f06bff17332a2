"""What a stand-in declares of itself: its provider, the routes that can be steered, and the turns that they serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from aiohttp import web

from connectors_app.base.connector import Role

Form = Callable[[int, str, str | None], tuple[object, Mapping[str, str]]]
"""Of a status, a message and the parameter that it is about, if any: the body and the headers of a refusal."""


class Kind(StrEnum):
    """How a route answers, which decides what can go wrong there."""

    BODY = "body"  # one document: JSON, text
    EVENTS = "events"  # a stream of events or lines, each readable by itself
    RAW_VOICE = "raw voice"  # samples and nothing else
    VOICE = "voice"  # audio in messages or events
    VOICE_LINES = "voice lines"  # audio in lines of a body, which has no form for an error
    HANDSHAKE = "handshake"  # a socket opens
    MESSAGE = "message"  # on a socket, in one message


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom a stand-in stands in for, and how it says no over HTTP."""

    name: str
    form: Form

    def route(self, part: str, kind: Kind = Kind.BODY) -> "Route":
        return Route(self, f"{self.name}.{part}", kind)


@dataclass(frozen=True, slots=True)
class Route:
    """What can be steered and recorded. A socket has one for its handshake and one for each answer on it."""

    provider: Provider = field(repr=False)
    name: str
    kind: Kind

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Case:
    """A provider in one role, with the options that it cannot do without."""

    role: Role
    slug: str
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    variant: str = field(default="", kw_only=True)
    """Names a second way of doing the same, chosen by the options."""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.role, self.slug, self.variant)))


@dataclass(frozen=True, slots=True)
class Turn(Case):
    """Where a stand-in meets one turn of a provider."""

    asked: Route
    """The first request of a turn."""
    told: Route | None = None
    """Where it is answered, if that is another route: on a socket."""
    bad_key: str = field(default="revoked", kw_only=True)
    """What the setting of the key holds when it is refused."""
    tells_nothing: bool = field(default=True, kw_only=True)
    """An answer with nothing in it has an end, so that it can be told from one that never comes."""
    whole_calls: bool = field(default=False, kw_only=True)
    """A model's call of a tool comes in one piece."""
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)
    """By option: what to set so that its effect shows, where its type alone does not tell or others must be set too."""
    unseen: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """By option: why no request shows it."""

    @property
    def answered(self) -> Route:
        return self.told or self.asked


class StandIn(Protocol):
    """A module of this folder that has these is one, and is found."""

    TURNS: tuple[Turn, ...]
    """For the contract of the connectors; one for each role, slug and variant."""

    def add_routes(self, app: web.Application) -> None: ...

    def environment(self, url: str) -> dict[str, str]:
        """The settings that point its provider at the stand-ins."""
