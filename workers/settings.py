"""The few settings that workers read, from the environment. A wrong value stops the start and names its setting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "off": "CRITICAL",
}
FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_Value = TypeVar("_Value")


class BadSetting(ValueError):
    """A setting cannot be used. The message names it and says what is expected; it never repeats a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    nats_url: str = field(default="nats://localhost:4222", repr=False)
    valkey_url: str = field(default="redis://localhost:6379", repr=False)
    log_level: str = "INFO"
    """A level name of `logging`."""
    config_ttl_seconds: int = 3600
    media_seconds: int = 30
    """How long the memory streams keep audio and deltas for whoever missed them."""
    public_url: str = ""
    """The origin at which the outside reaches the transport; empty: loopback only."""
    embedded: bool = False
    """NATS and Valkey were both started by `manage.py up`."""
    twilio_auth_token: str = field(default="", repr=False)
    bind: str = "127.0.0.1"
    stt_port: int = 8081
    llm_port: int = 8082
    tts_port: int = 8083
    transport_port: int = 8084
    transport_fd: int | None = None
    """A socket that already listens on the transport's port, handed down by the supervisor."""
    data_dir: Path = ROOT / "var"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """An empty value counts as none. Raises BadSetting."""
        default = cls()
        read = _Reader(environ)
        return cls(
            nats_url=read("NATS_URL", _nats_url, default.nats_url),
            valkey_url=read("VALKEY_URL", _valkey_url, read("REDIS_URL", _valkey_url, default.valkey_url)),
            log_level=read("LOG_LEVEL", _level, read("RUST_LOG", _rust_level, default.log_level)),
            config_ttl_seconds=read("CONFIG_TTL_SECONDS", _seconds, default.config_ttl_seconds),
            media_seconds=read("MESHAG_MEDIA_SECONDS", _media_seconds, default.media_seconds),
            public_url=read("MESHAG_PUBLIC_URL", _origin, default.public_url),
            embedded=read("MESHAG_EMBEDDED", _flag, default.embedded),
            twilio_auth_token=read("TWILIO_AUTH_TOKEN", str, default.twilio_auth_token),
            bind=read("MESHAG_BIND", str, default.bind),
            stt_port=read("STT_PORT", _port, default.stt_port),
            llm_port=read("LLM_PORT", _port, default.llm_port),
            tts_port=read("TTS_PORT", _port, default.tts_port),
            transport_port=read("TRANSPORT_PORT", _port, default.transport_port),
            transport_fd=read("MESHAG_TRANSPORT_FD", _descriptor, default.transport_fd),
            data_dir=read("MESHAG_DATA_DIR", _directory, default.data_dir),
        )


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, name: str, parse: Callable[[str], _Value], default: _Value) -> _Value:
        text = self._text(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise BadSetting(f"{name} {error}") from None

    def _text(self, name: str) -> str:
        """The variable, or the content of the file that `<name>_FILE` names."""
        text, file = (self._environ.get(key, "").strip() for key in (name, f"{name}_FILE"))
        if not file:
            return text
        if text:
            raise BadSetting(f"{name} and {name}_FILE are both set: keep one of them")
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"{name}_FILE: cannot read {file!r}: {error}") from None


# -- values: each says what is expected, after the setting's name ----------------------------------------


def _nats_url(text: str) -> str:
    return _url(text, "nats", "tls", "ws", "wss")


def _valkey_url(text: str) -> str:
    """In the spelling that the client knows."""
    url = _url(text, "redis", "rediss", "valkey", "valkeys")
    scheme, rest = url.split("://", 1)
    return f"{scheme.replace('valkey', 'redis')}://{rest}"


def _origin(text: str) -> str:
    url = _url(text.rstrip("/"), "https", "http")
    if urlsplit(url).path:
        raise ValueError("must be an origin such as https://agents.example.com, without a path")
    return url


def _url(text: str, *schemes: str) -> str:
    parts = urlsplit(text)
    try:
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"must look like {schemes[0]}://host[:port]")
    return text


def _level(text: str) -> str:
    try:
        return LEVELS[text.lower()]
    except KeyError:
        raise ValueError(f"must be debug, info, warning, error or critical, not {text!r}") from None


def _rust_level(text: str) -> str:
    """The level without a target, as in `info,hyper=warn`; targets are Rust modules, which nothing here has."""
    levels = [LEVELS[word] for word in text.lower().replace(" ", "").split(",") if word in LEVELS]
    return levels[-1] if levels else "INFO"


def _seconds(text: str) -> int:
    return _number(text, 1, 30 * 24 * 3600, "a whole number of seconds")


def _media_seconds(text: str) -> int:
    return _number(text, 1, 600, "a whole number of seconds")


def _port(text: str) -> int:
    return _number(text, 1, 65_535, "a port")


def _descriptor(text: str) -> int:
    return _number(text, 0, 65_535, "an open file descriptor")


def _number(text: str, low: int, high: int, what: str) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"must be {what} from {low} to {high}, not {text!r}")
    return int(text)


def _flag(text: str) -> bool:
    try:
        return FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"must be true or false, not {text!r}") from None


def _directory(text: str) -> Path:
    return Path(text).expanduser().resolve()
