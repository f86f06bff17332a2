"""A program with its key, and every kind of visitor, at the API."""

import json
from typing import Any

from django.test import Client

from accounts_app.actions import create_api_key
from accounts_app.models import Workspace
from tests.world import signed_in

Answer = Any


class Program:
    """Speaks JSON to /api/v1/ with a key, with somebody's session, or with neither."""

    def __init__(self, client: Client | None = None, key: str = "") -> None:
        self.client = client or Client()
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Answer:
        data = b"" if body is None else json.dumps(body)
        return self.client.generic(
            method.upper(),
            f"/api/v1/{path}",
            data,
            content_type="application/json",
            headers=self.headers,
            query_params={name: str(value) for name, value in query.items()} or None,
        )

    def get(self, path: str, **query: object) -> Answer:
        return self.ask("GET", path, **query)

    def post(self, path: str, body: object = None, **query: object) -> Answer:
        return self.ask("POST", path, {} if body is None else body, **query)


def program(workspace: Workspace) -> Program:
    return Program(key=create_api_key(workspace=workspace, name="Test")[1])


def person(user: Any) -> Program:
    return Program(signed_in(user))


def paths(answer: Answer) -> list[str]:
    """What an answer says is wrong."""
    return [problem["path"] for problem in answer.json()["detail"]]
