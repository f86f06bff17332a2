"""Examples of agents, versions and pipelines, for the description of the API."""

from typing import Any

from pipelines_app.flows import VOICE_LOOP, ready_made

DOCUMENT: dict[str, Any] = {
    "system_prompt": "You answer the phone of a practice.",
    "context_instructions": "The practice is open {opening_hours}.",
    "variables": {"opening_hours": "from Monday to Friday, 8 to 4"},
    "greeting": "Good morning. How can I help you?",
    "pipeline": {"name": "voice_chat", "flow": list(VOICE_LOOP.steps)},
    "connectors": {
        "stt": {"primary": "pocketsphinx"},
        "llm": {"primary": "script"},
        "tts": {"primary": "espeak"},
        "transport": {"primary": "websocket"},
    },
}
NEW_AGENT: dict[str, Any] = {"slug": "reception", "name": "Reception", "draft": DOCUMENT, "publish": True}
AGENT: dict[str, Any] = {
    "workspace": "default",
    "slug": "reception",
    "name": "Reception",
    "description": "",
    "phone_number": "",
    "is_default": False,
    "capabilities": ["booking"],
    "published": 3,
    "draft": DOCUMENT,
    "created_at": "2026-11-20T10:00:00Z",
    "updated_at": "2026-11-20T10:05:00Z",
}
VERSION: dict[str, Any] = {
    "workspace": "default",
    "agent": "reception",
    "number": 3,
    "note": "Asks for the phone number first",
    "published_at": "2026-11-20T10:05:00Z",
    "published_by": "admin",
    "revision": "0f3a9c51d2e4",
    "config": DOCUMENT,
}
WARNINGS = ["Thinking: Anthropic will be passed over: not set up yet."]
PUBLISHED: dict[str, Any] = VERSION | {"is_new": True, "warnings": WARNINGS}
RESTORED: dict[str, Any] = AGENT | {"restored": 2, "warnings": WARNINGS}
COMPARISON: dict[str, Any] = {
    "old": "3",
    "new": "draft",
    "differences": [{"path": "greeting", "old": "Good morning. How can I help you?", "new": "Hello."}],
}
_chat = ready_made("text-chat")
assert _chat is not None
NEW_PIPELINE: dict[str, Any] = {"slug": "chat", "name": "Text chat", "steps": list(_chat.steps)}
PIPELINE: dict[str, Any] = NEW_PIPELINE | {
    "workspace": "default",
    "description": "The caller types and reads.",
    "created_at": "2026-11-20T10:00:00Z",
    "updated_at": "2026-11-20T10:00:00Z",
}
