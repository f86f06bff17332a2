"""What the places of an agent's document are called for people: as its form calls them."""

import re
from collections.abc import Mapping, Sequence

from django.forms import Field
from django.forms.utils import pretty_name

from connectors_app import registry
from connectors_app.base.connector import Role
from pipelines_app.chosen_credentials import TITLE as CREDENTIALS
from pipelines_app.forms import SECTIONS, TITLES, AgentForm
from pipelines_app.providers import TITLES as ROLES
from pipelines_app.providers import form_of

Fields = Mapping[str, Field]

CONNECTORS = {"primary": "asked first", "config": "options"}
STEP = {"stream": "carries"}


def name_of(path: str) -> str:
    """Of a path as in `connectors.stt.fallback`."""
    match re.findall(r"[^.\[\]]+", path):
        case []:
            return "The whole document"
        case ["pipeline", "flow"]:
            return "Pipeline: steps"
        case ["pipeline", "flow", number, *key] if number.isdigit():
            return _joined(f"Step {int(number) + 1}", *(STEP.get(each, each) for each in key))
        case ["connectors", "transport", *rest]:
            return _joined(_label(AgentForm.base_fields, "transport"), *_words(rest[1:]))
        case ["connectors", role, *rest] if role in set(Role):
            return _joined(ROLES[Role(role)][0], *_of_provider(Role(role), rest))
        case ["credentials", *slug]:
            known = registry.with_credentials()
            return _joined(CREDENTIALS, *(known[each].label if each in known else each for each in slug))
        case [section, *rest] if section in SECTIONS:
            return _joined(TITLES.get(section, pretty_name(section)), *_options(SECTIONS[section].base_fields, rest))
        case [key, *rest]:
            return _joined(_label(AgentForm.base_fields, key), *_words(rest))
    return path


def _of_provider(role: Role, keys: Sequence[str]) -> list[str]:
    match keys:
        case ["config", slug, *rest] if slug in registry.names(role):
            return [registry.get(role, slug).label, *_options(form_of(role, slug).base_fields, rest)]
        case ["config", option, *rest]:
            return [pretty_name(option), *_words(rest)]
        case [key, *rest]:
            return [CONNECTORS.get(key, key), *_words(rest)]
    return []


def _options(fields: Fields, keys: Sequence[str]) -> list[str]:
    return [_label(fields, keys[0]), *_words(keys[1:])] if keys else []


def _label(fields: Fields, key: str) -> str:
    field = fields.get(key)
    return str(field.label) if field and field.label else pretty_name(key)


def _words(keys: Sequence[str]) -> list[str]:
    """Of keys that no form knows; the items of a list are counted from one."""
    return [f"no. {int(key) + 1}" if key.isdigit() else pretty_name(key).lower() for key in keys]


def _joined(*parts: str) -> str:
    return ": ".join(parts)
