"""Documents at the root that others rely on."""

import re

import pytest

from connectors_app import registry
from connectors_app.base import Role
from meshag_site.ports import DOCUMENTED, TRANSPORT
from tests.rows import ROOT


@pytest.mark.accepts("M115")
def test_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_env_example_names_every_providers_settings() -> None:
    missing = {name for role in Role for names in registry.missing(role, {}).values() for name in names}
    assert missing | set(DOCUMENTED) <= example_names()


def test_env_example_names_what_the_readers_read() -> None:
    sources = [ROOT / "meshag_site", ROOT / "workers", ROOT / "connectors_app" / "providers"]
    text = "".join(path.read_text() for folder in sources for path in folder.rglob("*.py"))
    named = set(re.findall(r'"(MESHAG_[A-Z_]+)"', text))
    handed_down = {"MESHAG_EMBEDDED", "MESHAG_TRANSPORT_FD"}
    assert {name for name in named if not name.endswith("_FILE")} - handed_down <= example_names()


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
