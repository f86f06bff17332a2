"""The providers that the contract is about: those that stand-ins declare turns of, and those that need no wire."""

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from tests.connectors_app.local_packages import local_voices
from tests.connectors_app.turns import is_local
from tests.providers.found import turns
from tests.providers.routes import Case, Turn


def on_wire(*roles: Role) -> list[Turn]:
    """The turns that stand-ins declare, of the providers that are there."""
    return [turn for turn in turns() if turn.role in roles and turn.slug in registry.names(turn.role)]


def all_of(*roles: Role) -> list[Case]:
    local = [(role, slug) for role in roles for slug in registry.names(role) if is_local(role, slug)]
    return [*on_wire(*roles), *(Case(role, slug, options=what_is_there(slug)) for role, slug in local)]


def what_is_there(slug: str) -> dict[str, str]:
    """The voice that Piper speaks with by default may not be among those that were lent to the tests."""
    return {"voice": local_voices()[0]} if slug == "piper" and local_voices() else {}


WIRED = pytest.mark.parametrize("turn", on_wire(*Role), ids=str)
WIRED_MODELS = pytest.mark.parametrize("turn", on_wire(Role.LLM), ids=str)
WIRED_RECOGNIZERS = pytest.mark.parametrize("turn", on_wire(Role.STT), ids=str)
ALL = pytest.mark.parametrize("case", all_of(*Role), ids=str)
MODELS = pytest.mark.parametrize("case", all_of(Role.LLM), ids=str)
VOICES = pytest.mark.parametrize("case", all_of(Role.TTS), ids=str)
RECOGNIZERS = pytest.mark.parametrize("case", all_of(Role.STT), ids=str)
