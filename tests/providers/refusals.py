"""How each provider says no over HTTP: the error bodies that its clients take apart."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from aiohttp import web

_OPENAI_CODES = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_ELEVENLABS_STATUS = {
    401: "invalid_api_key",
    402: "quota_exceeded",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
}
_DEEPGRAM_CODES = {
    400: "Bad Request",
    401: "INVALID_AUTH",
    402: "ASR_PAYMENT_REQUIRED",
    403: "INSUFFICIENT_PERMISSIONS",
    404: "PROJECT_NOT_FOUND",
    429: "TOO_MANY_REQUESTS",
}


def refusal(
    provider: str, status: int, retry_after: float | None = None, message: str = "", param: str | None = None
) -> web.HTTPException:
    """The error to raise; `message` says more than the status does."""
    message = message or _phrase(status)
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    body: object
    match provider:
        case "openai":
            kind, code = _OPENAI_CODES.get(status, ("invalid_request_error", None))
            body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        case "anthropic":
            kind = _ANTHROPIC_TYPES.get(status, "api_error")
            body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{uuid4().hex}"}
        case "elevenlabs":
            body = {"detail": {"status": elevenlabs_status(status), "message": message}}
        case "deepgram":
            request_id = str(uuid4())
            code = _DEEPGRAM_CODES.get(status, "INTERNAL_SERVER_ERROR")
            headers |= {"dg-request-id": request_id, "dg-error": message}
            body = {"err_code": code, "err_msg": message, "request_id": request_id}
        case _:
            body = ""
    return _http_error(status, body, headers)


def elevenlabs_status(status: int) -> str:
    return _ELEVENLABS_STATUS.get(status, "internal_server_error" if status >= 500 else "invalid_request")


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
