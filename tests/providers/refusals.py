"""How a provider says no over HTTP: in the form that its clients take apart."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from tests.providers.routes import Provider


def refusal(
    provider: Provider, status: int, retry_after: float | None = None, message: str = "", param: str | None = None
) -> web.HTTPException:
    """The error to raise; `message` says more than the status does."""
    body, headers = provider.form(status, message or _phrase(status), param)
    wait = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return _http_error(status, body, {**headers, **wait})


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase} (stand-in)"
    except ValueError:
        return f"Error {status} (stand-in)"


def _http_error(status: int, body: object, headers: Mapping[str, str]) -> web.HTTPException:
    """aiohttp has a class for each status; a refusal has its own, with any."""

    class Refusal(web.HTTPException):
        status_code = status

    text = json.dumps(body) if body else ""
    arguments: dict[str, Any] = {"text": text, "content_type": "application/json"} if text else {}
    return Refusal(headers=headers, **arguments)
