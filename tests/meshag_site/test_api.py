"""What holds for the whole API: one shape of errors, pages by cursor, bodies within bounds."""

import base64
import json

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts_app.bodies import MAX_BODY
from accounts_app.models import User, Workspace
from tests.api import Program, paths, person, program
from tests.sessions_app.test_list import make_sessions


def cursor(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def test_an_unknown_address_answers_json(db: None) -> None:
    answer = Program().get("nothing/here")
    assert answer.status_code == 404 and "/api/docs/" in answer.json()["error"]


@pytest.mark.parametrize("path", ["agents/a", "sessions/s", "sessions/s/turns", "sessions/s/events", "pipelines/p"])
def test_what_is_not_there_is_told_alike(path: str, owner: User) -> None:
    answer = person(owner).get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found."})


@pytest.mark.parametrize("path", ["me/", "agents/", "sessions/"])
def test_a_slash_at_the_end_does_no_harm(path: str, owner: User) -> None:
    assert person(owner).get(path).status_code == 200


def test_another_method_is_refused(owner: User) -> None:
    answer = person(owner).ask("DELETE", "agents")
    assert (answer.status_code, list(answer.json())) == (405, ["error"])


def test_a_body_must_be_json(workspace: Workspace) -> None:
    asker = program(workspace)
    form = asker.client.post("/api/v1/agents", {"slug": "a"}, headers=asker.headers)
    assert form.status_code == 415 and form.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[" * 100_000, b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff\xfe"])
def test_a_broken_body_is_refused(body: bytes, workspace: Workspace) -> None:
    asker = program(workspace)
    answer = asker.client.generic(
        "POST", "/api/v1/pipelines", body, content_type="application/json", headers=asker.headers
    )
    assert answer.status_code in (400, 422) and answer.json()["error"]


def test_a_huge_body_is_refused(workspace: Workspace) -> None:
    answer = program(workspace).post("pipelines", {"slug": "a" * MAX_BODY})
    assert (answer.status_code, list(answer.json())) == (413, ["error"])


@pytest.mark.parametrize(
    "place",
    ["x", "====", "bnVsbA", cursor(), cursor("a"), cursor(1, 2), cursor("now", "s"), cursor("2026-01-01", "\0")]
    + [cursor("9999-99-99T00:00:00Z", "a"), cursor("2026-01-01T00:00:00Z", "\ud800"), cursor(["a"], "b"), "é"],
)
def test_a_strange_cursor_is_named(place: str, owner: User) -> None:
    answer = person(owner).get("sessions", cursor=place)
    assert (answer.status_code, paths(answer)) == (422, ["cursor"])


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "9" * 30, "²"])
def test_a_strange_limit_is_named(limit: str, owner: User) -> None:
    answer = person(owner).get("sessions", limit=limit)
    assert (answer.status_code, paths(answer)) == (422, ["limit"])


def test_pages_meet_without_gap_or_double(owner: User, workspace: Workspace) -> None:
    make_sessions(workspace, 25)
    asker, found, page = person(owner), [], "/api/v1/sessions?limit=10"
    while page:
        answer = asker.client.get(page).json()
        found += [session["id"] for session in answer["results"]]
        page = answer["next"]
    assert found == [f"bicycles-{number}" for number in range(25)]


def test_a_page_stays_when_rows_are_added(owner: User, workspace: Workspace, other_workspace: Workspace) -> None:
    make_sessions(workspace, 4)
    asker = person(owner)
    page = asker.get("sessions", limit=2).json()["next"]
    workspace.sessions.filter(id="bicycles-0").delete()
    assert [each["id"] for each in asker.client.get(page).json()["results"]] == ["bicycles-2", "bicycles-3"]


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("path", ["sessions", "agents", "pipelines"])
def test_queries_do_not_grow(
    count: int, path: str, owner: User, workspace: Workspace, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_sessions(workspace, count)
    for number in range(count):
        workspace.agents.create(slug=f"a{number}", name="a")
        workspace.pipelines.create(slug=f"p{number}", name="p").steps.create(
            source="transport", target="stt", stream="audio"
        )
    asker = person(owner)
    with django_assert_max_num_queries(4):  # the login's two, the rows, and steps
        assert len(asker.get(path).json()["results"]) == count


@pytest.mark.parametrize("path", ["/api/docs/", "/api/redoc/"])
def test_the_pages_load_nothing_from_elsewhere(path: str, owner: User) -> None:
    answer = person(owner).client.get(path)
    assert answer.status_code == 200
    assert "https://" not in answer.content.decode() and "http://" not in answer.content.decode()
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "default-src 'none'" in policy


def test_redoc_fetches_no_picture_from_elsewhere(db: None) -> None:
    script = Program().client.get("/api/redoc/?script")
    assert script.status_code == 200 and b"Redoc" in script.content and b"cdn.redoc.ly" not in script.content


def test_the_description_needs_no_account(db: None) -> None:
    answer = Program().client.get("/api/v1/schema/", headers={"accept": "application/json"})
    assert answer.status_code == 200 and answer.json()["openapi"] == "3.1.0"
