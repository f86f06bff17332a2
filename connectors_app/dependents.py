"""Which published agents go by a credential that is in use, and what their next calls do without it."""

import os
from collections.abc import Collection, Iterable

from connectors_app import registry
from connectors_app.models import Credential
from mesh.config.document import AgentConfig
from mesh.config.problems import ConfigError
from mesh.config.reading import parse


def agents_asking(credential: Credential) -> list[str]:
    """Those whose published version asks its provider and names no credential for that: they go by the one in use."""
    rows = credential.workspace.agents.exclude(published=None).values_list("name", "published__config")
    return [name for name, document in rows if _goes_by_the_one_in_use(document, credential.provider)]


def _goes_by_the_one_in_use(document: object, provider: str) -> bool:
    try:
        config = parse(document)
    except ConfigError:  # older than a rule: its calls are refused
        return False
    return provider in _asked(config) and provider not in config.credentials


def _asked(config: AgentConfig) -> set[str]:
    """The credentials by which the providers go that calls may ask."""
    return {registry.credential_of(slug) for service in config.roles() for slug in config.chain(service)}


def say_without(credential: Credential, agents: Iterable[str], *, did: str, gone: Collection[int] = ()) -> str:
    """What follows for these agents. `gone`: credentials that are no spares, because they go, too."""
    said = f"Published agents {did} “{credential.name}”: {', '.join(agents)}."
    said += f" Without it their next calls {_instead(credential)}."
    spares = [_named(spare) for spare in Credential.objects.rivals(credential).exclude(pk__in=gone)]
    if not spares:
        return said
    there, it = ("is", "it") if len(spares) == 1 else ("are", "one of them")
    return f"{said} {' and '.join(spares)} {there} kept, too, but not in use: put {it} in use instead."


def _named(spare: Credential) -> str:
    return f"“{spare.name}”" + (" (its last test failed)" if spare.test_passed is False else "")


def _instead(credential: Credential) -> str:
    connector = credential.connector
    if connector is None:
        return "go on as before"
    if connector.missing_settings(os.environ):
        return f"pass {connector.label} over"
    return f"use the environment's key for {connector.label}"
