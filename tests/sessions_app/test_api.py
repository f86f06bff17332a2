"""The API of sessions, without a transport and with one that answers as it is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts_app.models import User, Workspace
from mesh.asking import Detail, Opened
from pipelines_app.actions import publish_agent
from pipelines_app.models import AgentVersion
from sessions_app import api, switchboard
from sessions_app.models import Session
from sessions_app.switchboard import NobodyAnswers, Refused
from tests.api import Program, paths, person, program
from tests.sessions_app.stories import Story, Write, tell_a_call
from tests.sessions_app.test_list import make_sessions
from tests.world import make_document, redraft

KEPT = ("transcript", "turns", "usage", "incidents")
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "sessions/s1/say", {"text": "Hello."}),
    ("PUT", "sessions/s1/config", make_document()),
    ("POST", "sessions/s1/end", {}),
    ("DELETE", "sessions/s1", None),
)
STEPS_OF_A_SESSION: tuple[tuple[str, str, Any], ...] = (
    ("post", "sessions", {"agent": "shop"}),
    ("get", "sessions", None),
    ("get", "sessions/s1", None),
    ("get", "sessions/s1/config", None),
    ("get", "sessions/s1/presence", None),
    *(("get", f"sessions/s1/{name}", None) for name in KEPT),
    *((method.lower(), path, body) for method, path, body in WRITES),
)
"""Every operation but the stream."""


class Transport:
    """Takes what is asked, and notes it; refuses with `refusal`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusal: Exception | None = None

    def answering(self, verb: str, answer: Any) -> Any:
        async def take(**values: Any) -> Any:
            self.asked.append((verb, values))
            if self.refusal:
                raise self.refusal
            return answer

        return take


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Transport:
    transport = Transport()
    opened = Opened(session="s1", path="/media/websocket/s1", token="t0", expires_in=600)
    for verb, answer in (("open_session", opened), ("say", None), ("end", None), ("change_config", "r2")):
        monkeypatch.setattr(switchboard, verb, transport.answering(verb, answer))
    monkeypatch.setattr(api, "ROW_WITHIN", 0.0)
    return transport


@pytest.fixture
def key(workspace: Workspace) -> Program:
    return program(workspace)


# -- starting --------------------------------------------------------------------------------------------


def test_an_agent_is_started_by_its_published_version(
    key: Program, version: AgentVersion, transport: Transport
) -> None:
    answer = key.post("sessions", {"agent": "shop", "name": "Trial"})
    assert answer.status_code == 201
    assert {"id": "s1", "agent": "shop", "version": 1, "workspace": "bicycles"}.items() <= answer.json().items()
    assert answer.json()["socket_url"] == "ws://testserver:8084/media/websocket/s1/t0"
    (_, asked) = transport.asked[0]
    assert (asked["config"], asked["agent_version"], asked["name"]) == (version.config, 1, "Trial")


@pytest.mark.accepts("C39", "C40")
def test_a_session_brings_its_own_variables(key: Program, version: AgentVersion, transport: Transport) -> None:
    document = make_document(variables={"city": "Ulm", "team": "sales"})
    publish_agent(agent=redraft(version.agent, document))
    body = {"agent": "shop", "variables": {"city": "Köln", "customer": {"name": "Ada"}}}
    assert key.post("sessions", body).status_code == 201
    together = {"city": "Köln", "team": "sales", "customer": {"name": "Ada"}}
    assert transport.asked[0][1]["config"] == document | {"variables": together}


def test_a_document_is_started_as_it_is(key: Program, transport: Transport) -> None:
    answer = key.post("sessions", {"config": make_document(), "captions": False})
    assert (answer.status_code, answer.json()["agent"]) == (201, None)
    assert transport.asked[0][1]["config"] == make_document() and not transport.asked[0][1]["captions"]


def test_an_older_version_is_started(key: Program, version: AgentVersion, transport: Transport) -> None:
    assert key.post("sessions", {"agent": "shop", "version": 1}).json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "agent"),
        ({"agent": "nobody"}, "agent"),
        ({"agent": "shop", "version": 9}, "version"),
        ({"agent": "shop", "version": 2**40}, "version"),
        ({"version": 1}, "version"),
        ({"agent": "shop", "config": {}}, "config"),
        ({"config": "x"}, "config"),
        ({"config": {}, "variables": {}}, "variables"),
        ({"agent": "shop", "variables": []}, "variables"),
        ({"agent": "shop", "variables": {"the city": 1}}, "variables.the city"),
        ({"agent": "shop", "variables": {"session_id": 1}}, "variables.session_id"),
        ({"agent": "shop", "variables": {"a": "\0"}}, "variables.a"),
        ({"agent": "a\0b"}, "agent"),
        ({"name": "a\nb", "agent": "shop"}, "name"),
        ({"mood": "good"}, "mood"),
        ({"workspace": "boats"}, "workspace"),
    ],
)
def test_what_cannot_start_is_named(
    body: object, path: str, key: Program, version: AgentVersion, other_workspace: Workspace, transport: Transport
) -> None:
    answer = key.post("sessions", body)
    assert (answer.status_code, paths(answer)) == (422, [path])
    assert not transport.asked


