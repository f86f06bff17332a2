"""Who may call an agent from a page: members who may run it, and at this machine whoever opens the page."""

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from accounts_app.models import DEFAULT_WORKSPACE, Right
from mesh import openness
from mesh.openness import Visit
from pipelines_app.models import Agent, AgentQuerySet

VISITOR = "visitor"
"""How a caller is called who is not signed in."""


class SignInNeeded(Exception):
    """Nobody is signed in, and the door is not open."""


def is_open_to(request: HttpRequest) -> bool:
    """Whether somebody who is not signed in may call the default workspace's agents."""
    is_open = openness.has_open_door(
        embedded=settings.EMBEDDED, public_url=settings.PUBLIC_URL, is_wanted=settings.OPEN_DOOR
    )
    return openness.may_enter(_visit(request), is_open=is_open)


def _visit(request: HttpRequest) -> Visit:
    """A link on another site that leads here is no harm: what is done from the page comes from the page."""
    scope = getattr(request, "scope", {"http_version": "1.1"})
    major, _, minor = scope["http_version"].partition(".")
    headers = dict(request.headers)
    if request.method in ("GET", "HEAD") and headers.get("Sec-Fetch-Mode") == "navigate":
        headers.pop("Sec-Fetch-Site", None)
    host = request.META.get("HTTP_HOST", "")
    return Visit.of(request.META.get("REMOTE_ADDR"), host, (int(major), int(minor or 0)), headers.items())


def agents_for(request: HttpRequest) -> AgentQuerySet:
    """Published agents that the visitor may call. Raises SignInNeeded."""
    published = Agent.objects.filter(published__isnull=False).select_related("published", "workspace")
    if request.user.is_authenticated:
        return published.for_user(request.user, Right.RUN)
    if is_open_to(request):
        return published.filter(workspace__slug=DEFAULT_WORKSPACE)
    raise SignInNeeded


def agent_for(request: HttpRequest, workspace: str, slug: str) -> Agent:
    """The agent of this name. Raises SignInNeeded, Http404 for a stranger, PermissionDenied for a mere onlooker."""
    named = {"workspace__slug": workspace, "slug": slug}
    if agent := agents_for(request).filter(**named).first():
        return agent
    if not request.user.is_authenticated:
        raise SignInNeeded
    if Agent.objects.for_user(request.user).filter(published__isnull=False, **named).exists():
        raise PermissionDenied
    raise Http404
