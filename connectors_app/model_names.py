"""Names of models to choose from, and which of them their vendor has switched off. They age: any other name is sent."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RETIRED = "retired"
"""The key of a field's JSON schema that lists them."""


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Newest first. Without any, every name is as good as another: those of the operator's own machine or gateway."""

    served: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()

    def as_field(self) -> dict[str, Any]:
        """What a field of options declares of them."""
        return {"examples": [*self.served, *self.retired], "json_schema_extra": {RETIRED: [*self.retired]}}

    def problem(self, model: str) -> str:
        """What to say of a name before it is used; empty when it is one of those that are served, or a dated one."""
        name = model.rpartition("/")[2]
        known = max(_beginnings(name, (*self.served, *self.retired)), key=len, default="")
        if known in self.retired:
            return f"{name} was switched off by its vendor: choose another model."
        if self.served and not known:
            return f"{name} is no model that is known here: its name is sent as it is."
        return ""


def _beginnings(name: str, names: Iterable[str]) -> Iterable[str]:
    return (begin for begin in names if name == begin or name.startswith(f"{begin}-"))
