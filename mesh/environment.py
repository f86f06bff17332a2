"""Reads settings from the environment: one reader for Django's side and for the workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
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
ANY_PORT = {"0", "auto"}
NATS_URL = "nats://localhost:4222"
VALKEY_URL = "redis://localhost:6379"
INTERNAL = {
    "MESHAG_EMBEDDED": "NATS and Valkey were both started by this `make up`",
    "MESHAG_TRANSPORT_FD": "the listening socket that transports inherit",
}
"""What `make up` tells its programs and nobody sets. Every other setting is in `.env.example`."""


class BadSetting(ValueError):
    """A setting cannot be used. The message names it and says what is expected; it never repeats a secret."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An empty value counts as none. Every method raises BadSetting."""

    variables: Mapping[str, str]
    runtime: Mapping[str, object] = field(default_factory=dict)
    """What a running `manage.py up` has left for the commands beside it; the variables win over it."""

    def text(self, name: str, default: str = "") -> str:
        """The variable, or the content of the file that `<name>_FILE` names."""
        value, file = (self.variables.get(key, "").strip() for key in (name, f"{name}_FILE"))
        if value and file:
            raise BadSetting(f"{name} and {name}_FILE are both set: keep one of them")
        if file:
            value = _content(f"{name}_FILE", file)
        return value or str(self.runtime.get(name) or default)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name, str(default))
        if value.lower() not in FLAGS:
            raise BadSetting(f"{name} must be true or false, not {value!r}")
        return FLAGS[value.lower()]

    def number(self, name: str, default: int, least: int, most: int, what: str = "a whole number") -> int:
        value = self.text(name, str(default))
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise BadSetting(f"{name} must be {what} from {least} to {most}, not {value!r}")
        return int(value)

    def seconds(self, name: str, default: float, least: float, most: float) -> float:
        """With a fraction."""
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not least <= number <= most:
            raise BadSetting(f"{name} must be a number of seconds from {least:g} to {most:g}, not {value!r}")
        return number

    def port(self, name: str, default: int) -> int:
        """0 is any free one. Where `make up` runs, it is the one that was chosen."""
        value = self.text(name, str(default)).lower()
        if value in ANY_PORT:
            return int(str(self.runtime.get(name, 0)))
        if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65_535):
            raise BadSetting(f"{name} must be a port from 1 to 65535, or `auto` for any free one, not {value!r}")
        return int(value)

    def directory(self, name: str, default: Path) -> Path:
        return Path(self.text(name, str(default))).expanduser().resolve()

    def words(self, name: str) -> list[str]:
        return self.text(name).replace(",", " ").split()

    def url(self, name: str, default: str, *schemes: str) -> str:
        value = self.text(name, default)
        if value and not _is_url(value, schemes):
            raise BadSetting(f"{name} must look like {schemes[0]}://host[:port]")
        return value

    def origin(self, name: str) -> str:
        value = self.url(name, "", "https", "http").rstrip("/")
        if value.count("/") > 2 or "?" in value or "#" in value:
            raise BadSetting(f"{name} must be an origin such as https://agents.example.com, without a path")
        return value

    def nats_url(self, default: str = NATS_URL) -> str:
        return self.url("NATS_URL", default, "nats", "tls", "ws", "wss")

    def valkey_url(self, default: str = VALKEY_URL) -> str:
        """In the spelling that the client knows."""
        schemes = ("redis", "rediss", "valkey", "valkeys")
        older = self.url("REDIS_URL", default, *schemes)
        scheme, _, rest = self.url("VALKEY_URL", older, *schemes).partition("://")
        return f"{scheme.replace('valkey', 'redis')}://{rest}" if rest else ""

    def log_level(self) -> str:
        """`RUST_LOG` may name targets, as in `info,hyper=warn`; nothing here has them, so the plain level counts."""
        rust = [word for word in self.text("RUST_LOG").lower().replace(" ", "").split(",") if word in LEVELS]
        level = self.text("LOG_LEVEL", rust[-1] if rust else "info")
        if level.lower() not in LEVELS:
            raise BadSetting(f"LOG_LEVEL must be debug, info, warning, error or critical, not {level!r}")
        return LEVELS[level.lower()]


def _content(name: str, file: str) -> str:
    try:
        value = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadSetting(f"{name}: cannot read {file!r}: {reason}") from None
    if not value:
        raise BadSetting(f"{name}: {file!r} is empty")
    return value


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
