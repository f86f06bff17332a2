"""What differs between two configuration documents, path by path. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import ndiff
from enum import StrEnum

from pydantic import JsonValue


class Mark(StrEnum):
    SAME = "same"
    OLD = "old"
    NEW = "new"


class Missing:
    """What is not there, which is not the same as null."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Line:
    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` as in `turn.stop_ms`; empty for the document as a whole. A text of several lines has them in `lines`."""

    path: str
    old: JsonValue | Missing
    new: JsonValue | Missing

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of two texts, marked; empty where a value is short enough to be read at once."""
        texts = ["" if value is MISSING else value for value in (self.old, self.new)]
        old, new = texts
        if isinstance(old, str) and isinstance(new, str) and ("\n" in old + new or len(old + new) > 160):
            return tuple(_marked(old.splitlines(), new.splitlines()))
        return ()

    @property
    def was(self) -> str:
        return _shown(self.old)

    @property
    def becomes(self) -> str:
        return _shown(self.new)


def compare(old: JsonValue, new: JsonValue) -> tuple[Difference, ...]:
    """In the order in which the older document has its keys, then what only the newer has."""
    return tuple(_compare("", old, new))


def _compare(path: str, old: JsonValue | Missing, new: JsonValue | Missing) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _compare(f"{path}.{key}" if path else key, old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(old, list) and isinstance(new, list) and _has_objects(old) and _has_objects(new):
        for index in range(max(len(old), len(new))):
            yield from _compare(f"{path}[{index}]", _at(old, index), _at(new, index))
    elif type(old) is not type(new) or old != new:
        yield Difference(path, old, new)


def _has_objects(values: Sequence[JsonValue]) -> bool:
    """A list of plain values, such as a fallback order, reads best as a whole."""
    return any(isinstance(value, Mapping) for value in values)


def _at(values: Sequence[JsonValue], index: int) -> JsonValue | Missing:
    return values[index] if index < len(values) else MISSING


def _marked(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    marks = {"  ": Mark.SAME, "- ": Mark.OLD, "+ ": Mark.NEW}
    for line in ndiff(old, new):
        if line[:2] in marks:
            yield Line(marks[line[:2]], line[2:])


def _shown(value: JsonValue | Missing) -> str:
    match value:
        case Missing():
            return "not set"
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case "":
            return "empty"
        case str() | int() | float():
            return str(value)
        case list():
            return ", ".join(map(_shown, value)) or "none"
        case _:
            return "; ".join(f"{key}: {_shown(item)}" for key, item in value.items()) or "empty"
