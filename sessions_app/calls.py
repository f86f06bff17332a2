"""The call page: talk with an agent in the browser. The voice goes straight to the transport."""

import os

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts_app.models import DEFAULT_WORKSPACE
from mesh.config import ConfigError
from pipelines_app.models import Agent
from sessions_app.actions import start_session
from sessions_app.addresses import socket_origin
from sessions_app.introductions import Introduction, introduce
from sessions_app.switchboard import Refused, TransportAway
from sessions_app.visitors import SignInNeeded, agent_for, agents_for, is_open_to

MOST_OTHERS = 50
NOTHING_KNOWN = Introduction((), (), ())


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """A newcomer at this machine finds an agent to talk with; everybody else the sessions, after signing in."""
    is_new = not request.user.is_authenticated and is_open_to(request)
    return redirect("calls:default" if is_new else "sessions:list")


@require_safe
def default(request: HttpRequest) -> HttpResponseBase:
    """The default agent of the default workspace, else of another one, else the first agent that can be called."""
    try:
        agents = list(agents_for(request)[:MOST_OTHERS])
    except SignInNeeded:
        return redirect_to_login(request.get_full_path())
    if not agents:
        return render(request, "sessions_app/no_call.html")
    agents.sort(key=lambda agent: (not agent.is_default, agent.workspace.slug != DEFAULT_WORKSPACE))
    return _page(request, agents[0])


@require_safe
def page(request: HttpRequest, workspace: str, slug: str) -> HttpResponseBase:
    try:
        return _page(request, agent_for(request, workspace, slug))
    except SignInNeeded:
        return redirect_to_login(request.get_full_path())


def _page(request: HttpRequest, agent: Agent) -> HttpResponse:
    others = [other for other in agents_for(request)[:MOST_OTHERS] if other.pk != agent.pk]
    context = {
        "agent": agent,
        "introduction": _introduction(agent),
        "others": [(other, _introduction(other)) for other in others],
        "local_url": f"http://localhost:{request.get_port()}{request.path}",
    }
    response = render(request, "sessions_app/call.html", context)
    response.may_connect_to = (socket_origin(request),)  # type: ignore[attr-defined]  # the content policy reads it
    return response


def _introduction(agent: Agent) -> Introduction:
    assert agent.published
    try:
        return introduce(agent.published, os.environ)
    except ConfigError:  # an older version of us has let it pass; the start of a call says what is wrong
        return NOTHING_KNOWN


@require_POST
def start(request: HttpRequest, workspace: str, slug: str) -> HttpResponseBase:
    """Open a session and tell the page where its socket is."""
    try:
        agent = agent_for(request, workspace, slug)
    except SignInNeeded:
        return JsonResponse({"message": "Please sign in again: reload this page."}, status=401)
    caller = request.user.get_username()
    try:
        opened = start_session(workspace=agent.workspace, version=agent.published, caller=caller)
    except (TransportAway, Refused) as error:
        return JsonResponse({"message": str(error)}, status=error.status)
    return JsonResponse({"url": f"{socket_origin(request)}{opened.socket_path}", "session": opened.session})
