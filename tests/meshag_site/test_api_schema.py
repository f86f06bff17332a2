"""The description of the API: complete, and true of every answer."""

import io
import json
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import get_resolver
from django.urls.resolvers import URLResolver
from drf_spectacular.generators import SchemaGenerator

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    found: dict[str, Any] = json.loads(json.dumps(generator.get_schema(request=None, public=True)))  # type: ignore[no-untyped-call]
    return found


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, item[method]) for path, item in schema["paths"].items() for method in METHODS & item.keys()]


def routes() -> set[tuple[str, str]]:
    """Every address under /api/v1/ with its methods, as Django resolves them."""
    api = next(each for each in get_resolver().url_patterns if str(each.pattern) == "api/v1/")
    assert isinstance(api, URLResolver)
    found = set()
    for pattern in api.url_patterns:
        path = (
            re.sub(r"\(\?P<\w+>.*?\)(?=[/?$])|\(\?P<\w+>[^)]*\)", "{}", str(pattern.pattern)).strip("^$").rstrip("?/")
        )
        methods = getattr(pattern.callback, "actions", None) or {"get": ""}
        found |= {(f"/api/v1/{path}", method) for method in METHODS & {*methods} if path not in ("", "schema")}
    return found


def test_the_description_is_valid_without_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


def test_every_route_is_described(schema: dict[str, Any]) -> None:
    described = {(re.sub(r"\{\w+\}", "{}", path), method) for path, method, _ in operations(schema)}
    assert described == routes()


def test_every_operation_is_explained(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        assert operation["summary"] and operation["description"], (path, method)
        assert {"bearerKey": []} in operation["security"] and {"cookieAuth": []} in operation["security"]
        assert "401" in operation["responses"]


def test_every_answer_with_content_has_an_example(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (media for part in parts for media in part.get("content", {}).values()):
            empty = "Nothing" in json.dumps(content["schema"])
            assert content.get("examples") or empty, (path, method)


def test_operations_have_names_of_their_own(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(names) == len(set(names))
