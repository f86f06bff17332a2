"""Reads and changes single parts of a configuration document, and leaves the rest as it is. Pure.

A draft may be wrong anywhere, so reading is forgiving: what is not of the expected shape counts as not there.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from connectors_app.base.connector import Role
from pipelines_app.flows import VOICE_LOOP, Flow, FlowStep

Document = dict[str, Any]

OFFLINE = {Role.STT: "pocketsphinx", Role.LLM: "script", Role.TTS: "espeak"}
"""What runs everywhere, without a key."""
PREFERRED = {
    Role.STT: ("deepgram", "openai"),
    Role.LLM: ("openai", "anthropic"),
    Role.TTS: ("elevenlabs", "openai", "azure"),
}


def first_document(usable: Callable[[Role], Sequence[str]], flow: Flow = VOICE_LOOP) -> Document:
    """What a new agent starts with: a voice loop with providers that can be used here."""
    document: Document = {"system_prompt": "You are a helpful assistant. Answer briefly: your answers are spoken."}
    document = with_flow(document, flow.slug, flow.steps)
    for role in Role:
        found = usable(role)
        first = next((name for name in PREFERRED[role] if name in found), OFFLINE[role])
        document = with_chain(document, role, [first])
    return with_transport(document, "websocket")


# -- reading ---------------------------------------------------------------------------------------------


def text(document: Mapping[str, Any], key: str, default: str = "") -> str:
    value = document.get(key, default)
    return value if isinstance(value, str) else ""


def section(document: Mapping[str, Any], key: str) -> dict[str, JsonValue]:
    return _object(document.get(key))


def flow_name(document: Mapping[str, Any]) -> str:
    return text(section(document, "pipeline"), "name")


def flow_steps(document: Mapping[str, Any]) -> tuple[FlowStep, ...]:
    steps = section(document, "pipeline").get("flow")
    found = [_object(step) for step in steps] if isinstance(steps, list) else []
    return tuple(
        {"from": text(step, "from"), "to": text(step, "to"), "stream": text(step, "stream")} for step in found if step
    )


def roles(steps: Iterable[FlowStep]) -> tuple[Role, ...]:
    """The roles that the steps use, in the order of the voice path."""
    named = {name for step in steps for name in (step["from"], step["to"])}
    return tuple(role for role in Role if role in named)


def chain(document: Mapping[str, Any], service: str) -> tuple[str, ...]:
    """The providers in the order in which they are tried."""
    entry = _entry(document, service)
    fallback = entry.get("fallback")
    names = [entry.get("primary"), *(fallback if isinstance(fallback, list) else [])]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def options(document: Mapping[str, Any], service: str, provider: str) -> dict[str, JsonValue]:
    config = _object(_entry(document, service).get("config"))
    if is_flat(config):
        return config if chain(document, service)[:1] == (provider,) else {}
    return _object(config.get(provider))


def is_flat(config: Mapping[str, Any]) -> bool:
    """The primary's options stand there alone, without a section for each provider."""
    return not all(isinstance(value, dict) for value in config.values())


def named_credentials(document: Mapping[str, Any]) -> dict[str, str]:
    """By provider."""
    named = section(document, "credentials")
    return {slug: name for slug, name in named.items() if isinstance(name, str) and name}


# -- changing --------------------------------------------------------------------------------------------


def with_text(document: Document, key: str, value: str, default: str = "") -> Document:
    """A text that was not there and is what holds without it does not appear."""
    return document if value == text(document, key, default) else {**document, key: value}


def with_section(document: Document, key: str, values: Mapping[str, JsonValue]) -> Document:
    if values or key in document:
        return {**document, key: dict(values)}
    return document


def with_flow(document: Document, name: str, steps: Sequence[FlowStep]) -> Document:
    return {**document, "pipeline": {"name": name, "flow": [dict(step) for step in steps]}}


def with_transport(document: Document, name: str) -> Document:
    entry = _entry(document, "transport")
    if entry.get("primary") == name:
        return document
    return _with_entry(document, "transport", {**entry, "primary": name, "config": entry.get("config", {})})


def with_chain(
    document: Document,
    service: str,
    order: Sequence[str],
    options_of: Mapping[str, Mapping[str, JsonValue]] | None = None,
) -> Document:
    """`options_of` holds the options of those whose form was shown; a provider that leaves takes its options along."""
    entry, before = _entry(document, service), chain(document, service)
    found = {name: options(document, service, name) for name in order} | {
        name: dict(values) for name, values in (options_of or {}).items() if name in order
    }
    changed: Document = {**entry, "primary": order[0] if order else ""}
    if len(order) > 1 or "fallback" in entry:
        changed["fallback"] = list(order[1:])
    changed["config"] = _with_options(_object(entry.get("config")), before, order, found)
    return document if changed == entry else _with_entry(document, service, changed)


def _with_options(
    config: dict[str, JsonValue],
    before: Sequence[str],
    order: Sequence[str],
    found: Mapping[str, dict[str, JsonValue]],
) -> dict[str, Any]:
    if is_flat(config):
        others = [name for name in order[1:] if found[name]]
        if before[:1] == tuple(order[:1]) and not others and found[order[0]]:
            return found[order[0]]
        config = {}
    kept = {name: value for name, value in config.items() if name in order or name not in before}
    return kept | {name: values for name, values in found.items() if values or name in kept}


def _with_entry(document: Document, service: str, entry: Document) -> Document:
    return {**document, "connectors": {**_object(document.get("connectors")), service: entry}}


def _entry(document: Mapping[str, Any], service: str) -> dict[str, Any]:
    return _object(_object(document.get("connectors")).get(service))


def _object(value: object) -> dict[str, Any]:
    return copy.deepcopy(value) if isinstance(value, dict) else {}
