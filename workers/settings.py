"""The few settings that workers read, from the environment. A wrong value stops the start and names its setting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mesh import environment, openness
from mesh.environment import BadSetting, Environment

__all__ = ["BadSetting", "Settings"]

ROOT = Path(__file__).resolve().parent.parent
LONGEST_TTL = 30 * 24 * 3600
LONGEST_MEDIA = 600
ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
SHORTEST_DEADLINE, LONGEST_DEADLINE = 0.01, 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    nats_url: str = field(default=environment.NATS_URL, repr=False)
    valkey_url: str = field(default=environment.VALKEY_URL, repr=False)
    log_level: str = "INFO"
    """A level name of `logging`."""
    config_ttl_seconds: int = 3600
    media_seconds: int = 10
    """How long the memory streams keep audio and deltas for whoever missed them."""
    public_url: str = ""
    """The origin at which the outside reaches the transport; empty: loopback only."""
    embedded: bool = False
    """NATS and Valkey were both started by `manage.py up`."""
    open_door: bool = True
    """Whether the embedded default lets people of this machine in without a key."""
    twilio_auth_token: str = field(default="", repr=False)
    twilio_account_sid: str = ""
    """With it, a call is ended at Twilio when its session ends."""
    twilio_base_url: str = ""
    bind: str = "127.0.0.1"
    stt_port: int = 8081
    llm_port: int = 8082
    tts_port: int = 8083
    transport_port: int = 8084
    transport_fd: int | None = None
    """A socket that already listens on the transport's port, handed down by the supervisor."""
    data_dir: Path = ROOT / "var"
    first_token_seconds: float = 1.5
    """This and the next six: how long a provider may take before the next one is asked."""
    first_audio_seconds: float = 1.0
    transcript_seconds: float = 3.0
    stall_seconds: float = 2.0
    sentence_seconds: float = 3.0
    silence_seconds: float = 3.0
    beside_seconds: float = 1.0

    @property
    def has_open_door(self) -> bool:
        return openness.has_open_door(embedded=self.embedded, public_url=self.public_url, is_wanted=self.open_door)

    @property
    def is_alone(self) -> bool:
        """A transport that nobody supervises: there need be no web and no bridge beside it."""
        return self.embedded and self.transport_fd is None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """An empty value counts as none. Raises BadSetting."""
        default = cls()
        env = Environment(environ)

        def deadline(name: str) -> float:
            known: float = getattr(default, f"{name}_seconds")
            return env.seconds(f"MESHAG_{name.upper()}_SECONDS", known, SHORTEST_DEADLINE, LONGEST_DEADLINE)

        def seconds(name: str, known: int, most: int) -> int:
            return env.number(name, known, 1, most, "a whole number of seconds")

        return cls(
            nats_url=env.nats_url(),
            valkey_url=env.valkey_url(),
            log_level=env.log_level(),
            config_ttl_seconds=seconds("CONFIG_TTL_SECONDS", default.config_ttl_seconds, LONGEST_TTL),
            media_seconds=seconds("MESHAG_MEDIA_SECONDS", default.media_seconds, LONGEST_MEDIA),
            public_url=env.origin("MESHAG_PUBLIC_URL"),
            embedded=env.flag("MESHAG_EMBEDDED"),
            open_door=env.flag("MESHAG_OPEN_DOOR", default.open_door),
            twilio_auth_token=env.text("TWILIO_AUTH_TOKEN"),
            twilio_account_sid=_account(env, "TWILIO_ACCOUNT_SID"),
            twilio_base_url=env.origin("TWILIO_BASE_URL"),
            bind=env.text("MESHAG_BIND", default.bind),
            stt_port=env.port("STT_PORT", default.stt_port),
            llm_port=env.port("LLM_PORT", default.llm_port),
            tts_port=env.port("TTS_PORT", default.tts_port),
            transport_port=env.port("TRANSPORT_PORT", default.transport_port),
            transport_fd=_descriptor(env, "MESHAG_TRANSPORT_FD"),
            data_dir=env.directory("MESHAG_DATA_DIR", default.data_dir),
            first_token_seconds=deadline("first_token"),
            first_audio_seconds=deadline("first_audio"),
            transcript_seconds=deadline("transcript"),
            stall_seconds=deadline("stall"),
            sentence_seconds=deadline("sentence"),
            silence_seconds=deadline("silence"),
            beside_seconds=deadline("beside"),
        )


def _account(env: Environment, name: str) -> str:
    sid = env.text(name)
    if sid and not ACCOUNT_SID.fullmatch(sid):
        raise BadSetting(f"{name} must be AC and 32 hexadecimal digits, as Twilio's console shows it, not {sid!r}")
    return sid


def _descriptor(env: Environment, name: str) -> int | None:
    return env.number(name, 0, 0, 65_535, "an open file descriptor") if env.text(name) else None
