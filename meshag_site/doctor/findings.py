"""What the doctor says: what was looked at, how it is, what was seen, and what to do about it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Area(StrEnum):
    SERVERS = "Servers"
    PROGRAMS = "Programs"
    PROVIDERS = "Providers"
    SETTINGS = "Settings"
    MACHINE = "This machine"


FOR_MEMBERS = frozenset({Area.PROVIDERS})
"""The areas that concern whoever makes agents; the others are the operators' business."""


@dataclass(frozen=True, slots=True)
class Finding:
    area: Area
    name: str
    level: Level
    seen: str
    fix: str = ""
    """What to do; beside an `ok` a hint."""

    def shown(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is examined. Secrets are in it; findings repeat none."""

    data_dir: Path
    nats_url: str
    valkey_url: str
    runtime: Mapping[str, Any]
    """What a running `manage.py up` says of itself; empty when none runs with this data."""
    environ: Mapping[str, str]
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    bind: str = "127.0.0.1"
    debug: bool = False
    has_open_door: bool = False

    @property
    def is_started(self) -> bool:
        return bool(self.runtime)

    @property
    def near_host(self) -> str:
        """Where this machine reaches what listens on `bind`."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)

    def port(self, setting: str, default: int) -> int:
        """As the running `up` has chosen, else as it is set."""
        value = str(self.runtime.get(setting) or self.environ.get(setting) or default)
        return int(value) if value.isascii() and value.isdigit() else default


Check = Callable[[Installation], Awaitable[list[Finding]]]


def of_area(area: Area) -> Callable[..., Finding]:
    """A short way to say findings of one area."""

    def say(name: str, level: Level, seen: str, fix: str = "") -> Finding:
        return Finding(area, name, level, seen, fix)

    return say


def worst(findings: Iterable[Finding]) -> Level:
    return max((finding.level for finding in findings), key=list(Level).index, default=Level.OK)


def in_words(findings: Iterable[Finding]) -> str:
    """One sentence about all of them."""
    levels = [finding.level for finding in findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    parts = [_counted(number, word) for number, word in ((problems, "problem"), (warnings, "warning")) if number]
    return " and ".join(parts) if parts else "all is well"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}"
