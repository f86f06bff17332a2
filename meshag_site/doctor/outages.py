"""Which providers are out now, by the word that the workers share, and which published agents have nobody else."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from django.conf import settings
from django.utils import timezone

from connectors_app import registry
from connectors_app.base.connector import Role, Sealed
from connectors_app.breaker import Entry, Rules, Target
from connectors_app.models import Credential
from connectors_app.preparing import Keyring
from mesh import subjects
from mesh.bucket import Bucket, Kept
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from meshag_site.doctor import servers
from meshag_site.doctor.failures import FIXES
from meshag_site.doctor.findings import Area, Finding, Installation, Level, of_area
from meshag_site.doctor.setup import ROLES
from pipelines_app import drafts
from pipelines_app.models import Agent

say = of_area(Area.PROVIDERS)

RULES: Final = Rules()
HEARD_WITHIN: Final = 2.7
GOES_ON: Final = "agents with a fallback go on meanwhile; it is probed while calls run, and used again when it is well"
NOBODY_LEFT: Final = "see what each of them says, or give the agent a fallback of another provider"


@dataclass(frozen=True, slots=True)
class Outage:
    key: str
    """Its target's."""
    role: str
    provider: str
    model: str
    is_own: bool
    kind: str
    detail: str
    since: datetime


async def hear_outages(its: Installation) -> list[Outage] | None:
    """None: nobody can tell. Without NATS there are none, and that is a finding of its own."""
    try:
        async with asyncio.timeout(HEARD_WITHIN):
            return await _hear(its) if await servers.answers(its.nats_url) else []
    except (BusError, TimeoutError):
        return None


async def _hear(its: Installation) -> list[Outage]:
    async with await Bus.connect(its.nats_url, "doctor") as bus:
        kept = await Bucket(bus, subjects.BREAKERS, seconds=RULES.kept).everything()
    return sorted(filter(None, map(_outage_of, kept)), key=lambda outage: (outage.role, outage.since))


def _outage_of(kept: Kept) -> Outage | None:
    try:
        entry = msgspec.json.decode(kept.value, type=Entry)
    except msgspec.MsgspecError:
        return None
    if not entry.holds(kept.age, RULES):
        return None
    since = timezone.now() - timedelta(seconds=kept.age + entry.out)
    return Outage(kept.key, entry.role, entry.provider, entry.model, entry.is_own, entry.kind, entry.detail, since)


# -- what it means ---------------------------------------------------------------------------------------


def check_outages(outages: Sequence[Outage] | None, agents: Iterable[Agent], *, sees_all: bool) -> list[Finding]:
    """Of the published agents. Who does not see all sees what these agents ask: others' models are not theirs."""
    if outages is None:
        return [say("Outages", Level.WARNING, "NATS does not tell which providers are out", "look again; see NATS")]
    if not outages:
        return []
    asked = [chain for agent in agents for chain in _chains(agent)]
    ours = {target.key for _, _, targets in asked for target in targets}
    shown = [outage for outage in outages if sees_all or outage.key in ours]
    return [*_left_alone(asked, {outage.key for outage in outages}), *map(_finding, shown)]


def whom(outages: Iterable[Outage]) -> frozenset[tuple[str, str]]:
    """Roles and providers."""
    return frozenset((outage.role, outage.provider) for outage in outages)


def _finding(outage: Outage) -> Finding:
    model = f" {outage.model}" if outage.model else ""
    whose = ", with a workspace's own key" if outage.is_own else ""
    seen = f"out since {outage.since:%H:%M} UTC{whose}: {outage.detail or outage.kind}"
    return say(f"{outage.provider}{model} ({outage.role})", Level.WARNING, seen, FIXES.get(outage.kind, GOES_ON))


Chain = tuple[Agent, Role, tuple[Target, ...]]


def _left_alone(asked: Iterable[Chain], out: set[str]) -> Iterator[Finding]:
    """One finding for all agents that have the same chain."""
    alone: dict[tuple[Role, tuple[Target, ...]], list[str]] = {}
    for agent, role, targets in asked:
        if targets and all(target.key in out for target in targets):
            alone.setdefault((role, targets), []).append(agent.name)
    for (role, targets), names in alone.items():
        providers = " and ".join(target.provider for target in targets)
        seen = f"{providers}: out, and nobody else can be asked; callers hear the apology"
        yield say(f"{ROLES[role]} ({role}) of {', '.join(names)}", Level.PROBLEM, seen, NOBODY_LEFT)


def _chains(agent: Agent) -> Iterator[Chain]:
    """Whom calls of the published version may ask in each role, as a worker would find it."""
    assert agent.published is not None
    document = agent.published.config
    try:
        config = parse(document)
    except ConfigError:  # older than a rule: its calls are refused
        return
    keyring = Keyring(os.environ, settings.CREDENTIAL_SEALING)
    for role in drafts.roles(drafts.flow_steps(document)):
        if entry := config.connectors.get(role):
            sealed = _sealed(agent, entry.chain, drafts.named_credentials(document))
            yield agent, role, tuple(keyring.targets(role, entry.chain, entry.config, sealed))


def _sealed(agent: Agent, providers: Sequence[str], names: dict[str, str]) -> Sealed:
    owners = {provider: registry.credential_of(provider) for provider in providers}
    sealed = Credential.objects.sealed_for(agent.workspace.slug, set(owners.values()), names)
    return Sealed(agent.workspace.slug, {slug: sealed[owner] for slug, owner in owners.items() if owner in sealed})
