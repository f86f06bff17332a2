"""The pages of sessions: the list, and one as it goes on."""

from collections.abc import Mapping

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts_app.models import Right
from pipelines_app.models import Agent
from sessions_app import rendering
from sessions_app.actions import people_in
from sessions_app.choice import Choice
from sessions_app.models import Session
from sessions_app.switchboard import Refused, TransportAway


@login_required
@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    choice = Choice.read(request.GET)
    sessions, has_older = choice.rows(request.user)
    agents = Agent.objects.for_user(request.user).filter(published__isnull=False).values_list("slug", "name").distinct()
    context = {"sessions": sessions, "choice": choice, "has_older": has_older, "agents": agents}
    return render(request, "sessions_app/list.html", context)


@login_required
@require_safe
def detail(request: HttpRequest, session_id: str) -> HttpResponse:
    sessions = Session.objects.for_user(request.user).select_related("agent_version__agent", "workspace")
    session = get_object_or_404(sessions, id=session_id)
    said, turns = rendering.said_in(session), rendering.turns_of(session)
    context: Mapping[str, object] = {
        "session": session,
        "said": said,
        "turns": turns,
        "shown": rendering.fingerprint(said, turns),
        "may_run": Session.objects.for_user(request.user, Right.RUN).filter(pk=session.pk).exists(),
    }
    return render(request, "sessions_app/detail.html", context)


@login_required
@never_cache
@require_safe
def presence(request: HttpRequest, session_id: str) -> HttpResponse:
    """A part of a session's page: who is in its room."""
    sessions = Session.objects.for_user(request.user).select_related("workspace")
    session = get_object_or_404(sessions, id=session_id)
    context: dict[str, object] = {"session": session, "is_asked": True}
    try:
        context["people"] = people_in(session=session)
    except (TransportAway, Refused) as error:
        context["unknown"] = str(error)
    return render(request, "sessions_app/_presence.html", context)


def session_to_run(request: HttpRequest, session_id: str) -> Session:
    """Raises Http404 for a stranger, PermissionDenied for a mere onlooker."""
    sessions = Session.objects.for_user(request.user).select_related("agent_version__agent", "workspace")
    session = get_object_or_404(sessions, id=session_id)
    if not Session.objects.for_user(request.user, Right.RUN).filter(pk=session.pk).exists():
        raise PermissionDenied
    return session
