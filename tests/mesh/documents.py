"""Configuration documents for tests."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "agent-config.json"

Document = dict[str, Any]


def example() -> Document:
    """The configuration that ships."""
    document: Document = json.loads(EXAMPLE.read_text())
    return document


def with_flow(*steps: str) -> Document:
    """A document whose flow is written `stt>llm`, with the label that such a step carries."""
    document = example()
    document["pipeline"]["flow"] = [_step(*step.split(">")) for step in steps]
    return document


def _step(source: str, target: str) -> Document:
    label = "audio" if target == "stt" or source == "tts" else "text"
    return {"from": source, "to": target, "stream": label}
