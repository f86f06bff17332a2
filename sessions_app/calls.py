"""The call page: talk with an agent in the browser. The voice goes straight to the transport."""

import logging
import os
from collections.abc import Collection, Sequence

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from mesh.config.problems import ConfigError
from pipelines_app.chosen_credentials import Kept, kept_by, serving
from pipelines_app.models import Agent
from sessions_app.actions import start_session
from sessions_app.addresses import render_reaching, socket_origin
from sessions_app.introductions import Introduction, introduce
from sessions_app.switchboard import Refused, TransportAway
from sessions_app.visitors import VISITOR, SignInNeeded, agent_for, agents_for

log = logging.getLogger(__name__)

MOST_OTHERS = 50
AWAY = "No call can begin now: the part of MeshAG that carries calls does not answer. Try again in a moment."
NOTHING_KNOWN = Introduction((), (), ())


@require_safe
def default(request: HttpRequest) -> HttpResponseBase:
    """A default agent, of the oldest workspace first, else whichever can be called."""
    try:
        agent = agents_for(request).order_by("-is_default", "workspace", "slug").first()
    except SignInNeeded:
        return redirect_to_login(request.get_full_path())
    return _page(request, agent) if agent else render(request, "sessions_app/no_call.html")


@require_safe
def page(request: HttpRequest, workspace: str, slug: str) -> HttpResponseBase:
    try:
        return _page(request, agent_for(request, workspace, slug))
    except SignInNeeded:
        return redirect_to_login(request.get_full_path())


def _page(request: HttpRequest, agent: Agent) -> HttpResponse:
    others = [other for other in agents_for(request)[:MOST_OTHERS] if other.pk != agent.pk]
    introduction, *its = _introductions([agent, *others])
    context = {
        "agent": agent,
        "introduction": introduction,
        "others": list(zip(others, its, strict=True)),
        "local_url": f"http://localhost:{request.get_port()}{request.path}",
    }
    return render_reaching(request, "sessions_app/call.html", context, reaches=socket_origin(request))


def _introductions(agents: Sequence[Agent]) -> list[Introduction]:
    kept = kept_by({agent.workspace_id for agent in agents})
    return [_introduction(agent, kept[agent.workspace_id]) for agent in agents]


def _introduction(agent: Agent, kept: Collection[Kept]) -> Introduction:
    assert agent.published
    try:
        return introduce(agent.published, os.environ, serving(agent.published.config, kept))
    except ConfigError:  # an older version of us has let it pass; the start of a call says what is wrong
        return NOTHING_KNOWN


@require_POST
def start(request: HttpRequest, workspace: str, slug: str) -> HttpResponseBase:
    """Open a session and tell the page where its socket is. Every answer is for the page's script."""
    try:
        agent = agent_for(request, workspace, slug)
    except SignInNeeded:
        return JsonResponse({"message": "Please sign in again: reload this page."}, status=401)
    except PermissionDenied:
        return JsonResponse({"message": "Your role may not call this agent."}, status=403)
    except Http404:
        return JsonResponse({"message": "This agent can no longer be called. Reload this page."}, status=404)
    caller = request.user.get_username() or VISITOR
    try:
        opened = start_session(
            workspace=agent.workspace,
            version=agent.published,
            caller=caller,
            join_within=settings.CALL_JOIN_SECONDS,
        )
    except TransportAway as error:
        log.warning("no call of %s can begin: %s", agent, error)
        return JsonResponse({"message": AWAY}, status=error.status)
    except Refused as error:
        return JsonResponse({"message": error.message}, status=error.status)
    return JsonResponse({"url": f"{socket_origin(request)}{opened.socket_path}", "session": opened.session})
