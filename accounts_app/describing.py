"""How the API says no, and how an operation is described: its answers, its errors and an example of each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class ProblemAnswer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="The field, as in `connectors.llm.primary`; empty for the body as a whole.")
    message = serializers.CharField()


class Refusal(serializers.Serializer[Any]):
    """Every error has this shape, here and at the transport's own API."""

    error = serializers.CharField(help_text="For people: what is wrong, and the fix.")
    detail = ProblemAnswer(many=True, required=False, help_text="Every field that is wrong, where fields are.")


_TOLD: Mapping[int, tuple[str, str, list[dict[str, str]]]] = {
    400: (
        "Not JSON, or a workspace has to be named.",
        "The body is not JSON: Expecting value at line 1, column 1.",
        [],
    ),
    401: ("No credentials, or wrong ones.", "Send an API key as `Authorization: Bearer …`, or sign in.", []),
    403: ("Seen, but not allowed.", "You may not run in the workspace 'default'.", []),
    404: ("Not there, or another workspace's.", "Not found.", []),
    405: ("Another method.", 'Method "PATCH" not allowed.', []),
    409: (
        "Not in this state, or taken by somebody else in the same moment.",
        "The session is over; its configuration can no longer change.",
        [],
    ),
    410: (
        "No longer kept.",
        "The events are kept for a while after the session's end only. Its transcript and turns stay.",
        [],
    ),
    413: ("Too large.", "The body is larger than 512 KiB.", []),
    415: ("Not JSON.", 'Unsupported media type "text/plain" in request.', []),
    422: (
        "A field is wrong; `detail` names each.",
        "limit: must be 1 to 200",
        [{"path": "limit", "message": "must be 1 to 200"}],
    ),
    503: ("Something that is needed does not run.", "No transport answers; is it running? `make up` starts it.", []),
}


def _refusal(status: int) -> OpenApiResponse:
    description, error, detail = _TOLD[status]
    value: dict[str, Any] = {"error": error} | ({"detail": detail} if detail else {})
    example = OpenApiExample(description.rstrip("."), value=value, response_only=True, status_codes=[str(status)])
    return OpenApiResponse(Refusal, description=description, examples=[example])


def operation(
    summary: str,
    description: str,
    *,
    answers: Mapping[Any, Any],
    answer: Any = None,
    body: Any = None,
    bodies: Mapping[str, Any] | None = None,
    errors: Iterable[int] = (),
    parameters: Iterable[Any] = (),
    **more: Any,
) -> Callable[[Decorated], Decorated]:
    """`answer` is an example of the first answer, `bodies` are examples of requests by their names.

    That credentials are missing can happen everywhere; a body adds what can be wrong with bodies.
    """
    said: dict[Any, Any] = {status: _described(status, kind) for status, kind in answers.items()}
    usual = {401, *((400, 403, 413, 415, 422) if body is not None else ())}
    for status in sorted(usual | set(errors)):
        said[status] = _refusal(status)
    examples = [OpenApiExample(name, value=value, request_only=True) for name, value in (bodies or {}).items()]
    if answer is not None:
        examples.append(
            OpenApiExample(summary, value=answer, response_only=True, status_codes=[str(next(iter(answers)))])
        )
    return extend_schema(
        summary=summary,
        description=description,
        request=body,
        responses=said,
        examples=examples,
        parameters=[*parameters],
        **more,
    )


def _described(status: Any, kind: Any) -> Any:
    if kind is None:
        return OpenApiResponse(description="Done.")
    if isinstance(kind, OpenApiResponse):
        return kind
    return OpenApiResponse(kind, description={201: "Created.", 202: "Taken."}.get(status, "Here it is."))
