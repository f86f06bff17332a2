"""Every page and every API path there is: somebody of another workspace gets nothing of it, read or written.

The paths come from the URL configuration, so a new one is asked too. The admin has a test of its own, and so have the
sockets.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from accounts_app.actions import create_api_key
from accounts_app.models import User, Workspace
from pipelines_app.actions import import_agent
from pipelines_app.models import Pipeline
from sessions_app.models import Session, Speaker, TranscriptEntry
from tests.world import make_document, signed_in

MARK = "zanzibar"
"""Stands in everything that the first workspace owns, and nowhere else."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = {403, 404, 405}
STREAMS = {"api/v1/sessions/{pk}/events"}
"""Endless where they are allowed."""
WRITES = ("POST", "PUT", "PATCH", "DELETE")
GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>")


def paths() -> Iterator[str]:
    """All but the admin's, with the names of their parts in braces."""

    def walk(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
        for pattern in patterns:
            path = before + str(pattern.pattern).removeprefix("^")
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, path)
            else:
                yield GROUP.sub(lambda found: "{" + (found[1] or found[2]) + "}", path).removesuffix("/?$")

    return (path for path in walk(get_resolver().url_patterns) if not path.startswith("admin/"))


PATHS = sorted(set(paths()))
OBJECTS = [path for path in PATHS if "{" in path]


@pytest.fixture
def parts(workspace: Workspace) -> dict[str, str]:
    agent = import_agent(
        workspace=workspace, slug=MARK, document=make_document(system_prompt=MARK, greeting=MARK), publish=True
    )
    key, _ = create_api_key(workspace=workspace, name=MARK)
    Pipeline.objects.create(workspace=workspace, slug=MARK, name=MARK)
    session = Session.objects.create(
        id=MARK, workspace=workspace, transport="websocket", created_at=NOW, agent_version=agent.published, name=MARK
    )
    TranscriptEntry.objects.create(
        workspace=workspace, session=session, event_id=MARK, sequence=1, speaker=Speaker.CALLER, text=MARK, at=NOW
    )
    return {
        "workspace": workspace.slug,
        "slug": MARK,
        "session_id": MARK,
        "pk": MARK,
        "number": "1",
        "key": str(key.pk),
    }


def address(path: str, parts: dict[str, str]) -> str:
    pk = parts["key"] if "api-keys" in path else parts["pk"]
    return "/" + path.format(**parts | {"pk": pk})


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_reads_nothing(path: str, parts: dict[str, str], stranger: User) -> None:
    answer = signed_in(stranger).get(address(path, parts))
    assert "{" not in path or answer.status_code in REFUSED
    body = b"".join(answer) if answer.streaming else answer.content
    asked = address(path, parts).encode()
    assert MARK.encode() not in body.replace(asked, b"")


@pytest.mark.parametrize("path", OBJECTS)
@pytest.mark.parametrize("method", WRITES)
def test_a_stranger_changes_nothing(path: str, method: str, parts: dict[str, str], stranger: User) -> None:
    answer = signed_in(stranger).generic(method, address(path, parts), b"{}", content_type="application/json")
    assert answer.status_code in REFUSED


@pytest.mark.parametrize("path", [path for path in OBJECTS if path not in STREAMS])
def test_its_owner_finds_what_is_there(path: str, parts: dict[str, str], owner: User) -> None:
    """Else the tests above would prove nothing."""
    assert signed_in(owner).get(address(path, parts)).status_code not in {403, 404}
