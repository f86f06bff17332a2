"""The names on the bus: subjects, streams and stages. `docs/messages.md` is the table behind it."""

import re
from enum import StrEnum

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

EVENTS = "EVENTS"
"""The file stream that holds every canonical event and every fence, in one order."""

MEDIA_STREAMS = {
    "AUDIO_INPUT": ("audio.input.*",),
    "TTS_OUTPUT": ("tts.output.*",),
    "DELTAS": ("stt.interim.*", "llm.delta.*"),
}
"""Memory streams that capture media and deltas without acknowledgement, for a short time."""


class Stage(StrEnum):
    """A writing stage of a session. `session` is the stage of the session's transport."""

    SESSION = "session"
    STT = "stt"
    LLM = "llm"
    TTS = "tts"


CANONICAL = {
    Stage.SESSION: "session.events",
    Stage.STT: "stt.output",
    Stage.LLM: "llm.output",
    Stage.TTS: "tts.events",
}

EVENT_SUBJECTS = (*(f"{prefix}.*" for prefix in CANONICAL.values()), "fence.*.*")


def canonical(stage: Stage, session: str) -> str:
    """The subject to which the owner of `stage` appends its events of `session`."""
    return f"{CANONICAL[stage]}.{session}"


def live(subject: str) -> str:
    """Where the stream republishes what it has stored under `subject`. Nobody listens anywhere else."""
    return f"live.{subject}"


def fence(session: str, stage: Stage) -> str:
    return f"fence.{session}.{stage}"


def audio_input(session: str) -> str:
    return f"audio.input.{session}"


def tts_output(session: str) -> str:
    return f"tts.output.{session}"


def stt_interim(session: str) -> str:
    return f"stt.interim.{session}"


def llm_delta(session: str) -> str:
    return f"llm.delta.{session}"


def worker_beat(role: str) -> str:
    """Heartbeats of all workers of a role; their absence for a second is the end of a worker's lease."""
    return f"worker.beat.{role}"


def worker_claim(worker: str) -> str:
    """Request: take the stage of a session."""
    return f"worker.claim.{worker}"


WORKER_GONE = "worker.gone"
"""Said by the supervisor at once when a worker's process has ended."""
WORKER_LEFT = "worker.left"
"""Said by a worker that gives one stage of one session back, because it broke there."""


def session_command(session: str) -> str:
    """Request to the transport that holds the session: end it, say something."""
    return f"session.command.{session}"


BRIDGE_KEY = "bridge.key"
"""Request: which workspace does this API key open?"""
BRIDGE_AGENT = "bridge.agent"
"""Request: which published agent version answers this slug, this number, or the default?"""
BRIDGE_CREDENTIALS = "bridge.credentials"
"""Request: the workspace's own credentials for these providers, sealed."""
TRANSPORT_ASK = "transport.ask"
"""Request of the web process to one of the transports: open a session, say something in one, end or change it."""
BREAKERS = "breakers"
"""The key-value bucket of providers that are out. Its changes are republished to `kept.breakers.<key>`."""
