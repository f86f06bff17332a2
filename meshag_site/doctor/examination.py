"""All checks at once, each with a deadline: what nobody answers must not keep the others waiting."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError

from accounts_app.models import OwnedQuerySet, User
from connectors_app.models import Credential
from mesh.openness import has_open_door
from meshag_site.doctor import machine, programs, servers, setup
from meshag_site.doctor.failures import check_failures
from meshag_site.doctor.findings import FOR_MEMBERS, Area, Check, Finding, Installation, Level
from meshag_site.doctor.outages import Outage, check_outages, hear_outages, whom
from meshag_site.environment import read_runtime
from pipelines_app.models import Agent
from sessions_app.models import Incident, Usage

Rows = TypeVar("Rows", bound=OwnedQuerySet[Any])

DEADLINE: Final = 2.7
"""Seconds for each check; they run side by side."""
FRESH: Final = 3.0
"""Seconds for which a page shows the same findings, so that many who look cost no more than one."""

RUNNING: Mapping[str, Check] = {
    "NATS": servers.check_nats,
    "Valkey": servers.check_valkey,
    "Database": servers.check_database,
    "Workers": programs.check_workers,
    "Pages": programs.check_pages,
    "Jobs": programs.check_jobs,
    "Call socket": programs.check_socket,
}
RESTING: Mapping[str, Check] = {
    "Providers": setup.check_providers,
    "Settings": setup.check_settings,
    "Machine": machine.check_machine,
}
"""What can be told of an installation that does not run."""


def this_installation() -> Installation:
    return Installation(
        data_dir=settings.DATA_DIR,
        nats_url=settings.NATS_URL,
        valkey_url=settings.VALKEY_URL,
        runtime=read_runtime(settings.DATA_DIR / "runtime.json"),
        environ=os.environ,
        public_url=settings.PUBLIC_URL,
        allowed_hosts=tuple(settings.ALLOWED_HOSTS),
        bind=settings.BIND,
        debug=settings.DEBUG,
        has_open_door=has_open_door(
            embedded=settings.EMBEDDED, public_url=settings.PUBLIC_URL, is_wanted=settings.OPEN_DOOR
        ),
    )


async def examine(its: Installation) -> list[Finding]:
    """Everything but what is the workspaces' own."""
    checks = RESTING if await _rests(its) else {**RUNNING, **RESTING}
    found = await asyncio.gather(*(_in_time(name, check, its) for name, check in checks.items()))
    order = list(Area)
    findings = [finding for part in found for finding in part]
    if checks is RESTING:
        findings.append(not_running(its))
    return sorted(findings, key=lambda finding: order.index(finding.area))


async def _in_time(name: str, check: Check, its: Installation) -> list[Finding]:
    try:
        async with asyncio.timeout(DEADLINE):
            return await check(its)
    except TimeoutError:
        seen = f"could not be examined within {DEADLINE:.0f} s"
        return [Finding(Area.MACHINE, name, Level.PROBLEM, seen, "see whether the machine is overloaded; try again")]


async def _rests(its: Installation) -> bool:
    """Nothing of it runs: neither `make up` nor any of its servers."""
    if its.is_started:
        return False
    there = await asyncio.gather(*(servers.answers(url) for url in (its.nats_url, its.valkey_url)))
    return not any(there)


def not_running(its: Installation) -> Finding:
    places = " and ".join(servers.place_of(url) for url in (its.nats_url, its.valkey_url))
    seen = f"no `make up` runs with the data in {its.data_dir}, and nothing answers at {places}"
    return Finding(Area.SERVERS, "MeshAG is not running", Level.PROBLEM, seen, "start it with `make up`")


def examine_workspaces(user: User | None, outages: Sequence[Outage] | None) -> list[Finding]:
    """Providers, keys, outages and failures of the workspaces that a person belongs to; None: of all."""
    keys, agents = _theirs(Credential.objects.in_use(), user), _theirs(Agent.objects.all(), user)
    incidents, usage = _theirs(Incident.objects.all(), user), _theirs(Usage.objects.all(), user)
    try:
        used = list(keys.select_related("workspace"))
        published = agents.filter(published__isnull=False).select_related("workspace", "published")
        own = [
            *check_outages(outages, published, sees_all=user is None),
            *setup.check_credentials(os.environ, used),
            *check_failures(incidents, usage, whom(outages or ())),
        ]
    except DatabaseError:
        return setup.check_roles(os.environ, [])  # the database's own finding says why
    return [*setup.check_roles(os.environ, used), *own]


def _theirs(rows: Rows, user: User | None) -> Rows:
    return rows if user is None else rows.for_user(user)


class Doctor:
    """Examines this installation, at most every few seconds."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._found: list[Finding] = []
        self._outages: list[Outage] | None = []
        self._at = -FRESH

    async def examine(self) -> list[Finding]:
        async with self._asking:
            if time.monotonic() - self._at >= FRESH:
                its = this_installation()
                self._found, self._outages = await asyncio.gather(examine(its), hear_outages(its))
                self._at = time.monotonic()
            return self._found

    async def examine_for(self, user: User) -> tuple[list[Finding], list[Finding]]:
        """What this person may read, and what is the operators' business: staff may belong to one workspace only."""
        found = await self.examine()
        if user.is_superuser:
            return [*await sync_to_async(examine_workspaces)(None, self._outages), *found], []
        own = await sync_to_async(examine_workspaces)(user, self._outages)
        shown = [finding for finding in found if finding.area in FOR_MEMBERS]
        return [*own, *shown], [finding for finding in found if finding.area not in FOR_MEMBERS]
