"""What a caller is told of an agent: who hears, thinks and speaks, what is understood, what is missing."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.recognizer import Recognizer
from mesh.config.document import AgentConfig
from mesh.config.reading import read
from pipelines_app.models import AgentVersion

VERBS = {Role.STT: "Hears", Role.LLM: "Thinks", Role.TTS: "Speaks"}


@dataclass(frozen=True, slots=True)
class Part:
    verb: str
    labels: tuple[str, ...]
    """Of the providers in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Introduction:
    parts: tuple[Part, ...]
    sentences: tuple[str, ...]
    """Examples of the only ones that are understood when they are spoken; empty: everything is."""
    lacking: tuple[str, ...]
    """Settings without which nobody can hear, think or speak."""


def introduce(version: AgentVersion, environ: Mapping[str, str], keyed: Container[str] = ()) -> Introduction:
    """`keyed`: credentials that the workspace has of its own.

    Raises mesh.config.ConfigError where the version is no longer valid.
    """
    document = read(version.config)
    roles = [role for role in Role if role in document.roles()]
    return Introduction(
        parts=tuple(Part(VERBS[role], _labels(document, role)) for role in roles),
        sentences=_sentences(document),
        lacking=tuple(dict.fromkeys(setting for role in roles for setting in _lacking(document, role, environ, keyed))),
    )


def _labels(document: AgentConfig, role: Role) -> tuple[str, ...]:
    known = registry.names(role)
    return tuple(registry.get(role, slug).label if slug in known else slug for slug in document.chain(role))


def _sentences(document: AgentConfig) -> tuple[str, ...]:
    """Of the recogniser that is asked first."""
    first = document.chain(Role.STT)[:1]
    if Role.STT not in document.roles() or not set(first) <= set(registry.names(Role.STT)):
        return ()
    recognizer = registry.get(Role.STT, *first)
    assert issubclass(recognizer, Recognizer)
    return recognizer.sentences(registry.make_options(recognizer, document.options(Role.STT, *first)))


def _lacking(document: AgentConfig, role: Role, environ: Mapping[str, str], keyed: Container[str]) -> tuple[str, ...]:
    """What the first provider needs, when no other one can stand in for it."""
    chain = document.chain(role)
    missing = registry.missing(role, environ)
    missing = {slug: names for slug, names in missing.items() if registry.credential_of(slug) not in keyed}
    return missing[chain[0]] if chain and all(slug in missing for slug in chain) else ()
