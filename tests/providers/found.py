"""Finds the stand-ins of this folder: a provider's is one file, and no other file names it."""

import importlib
import pkgutil
from functools import cache
from typing import cast

from tests import providers
from tests.providers.routes import Route, StandIn, Turn

_PARTS = ("TURNS", "add_routes", "environment")


@cache
def stand_ins() -> tuple[StandIn, ...]:
    found = (info.name for info in pkgutil.iter_modules(providers.__path__) if not info.name.startswith("_"))
    modules = (importlib.import_module(f"{providers.__name__}.{name}") for name in found)
    return tuple(cast(StandIn, module) for module in modules if all(hasattr(module, part) for part in _PARTS))


@cache
def routes() -> dict[str, Route]:
    """All that can be steered, by name."""
    found: dict[str, Route] = {}
    for module in stand_ins():
        for route in vars(module).values():
            if isinstance(route, Route) and found.setdefault(route.name, route) is not route:
                raise ValueError(f"two stand-ins declare the route {route}")
    return found


def route(name: str) -> Route:
    """Raises ValueError."""
    try:
        return routes()[name]
    except KeyError:
        raise ValueError(f"there is no route {name}; there are: {', '.join(sorted(routes()))}") from None


@cache
def turns() -> tuple[Turn, ...]:
    return tuple(turn for module in stand_ins() for turn in module.TURNS)


def environment(url: str) -> dict[str, str]:
    """The settings that point every provider at the stand-ins."""
    return {name: value for module in stand_ins() for name, value in module.environment(url).items()}
