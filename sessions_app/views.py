"""The pages of sessions: the latest ones, and one as it goes on."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from sessions_app.models import Session, fingerprint

ON_A_PAGE = 50
LAST_PAGE = 10_000


@login_required
@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    """No page counts all rows: one row more than is shown tells whether there are older ones."""
    page = _page(request.GET.get("page", ""))
    sessions = Session.objects.for_user(request.user).select_related("agent_version__agent")
    rows = list(sessions[(page - 1) * ON_A_PAGE : page * ON_A_PAGE + 1])
    older = page + 1 if len(rows) > ON_A_PAGE and page < LAST_PAGE else None
    context = {"sessions": rows[:ON_A_PAGE], "newer": page - 1, "older": older}
    return render(request, "sessions_app/list.html", context)


def _page(text: str) -> int:
    """The first one for whatever is no page number."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1
    return min(max(number, 1), LAST_PAGE)


@login_required
@require_safe
def detail(request: HttpRequest, session_id: str) -> HttpResponse:
    sessions = Session.objects.for_user(request.user).select_related("agent_version__agent")
    session = get_object_or_404(sessions, id=session_id)
    entries = list(session.transcript.all())
    incidents = session.latest_incidents()
    context = {"session": session, "entries": entries, "incidents": incidents, "shown": fingerprint(entries)}
    return render(request, "sessions_app/detail.html", context)
