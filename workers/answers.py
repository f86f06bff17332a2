"""How the transport reads requests and says no: always JSON, always naming the field or setting and the fix."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import wraps
from typing import Annotated, TypeVar

from aiohttp import web
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from mesh.asking import Declined, Detail
from mesh.config.json_text import load_json
from mesh.config.problems import ConfigError, Problem
from mesh.store import BadSessionId, StoreUnavailable
from workers.desk import Unavailable

MAX_BODY = 512 * 1024

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=BaseModel)


class Refusal(Exception):
    """An answer that is not what was asked for."""

    def __init__(
        self, status: int, message: str, detail: Iterable[Problem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = tuple(detail)
        self.headers = headers

    def response(self) -> web.Response:
        body: dict[str, object] = {"error": self.message}
        if self.detail:
            body["detail"] = [{"path": problem.path, "message": problem.message} for problem in self.detail]
        return web.json_response(body, status=self.status, headers=self.headers)

    def declined(self) -> Declined:
        """The same for who asks by NATS."""
        detail = tuple(Detail(problem.path, problem.message) for problem in self.detail)
        return Declined(error=self.message, status=self.status, detail=detail)


def not_found() -> Refusal:
    return Refusal(404, "There is no such session.")


def unprocessable(*problems: Problem) -> Refusal:
    return Refusal(422, "; ".join(map(str, problems[:3])), problems)


EXPLAINED = (Refusal, ConfigError, BadSessionId, StoreUnavailable, Unavailable)


def refusal(error: Exception) -> Refusal:
    """What one of the EXPLAINED errors is to the one who asked."""
    match error:
        case Refusal():
            return error
        case ConfigError():
            return unprocessable(*error.problems)
        case BadSessionId():
            return not_found()
    log.warning("a request could not be answered", extra={"error": str(error)})
    return Refusal(503, str(error))


def explain(error: Exception) -> web.Response:
    """The response for one of the EXPLAINED errors."""
    return refusal(error).response()


def explained(handler: Handler) -> Handler:
    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except EXPLAINED as error:
            return explain(error)

    return answer


# -- bodies ----------------------------------------------------------------------------------------------

Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


async def read_json(request: web.Request) -> object:
    """The body as strict JSON; raises Refusal."""
    try:
        return load_json(await read_body(request))
    except ConfigError as error:
        raise Refusal(400, f"The body {error.problems[0].message}.") from None


async def read_body(request: web.Request) -> bytes:
    too_large = Refusal(413, f"The body is larger than {MAX_BODY // 1024} KiB.")
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    try:
        body = await request.read()
    except HTTPRequestEntityTooLarge:
        raise too_large from None
    except web.RequestPayloadError:
        raise Refusal(400, "The body is not encoded as its headers say.") from None
    if len(body) > MAX_BODY:
        raise too_large
    return body


def validated(model: type[Model], body: object) -> Model:
    """Raises Refusal, which names each field that is wrong."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise unprocessable(*(_problem(model, detail) for detail in error.errors(include_url=False))) from None


def _problem(model: type[BaseModel], error: ErrorDetails) -> Problem:
    path = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "missing":
            return Problem(path, "is missing")
        case "extra_forbidden":
            return Problem(path, f"is not a field of this request; allowed: {', '.join(_fields(model, error['loc']))}")
        case "model_type":
            return Problem(path, "must be an object")
    return Problem(path, error["msg"].replace("Input should", "must", 1).replace("valid ", "", 1))


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> Iterable[str]:
    for part in location[:-1]:
        inner = model.model_fields[str(part)].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        model = inner
    return model.model_fields
