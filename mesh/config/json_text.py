"""The document as JSON: its text, what may be stored of it, and its revision."""

import hashlib
import json
import math
from collections.abc import Iterator
from typing import NoReturn

from mesh.config.problems import Problem, join, refusal

MAX_BYTES = 256 * 1024
"""The document travels in one event of at most 1 MiB."""
MAX_DEPTH = 32


def load_json(text: str | bytes) -> object:
    """Strict JSON: no comments, no NaN, no key twice in one object; raises ConfigError."""
    try:
        loaded: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        hint = "; JSON has no comments" if text[error.pos : error.pos + 1] in ("/", b"/") else ""
        raise refusal(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}") from None
    except RecursionError:
        raise refusal(f"is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise refusal(f"is not JSON: {error}") from None
    return loaded


def fingerprint(document: object) -> str:
    """The same for the same content, whatever its spacing and key order."""
    return hashlib.sha256(canonical(document)).hexdigest()


def revision(document: object) -> str:
    """The twelve hex digits of the fingerprint that people read."""
    return fingerprint(document)[:12]


def canonical(document: object) -> bytes:
    """The same bytes for the same content."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice)} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def unstorable(document: object) -> Iterator[Problem]:
    """What JSON, Valkey or a database column could not hold. A loop, because the depth is the sender's choice."""
    pending: list[tuple[str, object, int]] = [("", document, 0)]
    while pending:
        path, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            yield Problem(path[:200], f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(value, dict):
            for key in value:
                yield from _unstorable_text(path, key, "has a key that")
            pending.extend((join(path, key), item, depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{path}[{index}]", item, depth + 1) for index, item in enumerate(value))
        elif isinstance(value, str):
            yield from _unstorable_text(path, value, "")
        elif isinstance(value, float):
            if not math.isfinite(value):
                yield Problem(path, "must be a finite number")
        elif isinstance(value, int):
            if abs(value) >= 2**63:
                yield Problem(path, "must be a number of at most 64 bits")
        elif value is not None:
            yield Problem(path, f"must be JSON, not {type(value).__name__}")


def _unstorable_text(path: str, text: object, prefix: str) -> Iterator[Problem]:
    if not isinstance(text, str):
        yield Problem(path, f"{prefix} is not a string".strip())
    elif "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        yield Problem(path, f"{prefix} holds a character that cannot be stored (NUL or half of a pair)".strip())
