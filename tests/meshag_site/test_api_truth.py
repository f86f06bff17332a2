"""The API held to its description: answers fit their schemas, and nothing that is asked makes it break."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from accounts_app.models import User
from pipelines_app.models import AgentVersion
from sessions_app.models import Session
from tests.api import person, program
from tests.meshag_site.test_api_schema import operations, schema  # noqa: F401
from tests.sessions_app.conftest import cursor, session, story, write  # noqa: F401
from tests.sessions_app.stories import Story, Write, tell_a_call
from tests.sessions_app.test_api import STEPS_OF_A_SESSION, Transport, transport  # noqa: F401
from tests.world import make_document

STEPS = [{"from": "transport", "to": "llm", "stream": "text"}]
CALLS: tuple[tuple[str, str, Any], ...] = (
    ("get", "me", None),
    ("get", "agents", None),
    ("get", "agents/shop", None),
    ("post", "agents", {"slug": "new", "draft": make_document(), "publish": True}),
    ("patch", "agents/shop", {"description": "Bicycles."}),
    ("put", "agents/shop/document", make_document(greeting="Hello.")),
    ("get", "agents/shop/compare", None),
    ("post", "agents/shop/withdraw", None),
    ("post", "agents/shop/publish", {"note": "x"}),
    ("get", "agents/shop/document", None),
    ("get", "agents/shop/versions", None),
    ("get", "agents/shop/versions/1", None),
    ("post", "agents/shop/versions/1/restore", None),
    ("post", "agents/shop/versions/1/roll-back", None),
    ("post", "pipelines", {"slug": "chat", "steps": STEPS}),
    ("get", "pipelines", None),
    ("get", "pipelines/chat", None),
    ("patch", "pipelines/chat", {"name": "Chat"}),
    ("delete", "pipelines/chat", None),
    ("post", "api-keys", {"name": "Key"}),
    ("get", "api-keys", None),
    *STEPS_OF_A_SESSION,
)


def template(path: str, described: dict[str, Any]) -> str:
    """The described address of a real one."""
    wanted = f"/api/v1/{path}".split("/")
    for known in described["paths"]:
        parts = known.split("/")
        if len(parts) == len(wanted) and all(a == b or a[:1] == "{" for a, b in zip(parts, wanted, strict=True)):
            return str(known)
    raise LookupError(path)


def check(answer: Any, operation: dict[str, Any], described: dict[str, Any]) -> None:
    """The status is described, and the body fits."""
    said = operation["responses"][str(answer.status_code)]
    if "content" in said:
        shape = next(iter(said["content"].values()))["schema"] | {"components": described["components"]}
        Draft202012Validator(shape).validate(answer.json())
    else:
        assert not answer.content


def test_every_answer_fits_its_description(
    schema: dict[str, Any],  # noqa: F811
    owner: User,
    version: AgentVersion,
    story: Story,  # noqa: F811
    write: Write,  # noqa: F811
    transport: Transport,  # noqa: F811
) -> None:
    write(tell_a_call(story))
    asker, called = person(owner), set()
    for method, path, body in CALLS:
        known = template(path, schema)
        answer = asker.ask(method, path, body)
        assert answer.status_code < 300, (method, path, answer.content)
        check(answer, schema["paths"][known][method], schema)
        called.add((known, method))
    rest = {(path, method) for path, method, _ in operations(schema)} - called
    assert rest == {("/api/v1/sessions/{id}/events", "get")} | {
        ("/api/v1/api-keys/{id}", method) for method in ("get", "delete")
    }


def test_examples_fit_their_schemas(schema: dict[str, Any]) -> None:  # noqa: F811
    for _, _, operation in operations(schema):
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (media for part in parts for media in part.get("content", {}).values()):
            validator = Draft202012Validator(media["schema"] | {"components": schema["components"]})
            for example in media.get("examples", {}).values():
                validator.validate(example["value"])


# -- fuzzing ---------------------------------------------------------------------------------------------

NASTY = st.sampled_from(["\0", "\ud800", "a" * 5000, "é", "' OR 1=1", "../..", "%00", "null", "-1", "9" * 40, " ", ""])
SIMPLE = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | NASTY
JSON = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | NASTY, inner, max_size=4)
)
FIELDS = (
    ("slug", "name", "draft", "config", "steps", "agent", "version", "workspace", "text", "note", "publish")
    + ("is_default", "capabilities", "phone_number", "from", "to", "stream", "expires_at", "caller", "captions")
    + ("description", "overwrite_draft", "variables", "user_template")
)
PARAMETERS = (
    "cursor",
    "limit",
    "state",
    "since",
    "until",
    "agent",
    "workspace",
    "old",
    "new",
    "version",
    "format",
    "x",
)
NAMES = st.sampled_from(FIELDS)
BODIES = st.dictionaries(NAMES, JSON, max_size=6) | JSON
QUERIES = st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=20) | NASTY, max_size=3)
PLACES = st.sampled_from(["shop", "s1", "1", "draft", "0", "999999999"]) | NASTY | st.text(min_size=1, max_size=9)


@pytest.fixture
def fuzzed(version: AgentVersion, session: Session, transport: Transport) -> Client:  # noqa: F811
    asker = program(version.agent.workspace)
    return Client(headers=asker.headers, raise_request_exception=False)


@settings(
    max_examples=400,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_that_is_asked_makes_it_break(
    data: st.DataObject,
    schema: dict[str, Any],  # noqa: F811
    fuzzed: Client,
) -> None:
    known = [each for each in operations(schema) if not each[0].endswith("/events")]
    path, method, _ = data.draw(st.sampled_from(sorted(known, key=lambda each: each[:2])))
    while "{" in path:
        before, _, after = path.partition("{")
        place = data.draw(PLACES).encode(errors="surrogatepass")
        path = before + quote(place, safe="") + after.partition("}")[2]
    query = {name: value.encode(errors="replace").decode() for name, value in data.draw(QUERIES).items()}
    body = data.draw(st.binary(max_size=20) | BODIES.map(lambda value: json.dumps(value).encode()))
    answer = fuzzed.generic(method.upper(), path, body, content_type="application/json", query_params=query)
    assert answer.status_code < 500, (method, path, query, body, answer.content)
    if answer.status_code >= 400:
        assert json.loads(answer.content)["error"]
