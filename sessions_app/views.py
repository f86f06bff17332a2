"""The pages of sessions: the latest ones, and one as it goes on."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from sessions_app.models import Session

LATEST = 50


@login_required
@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    sessions = Session.objects.for_user(request.user).select_related("workspace", "agent_version__agent")[:LATEST]
    return render(request, "sessions_app/list.html", {"sessions": sessions})


@login_required
@require_safe
def detail(request: HttpRequest, session_id: str) -> HttpResponse:
    sessions = Session.objects.for_user(request.user).select_related("workspace", "agent_version__agent")
    session = get_object_or_404(sessions, id=session_id)
    context = {"session": session, "entries": session.transcript.all(), "incidents": session.incidents.all()}
    return render(request, "sessions_app/detail.html", context)
