"""The first page: what goes on now for who is signed in, the call page for who is not."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts_app.models import Right, User
from pipelines_app.models import Agent
from sessions_app.models import Incident, Session, Turn
from sessions_app.visitors import is_open_to

LATEST = 8
MOST_LIVE = 20
MOST_AGENTS = 8


@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    if not isinstance(request.user, User):
        return redirect("calls:default") if is_open_to(request) else redirect_to_login("/")
    user, yesterday = request.user, timezone.now() - timedelta(days=1)
    sessions = Session.objects.for_user(user).select_related("agent_version__agent", "workspace")
    agents = Agent.objects.for_user(user, Right.RUN).filter(published__isnull=False).select_related("workspace")
    context = {
        "live": sessions.live()[:MOST_LIVE],
        "latest": sessions[:LATEST],
        "agents": agents.order_by("-is_default", "name")[:MOST_AGENTS],
        "figures": figures(user, yesterday),
    }
    return render(request, "sessions_app/home.html", context)


def figures(user: User, since: datetime) -> dict[str, Any]:
    """What has been done since then."""
    begun = Session.objects.for_user(user).filter(created_at__gte=since)
    sums = begun.aggregate(sessions=Count("pk", distinct=True), media=Sum("media_ms"))
    failures = Incident.objects.for_user(user).filter(~Q(kind=Incident.Kind.PROVIDER_SWITCHED), at__gte=since)
    return {
        "sessions": sums["sessions"],
        "minutes": round((sums["media"] or 0) / 60_000),
        "turns": Turn.objects.for_user(user).filter(session__created_at__gte=since).count(),
        "failures": failures.count(),
    }
