"""Which providers have failed in calls lately, whether they have answered since, and what to do about it."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from connectors_app.base.errors import ErrorKind
from meshag_site.doctor.findings import Area, Finding, Level, of_area
from sessions_app.models import Incident, Usage

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
SETTLED: Final = timedelta(seconds=10)
"""What an attempt used is told around its failure; what is told later is another attempt's."""
OTHERWISE: Final = "it is not out now; if it goes on, ask the provider"


def check_failures(
    incidents: QuerySet[Incident], usage: QuerySet[Usage], out: Collection[tuple[str, str]] = ()
) -> list[Finding]:
    """A finding for each provider in each role that has failed; of one that has answered since, a note.

    `out`: roles and providers that are out now, of which another finding says what to do.
    """
    lately = incidents.filter(kind=Incident.Kind.PROVIDER_FAILED, at__gte=timezone.now() - LATELY)
    groups = lately.order_by().values("role", "provider").annotate(times=Count("id"), last=Max("id"))
    counted = {group["last"]: group["times"] for group in groups.order_by("role", "provider")}
    last = Incident.objects.in_bulk(counted)
    return [_finding(last[pk], times, usage, out) for pk, times in counted.items() if pk in last]


def _answers_again(last: Incident, usage: QuerySet[Usage]) -> bool:
    """What it fails with after that is an incident of its own."""
    since = usage.filter(workspace=last.workspace_id, at__gt=last.at + SETTLED)
    return since.filter(role=last.role, provider=last.provider).exists()


def _finding(last: Incident, times: int, usage: QuerySet[Usage], out: Collection[tuple[str, str]]) -> Finding:
    failures = "a failure" if times == 1 else f"{times} failures, the last"
    seen = f"{failures} at {last.at:%H:%M} UTC: {last.detail or last.error}"
    name = f"{last.provider} ({last.role}) in calls"
    if (last.role, last.provider) in out:
        return say(name, Level.WARNING, f"{seen}; it is out now")
    if _answers_again(last, usage):
        return say(name, Level.OK, f"answers again, after {seen}")
    return say(name, Level.WARNING, seen, FIXES.get(last.error, OTHERWISE))
