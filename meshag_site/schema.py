"""What the description of the API needs besides its views: addresses without a slash, the agent's document."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from mesh.config.document import AgentConfig

Endpoint = tuple[str, str, str, Callable[..., Any]]
DOCUMENT = "AgentDocument"
INTRODUCTION = "docs/api.md"


def without_last_slash(endpoints: list[Endpoint], **_: Any) -> list[Endpoint]:
    return [(path.rstrip("/"), regex, method, view) for path, regex, method, view in endpoints]


def with_agent_document(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The document's own schema, as the configuration reader has it."""
    schema = AgentConfig.model_json_schema(ref_template="#/components/schemas/Document{model}")
    parts = {f"Document{name}": part for name, part in schema.pop("$defs").items()}
    result["components"]["schemas"] |= parts | {DOCUMENT: schema | {"title": DOCUMENT}}
    return result


def with_introduction(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What holds for every operation: the page of the docs without its title."""
    introduction = Path(settings.BASE_DIR, INTRODUCTION).read_text(encoding="utf-8").partition("\n\n")[2]
    result["info"]["description"] = introduction
    return result
