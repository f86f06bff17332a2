"""The API's addresses under /api/v1/, its one way to say no, and the pages that describe it."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import exception_handler

from accounts_app.api import APIKeyView, MeView
from mesh.bus.errors import BusError
from mesh.config.problems import ConfigError
from pipelines_app.actions import DraftWouldBeLost, NeverPublished
from pipelines_app.api import AgentView, VersionView
from pipelines_app.pipeline_api import PipelineView
from sessions_app.api import SessionView
from sessions_app.event_api import SessionEvents
from sessions_app.switchboard import Refused, TransportAway

Detail = list[dict[str, str]]
DRAFT_WOULD_BE_LOST = (
    "Nothing is restored: no version keeps the draft as it is now. Publish or export it first, or send "
    '"overwrite_draft": true to lose it.'
)


class Addresses(SimpleRouter):
    """With or without a slash at the end; the description has them without."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


router = Addresses()
router.register("api-keys", APIKeyView, "api-keys")
router.register("agents", AgentView, "agents")
router.register(r"agents/(?P<slug>[a-z0-9-]{1,64})/versions", VersionView, "versions")
router.register("pipelines", PipelineView, "pipelines")
router.register("sessions", SessionView, "sessions")


def not_there(request: HttpRequest, **_: str) -> JsonResponse:
    return JsonResponse({"error": "There is nothing at this address; see /api/docs/."}, status=404)


urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^me/?$", MeView.as_view({"get": "retrieve"}), name="me"),
    re_path(r"^sessions/(?P<pk>[A-Za-z0-9_-]{1,64})/events/?$", SessionEvents.as_view(), name="events"),
    *router.urls,
    re_path(r"", not_there),
]


# -- saying no -------------------------------------------------------------------------------------------


def explain(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Every error that is not ours as {error, detail}; None for our own."""
    match error:
        case ConfigError():
            return _refusal(422, [{"path": each.path, "message": each.message} for each in error.problems])
        case Refused():
            detail = [{"path": each.path, "message": each.message} for each in error.detail]
            return _refusal(error.status, detail, error.message)
        case TransportAway() | BusError():
            return _refusal(503, [], str(error))
        case OperationalError() | InterfaceError():
            return _refusal(503, [], "The database does not answer. Try again; see /doctor/.")
        case IntegrityError():
            return _refusal(409, [], "Somebody else has taken that name or number in this moment.")
        case NeverPublished():
            return _refusal(404, [], f"{error}.")
        case DraftWouldBeLost():
            return _refusal(409, [], DRAFT_WOULD_BE_LOST)
        case UnreadablePostError():
            return _refusal(400, [], "The body did not arrive.")
        case ModelError():
            return _refusal(422, list(_flat(error.message_dict if hasattr(error, "error_dict") else error.messages)))
        case exceptions.ValidationError():
            return _refusal(422, list(_flat(error.detail)))
    said = exceptions.NotFound() if isinstance(error, Http404) else error  # Django's would name the table
    answer = exception_handler(said, dict(context))
    if answer is not None:
        answer.data = _told(answer.data)
    return answer


def _refusal(status: int, detail: Detail, message: str = "") -> Response:
    detail = [{name: _sayable(text) for name, text in each.items()} for each in detail]
    said = message or "; ".join(f"{each['path'] or 'body'}: {each['message']}" for each in detail[:3])
    return Response({"error": said} | ({"detail": detail} if detail else {}), status=status)


def _sayable(text: str) -> str:
    """What is told of a request may hold what was in it: half of a pair, which no encoding has."""
    return text.encode(errors="replace").decode()


def _told(data: Any) -> dict[str, Any]:
    """What REST framework says, in our shape."""
    if isinstance(data, dict) and isinstance(data.get("detail"), str):
        return {"error": _sayable(data["detail"])}
    answer: dict[str, Any] = _refusal(400, list(_flat(data))).data
    return answer


def _flat(found: Any, path: str = "") -> Iterable[dict[str, str]]:
    if isinstance(found, dict):
        for name, inner in found.items():
            yield from _flat(inner, _below(path, name))
    elif isinstance(found, list) and any(isinstance(each, dict) for each in found):
        for index, inner in enumerate(found):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        for message in found if isinstance(found, list) else [found]:
            yield {"path": path, "message": str(message)}


def _below(path: str, name: object) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    if name in ("non_field_errors", "__all__"):
        return path
    return f"{path}.{name}" if path else str(name)
