"""Templates of prompts: text with names in braces. Pure.

Braces around anything else, such as a JSON object, are text; what a value holds is never filled again.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from mesh.config.document import AgentConfig

INPUT = "input_data"
"""What the caller said."""
SESSION = "session_id"
GIVEN = (INPUT, SESSION)
"""The names that every session fills by itself."""

MOST_SAID = 4000
"""Characters that are reckoned for what a session fills in."""
LONGEST = {"context_instructions": 200_000, "user_template": 20_000}
"""Characters of a template with its names filled in: a name may stand there often, and its value be long.

The second goes out again with each thing that the caller has said.
"""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def templates(config: AgentConfig) -> dict[str, str]:
    """The document's, by their keys."""
    return {"context_instructions": config.context_instructions, "user_template": config.user_template}


def with_variables(document: Mapping[str, Any], variables: Mapping[str, JsonValue]) -> dict[str, Any]:
    """A session's document: the agent's, with what the session brings beside its variables or in their place."""
    own = document.get("variables", {})
    return {**document, "variables": {**own, **variables}} if variables else dict(document)


def placeholders(template: str) -> tuple[str, ...]:
    """The names in it, each once."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(template)))


def fill(template: str, values: Mapping[str, JsonValue]) -> str:
    """A name that has no value is empty; a value that is no text is written as JSON."""
    return _PLACEHOLDER.sub(lambda found: _text(values.get(found[1], "")), template)


def filled_length(template: str, values: Mapping[str, JsonValue]) -> int:
    """At most, in characters, without filling it."""
    lengths = {name: len(_text(values.get(name, ""))) for name in placeholders(template)}
    lengths |= dict.fromkeys(GIVEN, MOST_SAID)
    return len(template) + sum(lengths[name] for name in _PLACEHOLDER.findall(template))


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
