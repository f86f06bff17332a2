"""Documents at the root that others rely on."""

import re
from pathlib import Path
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from mesh.environment import INTERNAL
from meshag_site.ports import DOCUMENTED, TRANSPORT
from meshag_site.processes import plan
from tests.rows import ROOT
from workers.settings import Settings


@pytest.mark.accepts("M115")
def test_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_env_example_names_every_providers_settings() -> None:
    missing = {name for role in Role for names in registry.missing(role, {}).values() for name in names}
    assert missing | set(DOCUMENTED) <= example_names()


class Noting(dict[str, str]):
    """An environment that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default


def names_read(data_dir: Path) -> set[str]:
    """In the code as they stand there, and those that it puts together when it is started."""
    named: set[str] = set()
    for folder in {path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests", ROOT / "bench"}:
        for path in folder.rglob("*.py"):
            named |= set(re.findall(r'"(MESHAG_[A-Z_]+)"', path.read_text()))
    noting = Noting()
    Settings.from_environ(noting)
    plan(noting, data_dir)
    named |= {name for name in noting.asked if name.startswith("MESHAG_")}
    return {name for name in named if not name.endswith("_FILE")} | {"MESHAG_ENV_FILE"}


def test_every_setting_is_public_or_internal(tmp_path: Path) -> None:
    public = {name for name in example_names() if name.startswith("MESHAG_")}
    assert names_read(tmp_path) == public | set(INTERNAL)
    assert not public & set(INTERNAL)


def test_env_example_sets_nothing() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert all(not line or line.startswith("#") for line in lines)


API = ["/sessions", "/sessions/with-config", "/sessions/1f", "/sessions/1f/config", "/twilio", "/twilio/1f"]
MEDIA = ["/media/websocket/1f/token", "/media/twilio/token"]
PAGES = [
    "/",
    "/sessions/",
    "/sessions/1f/",
    "/admin/accounts_app/user/",
    "/live/sessions/1f/",
    "/login",
    "/static/a.js",
]


def test_proxy_parts_pages_from_the_api() -> None:
    conf = (ROOT / "docs" / "deployment.md").read_text()
    pattern, port = re.findall(r"location ~ (\S+) \{ proxy_pass http://127.0.0.1:(\d+)", conf)[0]
    assert port == str(DOCUMENTED[TRANSPORT])
    assert all(re.search(pattern, path) for path in API + MEDIA)
    assert not any(re.search(pattern, path) for path in PAGES)


def example_names() -> set[str]:
    return set(re.findall(r"^#([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
