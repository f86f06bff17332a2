"""Documents at the root that others rely on."""

import re

import pytest

from connectors_app import registry
from connectors_app.base import Role
from meshag_site.ports import DOCUMENTED
from tests.rows import ROOT


@pytest.mark.accepts("M115")
def test_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_env_example_names_every_providers_settings() -> None:
    missing = {name for role in Role for names in registry.missing(role, {}).values() for name in names}
    assert missing | set(DOCUMENTED) <= example_names()


def test_env_example_sets_nothing() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert all(not line or line.startswith("#") for line in lines)


def example_names() -> set[str]:
    return set(re.findall(r"^#([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