def test_a_refused_document_names_its_paths(key: Program, transport: Transport) -> None:
    transport.refusal = Refused(422, "no", [Detail("config.connectors.llm", "is missing")])
    answer = key.post("sessions", {"config": make_document()})
    assert (answer.status_code, paths(answer)) == (422, ["config.connectors.llm"])


def test_without_a_transport_it_says_so(key: Program, version: AgentVersion, transport: Transport) -> None:
    transport.refusal = NobodyAnswers()
    answer = key.post("sessions", {"agent": "shop"})
    assert answer.status_code == 503 and "make up" in answer.json()["error"]


def test_starting_is_for_who_may_run(version: AgentVersion, transport: Transport, owner: User, teammate: User) -> None:
    statuses = [each.post("sessions", {"agent": "shop"}).status_code for each in map(person, (owner, teammate))]
    assert [*statuses, Program().post("sessions", {"agent": "shop"}).status_code] == [201, 403, 401]


# -- reading ---------------------------------------------------------------------------------------------


def test_a_call_is_told_in_all_its_parts(key: Program, workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    assert {"state": "ended", "name": "Booking", "turns": 1}.items() <= key.get("sessions/s1").json().items()
    texts = [entry["text"] for entry in key.get("sessions/s1/transcript").json()["results"]]
    assert texts == ["Hello.", "A table for two.", "When?", "I have"]
    turns = key.get("sessions/s1/turns").json()["results"]
    assert [(turn["number"], turn["waterfall"]) for turn in turns] == [(1, {"transcript": 210, "turn_end": 212})]
    assert key.get("sessions/s1/usage").json()["results"]
    assert key.get("sessions/s1/transcript", limit=2).json()["next"]


def test_sessions_are_found_by_what_they_are(key: Program, workspace: Workspace, version: AgentVersion) -> None:
    make_sessions(workspace, 3, agent_version=version)
    Session.objects.filter(id="bicycles-1").update(state="ended", ended_at=timezone.now())
    since = (timezone.now() - timedelta(seconds=90)).isoformat()
    wanted: list[tuple[dict[str, str], list[int]]] = [
        ({"state": "open"}, [0, 2]),
        ({"state": "over"}, [1]),
        ({"state": "ended"}, [1]),
        ({"agent": "shop"}, [0, 1, 2]),
        ({"agent": "other"}, []),
        ({"since": since}, [0, 1]),
        ({"until": since}, [2]),
        ({"workspace": "boats"}, []),
    ]
    for query, numbers in wanted:
        found = [session["id"] for session in key.get("sessions", **query).json()["results"]]
        assert found == [f"bicycles-{number}" for number in numbers], query


@pytest.mark.parametrize("query", ["state=x", "since=x", "agent=%00", "colour=red", "since=99999-01-01", "agent=%ff"])
def test_a_strange_filter_is_named(query: str, key: Program) -> None:
    answer = key.get(f"sessions?{query}")
    assert (
        answer.status_code == 200
        if query == "agent=%ff"
        else (answer.status_code, paths(answer))
        == (
            422,
            [query.partition("=")[0]],
        )
    )


@pytest.mark.parametrize("part", ["", "/config", *(f"/{name}" for name in KEPT)])
def test_reading_is_for_members(part: str, session: Session, teammate: User, stranger: User) -> None:
    assert person(teammate).get(f"sessions/s1{part}").status_code == 200
    assert person(stranger).get(f"sessions/s1{part}").status_code == 404
    assert Program().get(f"sessions/s1{part}").status_code == 401


@pytest.mark.parametrize("name", ["x" * 65, "a.b", "%00", "é", "a%2Fb"])
def test_a_strange_id_is_not_there(name: str, key: Program) -> None:
    assert key.get(f"sessions/{name}").status_code == 404


# -- steering --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_steering_is_for_who_may_run(
    method: str, path: str, body: Any, session: Session, transport: Transport, teammate: User, stranger: User
) -> None:
    statuses = [each.ask(method, path, body).status_code for each in map(person, (teammate, stranger))]
    assert [*statuses, Program().ask(method, path, body).status_code] == [403, 404, 401]
    assert not transport.asked


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_key_steers_its_sessions(
    method: str, path: str, body: Any, key: Program, session: Session, transport: Transport
) -> None:
    assert key.ask(method, path, body).status_code in (200, 202, 204)
    assert len(transport.asked) == 1


def test_ending_twice_is_no_error(key: Program, workspace: Workspace, transport: Transport) -> None:
    make_sessions(workspace, 1, state="ended", ended_at=timezone.now())
    assert key.ask("DELETE", "sessions/bicycles-0").status_code == 204
    assert not transport.asked


def test_a_change_that_comes_too_late_is_refused(key: Program, session: Session, transport: Transport) -> None:
    transport.refusal = Refused(409, "The session is over; its configuration can no longer change.")
    answer = key.ask("PUT", "sessions/s1/config", make_document())
    assert (answer.status_code, "over" in answer.json()["error"]) == (409, True)


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "  "}, {"text": "a\0"}, {"text": "a" * 5000}, {"text": 5}])
def test_what_cannot_be_said_is_named(body: object, key: Program, session: Session, transport: Transport) -> None:
    answer = key.post("sessions/s1/say", body)
    assert (answer.status_code, paths(answer)) == (422, ["text"])
