"""The first page: what goes on now for who is signed in, the call page for who is not."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts_app.models import Right, User
from pipelines_app.models import Agent
from sessions_app.models import Incident, Session, Turn
from sessions_app.visitors import is_open_to

CONSEQUENCES = (Incident.Kind.PROVIDER_SWITCHED, Incident.Kind.APOLOGISED)
"""Of failures, which are counted themselves."""
LATEST = 8
MOST_LIVE = 20
MOST_WAITING = 8
MOST_AGENTS = 8
LAST_ANSWER = 286
"""The status at which htmx asks no more."""


@dataclass(frozen=True, slots=True)
class GoingOn:
    html: SafeString

    @property
    def shown(self) -> str:
        """The same for the same look, so that a page that has it is left alone."""
        return hashlib.sha256(self.html.encode()).hexdigest()[:16]


@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    if not isinstance(request.user, User):
        return redirect("calls:default") if is_open_to(request) else redirect_to_login("/")
    user, yesterday = request.user, timezone.now() - timedelta(days=1)
    agents = Agent.objects.for_user(user, Right.RUN).filter(published__isnull=False).select_related("workspace")
    context = {
        "now": going_on(user),
        "agents": agents.order_by("-is_default", "name")[:MOST_AGENTS],
        "figures": figures(user, yesterday),
    }
    return render(request, "sessions_app/home.html", context)


@never_cache
@require_safe
def now(request: HttpRequest) -> HttpResponse:
    """What home asks for again and again, until it hears that the sign-in has ended."""
    if not isinstance(request.user, User):
        return render(request, "sessions_app/_signed_out.html", status=LAST_ANSWER)
    going = going_on(request.user)
    if request.GET.get("shown") == going.shown:
        return HttpResponse(status=204)
    return render(request, "sessions_app/_now.html", {"now": going})


def going_on(user: User) -> GoingOn:
    sessions = Session.objects.for_user(user).select_related("agent_version__agent", "workspace")
    context = {
        "live": sessions.live()[:MOST_LIVE],
        "waiting": sessions.waiting()[:MOST_WAITING],
        "latest": sessions[:LATEST],
    }
    return GoingOn(render_to_string("sessions_app/_going_on.html", context))


def figures(user: User, since: datetime) -> dict[str, Any]:
    """What has been done since then."""
    begun = Session.objects.for_user(user).filter(created_at__gte=since)
    sums = begun.aggregate(sessions=Count("pk", distinct=True), media=Sum("media_ms"))
    failures = Incident.objects.for_user(user).filter(~Q(kind__in=CONSEQUENCES), at__gte=since)
    return {
        "sessions": sums["sessions"],
        "minutes": round((sums["media"] or 0) / 60_000),
        "turns": Turn.objects.for_user(user).filter(session__created_at__gte=since).count(),
        "failures": failures.count(),
    }
