"""Names of voices: what people write for one, and what is near to a wrong one."""

from collections.abc import Iterable
from difflib import SequenceMatcher

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError

NEAR = 0.8
"""How alike two names are before one is suggested for the other; 1 is the same."""
SUGGESTED = 3


def no_such_voice(by: Connector, wanted: str, names: Iterable[str]) -> ProviderError:
    """With the names that are nearest, for whoever mistyped one."""
    near = nearest(wanted, names)
    hint = f"; near to it: {', '.join(near)}" if near else ""
    return ProviderError(ErrorKind.REQUEST, f"{by.label} has no voice named “{wanted}”{hint}")


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """The best first."""
    alike = {name: _alikeness(wanted.casefold(), name.casefold()) for name in names if name}
    found = [name for name in alike if alike[name] >= NEAR]
    return sorted(found, key=lambda name: (-alike[name], name))[:SUGGESTED]


def _alikeness(wanted: str, name: str) -> float:
    """With the name or a word of it, as far as it was written: long names begin or end with other things."""
    if wanted in name:
        return 1.0
    return max(_ratio(wanted, part[: len(wanted) + 1]) for part in (name, *name.replace("-", " ").split()))


def _ratio(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= NEAR else 0.0
