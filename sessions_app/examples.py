"""Examples of sessions and what is kept of them, for the description of the API."""

from typing import Any

from pipelines_app.examples import DOCUMENT

ID = "5f0c1a52-8d5b-4c7e-9a53-0b1f6f6f8a11"
SESSION: dict[str, Any] = {
    "id": ID,
    "workspace": "default",
    "name": "Trial call",
    "agent": "demo",
    "version": 1,
    "transport": "websocket",
    "state": "ended",
    "reason": "hangup",
    "detail": "",
    "caller": "",
    "called": "",
    "created_at": "2026-11-20T10:00:00Z",
    "live_at": "2026-11-20T10:00:02Z",
    "ended_at": "2026-11-20T10:01:02Z",
    "duration_ms": 60000,
    "turns": 4,
    "revision": "0f3a9c51d2e4",
}
NEW: dict[str, Any] = {
    "The default agent": {},
    "An agent": {"agent": "demo", "name": "Trial call"},
    "A version of it": {"agent": "demo", "version": 1},
    "An agent whose prompts have names in braces": {"agent": "reception", "variables": {"opening_hours": "8 to 2"}},
    "A document": {"config": DOCUMENT},
}
STARTED: dict[str, Any] = {
    "id": ID,
    "workspace": "default",
    "agent": "demo",
    "version": 1,
    "socket_url": f"ws://localhost:8084/media/websocket/{ID}/2rT…",
    "room_url": None,
    "token": "2rT…",
    "expires_in": 600,
    "notices": [],
}
PRESENCE: dict[str, Any] = {
    "people": [{"id": "d61cd7b2-a273-42b4-89bd-be763fd562c1", "name": "Ada", "joined_at": "2026-11-20T10:00:00.000Z"}]
}
CONFIG: dict[str, Any] = {"revision": "0f3a9c51d2e4", "config": DOCUMENT}
ENTRY: dict[str, Any] = {
    "id": 41,
    "event_id": f"{ID}:stt:1:7",
    "speaker": "caller",
    "text": "I would like to book an appointment on Monday.",
    "turn": 1,
    "at": "2026-11-20T10:00:09Z",
    "interrupted": False,
    "provider": "pocketsphinx",
}
TURN: dict[str, Any] = {
    "number": 1,
    "state": "answered",
    "detail": "",
    "cause": "speech",
    "text": "I would like to book an appointment on Monday.",
    "reply": "On Monday. At what time?",
    "started_at": "2026-11-20T10:00:06Z",
    "ended_at": "2026-11-20T10:00:09Z",
    "waterfall": {
        "transcript": 510,
        "turn_end": 511,
        "first_token": 660,
        "first_sentence": 670,
        "first_audio": 720,
        "first_sample": 740,
    },
}
USAGE: dict[str, Any] = {
    "id": 9,
    "turn": 1,
    "role": "stt",
    "provider": "pocketsphinx",
    "model": "",
    "unit": "audio_ms",
    "quantity": 2900,
    "estimated": False,
    "micros": 0,
    "price_version": "",
    "at": "2026-11-20T10:00:09Z",
}
INCIDENT: dict[str, Any] = {
    "id": 3,
    "kind": "provider.failed",
    "role": "llm",
    "provider": "openai",
    "successor": "",
    "error": "timeout",
    "detail": "no first token in 1500 ms",
    "turn": 2,
    "ms": 1500,
    "at": "2026-11-20T10:00:21Z",
}
STREAM = f"""\
retry: 1000

id: 6f1d02aa-118
event: session.live
data: {{"id":"{ID}:session:1:2","session":"{ID}","stage":"session","epoch":1,"at":1763632802.1,\
"data":{{"worker":"transport-1","rate":24000}}}}

: alive

id: 6f1d02aa-131
event: transcript.final
data: {{"id":"{ID}:stt:1:7","session":"{ID}","stage":"stt","epoch":1,"at":1763632809.4,\
"data":{{"utterance":1,"start":160000,"end":206400,"text":"On Monday, please.","provider":"pocketsphinx"}}}}

id: 6f1d02aa-209
event: session.ended
data: {{"id":"{ID}:session:1:31","session":"{ID}","stage":"session","epoch":1,"at":1763632862.0,\
"data":{{"reason":"hangup","media_ms":60000}}}}
"""
