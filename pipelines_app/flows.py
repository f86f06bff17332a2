"""The pipelines that everybody can start from. Pure."""

from dataclasses import dataclass
from typing import TypedDict

from mesh.config.rules import CARRIED, STREAMS

FlowStep = TypedDict("FlowStep", {"from": str, "to": str, "stream": str})
"""A step as it stands in a configuration document."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Named steps: what a pipeline row holds, and what an agent's document takes from it."""

    slug: str
    name: str
    description: str
    steps: tuple[FlowStep, ...]


def step(source: str, target: str, stream: str = "") -> FlowStep:
    """Without a stream: what this step carries."""
    return {"from": source, "to": target, "stream": stream or CARRIED.get((source, target), STREAMS[0])}


def _steps(*pairs: str) -> tuple[FlowStep, ...]:
    return tuple(step(*pair.split()) for pair in pairs)


VOICE_LOOP = Flow(
    "voice-loop",
    "Voice loop",
    "A conversation: what the caller says is understood, answered and spoken.",
    _steps("transport stt", "stt llm", "llm tts", "tts transport"),
)
READY_MADE = (
    VOICE_LOOP,
    Flow(
        "captioned-call",
        "Captioned call",
        "A conversation, and the caller also reads what was understood.",
        _steps("transport stt", "stt llm", "stt transport", "llm tts", "tts transport"),
    ),
    Flow(
        "live-captions",
        "Live captions",
        "What is said is written down as it is said. Nobody answers.",
        _steps("transport stt", "stt transport"),
    ),
    Flow(
        "text-chat",
        "Text chat",
        "The caller types and reads. Nothing is heard or spoken.",
        _steps("transport llm", "llm transport"),
    ),
    Flow(
        "announcer",
        "Announcer",
        "Typed text is spoken as it stands. Nobody answers.",
        _steps("transport tts", "tts transport"),
    ),
)


def ready_made(slug: str) -> Flow | None:
    return next((flow for flow in READY_MADE if flow.slug == slug), None)
