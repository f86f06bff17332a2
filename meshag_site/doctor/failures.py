"""Which providers have failed in calls lately, and what to do about the last failure of each."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from connectors_app.base.errors import ErrorKind
from meshag_site.doctor.findings import Area, Finding, Level, of_area
from sessions_app.models import Incident

say = of_area(Area.PROVIDERS)

LATELY: Final = timedelta(hours=1)
FIXES: Mapping[str, str] = {
    ErrorKind.UNCONFIGURED: "give it what it lacks, or take it out of the agents that ask it",
    ErrorKind.REFUSED: "see whether this machine reaches the provider's address",
    ErrorKind.AUTH: "see whether its key still holds, and enter it again",
    ErrorKind.REQUEST: "correct its options in the agents that ask it",
    ErrorKind.QUOTA: "look at the account's credit at the provider",
    ErrorKind.RATE_LIMIT: "have the account's limit raised at the provider",
}
OTHERWISE: Final = "if it goes on, ask the provider; agents with a fallback go on meanwhile"


def check_failures(incidents: QuerySet[Incident]) -> list[Finding]:
    """A finding for each provider in each role that has failed."""
    lately = incidents.filter(kind=Incident.Kind.PROVIDER_FAILED, at__gte=timezone.now() - LATELY)
    groups = lately.order_by().values("role", "provider").annotate(times=Count("id"), last=Max("id"))
    counted = {group["last"]: group["times"] for group in groups.order_by("role", "provider")}
    last = Incident.objects.in_bulk(counted)
    return [_finding(last[pk], times) for pk, times in counted.items() if pk in last]


def _finding(last: Incident, times: int) -> Finding:
    failures = "a failure" if times == 1 else f"{times} failures, the last"
    seen = f"{failures} at {last.at:%H:%M} UTC: {last.detail or last.error}"
    name = f"{last.provider} ({last.role}) in calls"
    return say(name, Level.WARNING, seen, FIXES.get(last.error, OTHERWISE))
