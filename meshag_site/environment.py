"""Reads settings: the environment first, then what a running `manage.py up` has left for us, then the default."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

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
SHORTEST_SECRET_KEY = 50


@dataclass(frozen=True, slots=True)
class Environment:
    """Every method raises ImproperlyConfigured, which names the setting and never repeats a secret."""

    variables: Mapping[str, str]
    runtime: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """The variable, or the content of the file that `<name>_FILE` names. An empty one counts as none."""
        value, file = (self.variables.get(key, "").strip() for key in (name, f"{name}_FILE"))
        if value and file:
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them")
        if file:
            value = _content(f"{name}_FILE", file)
        return value or str(self.runtime.get(name) or default)

    def flag(self, name: str) -> bool:
        value = self.text(name, "false")
        if value.lower() not in FLAGS:
            raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")
        return FLAGS[value.lower()]

    def number(self, name: str, default: int, least: int, most: int) -> int:
        value = self.text(name, str(default))
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}, not {value!r}")
        return int(value)

    def words(self, name: str) -> list[str]:
        return self.text(name).replace(",", " ").split()

    def url(self, name: str, default: str, *schemes: str) -> str:
        value = self.text(name, default)
        if value and not _is_url(value, schemes):
            raise ImproperlyConfigured(f"{name} must look like {schemes[0]}://host[:port]")
        return value

    def origin(self, name: str) -> str:
        value = self.url(name, "", "https", "http").rstrip("/")
        if value and value.count("/") > 2:
            raise ImproperlyConfigured(f"{name} must be an origin such as https://agents.example.com, without a path")
        return value

    def valkey_url(self) -> str:
        """In the spelling that the client knows."""
        older = self.url("REDIS_URL", "redis://localhost:6379", "redis", "rediss")
        scheme, rest = self.url("VALKEY_URL", older, "redis", "rediss", "valkey", "valkeys").split("://", 1)
        return f"{scheme.replace('valkey', 'redis')}://{rest}"

    def log_level(self) -> str:
        """`RUST_LOG` may name targets, as in `info,hyper=warn`; nothing here has them, so the plain level counts."""
        rust = [word for word in self.text("RUST_LOG").lower().replace(" ", "").split(",") if word in LEVELS]
        level = self.text("LOG_LEVEL", rust[-1] if rust else "info")
        if level.lower() not in LEVELS:
            raise ImproperlyConfigured(f"LOG_LEVEL must be debug, info, warning, error or critical, not {level!r}")
        return LEVELS[level.lower()]

    def database(self, default: str) -> dict[str, Any]:
        url = self.text("DATABASE_URL", default)
        if url.partition("://")[0] not in ("sqlite", "postgres", "postgresql"):
            raise ImproperlyConfigured(
                "DATABASE_URL must look like postgres://user:password@host/name or sqlite:///path"
            )
        try:
            config: dict[str, Any] = environ.Env.db_url_config(url)
        except ValueError:
            raise ImproperlyConfigured("DATABASE_URL holds a port or a host that cannot be read") from None
        if config["ENGINE"] == "django.db.backends.sqlite3":
            Path(config["NAME"]).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Web, bridge and celery all write. The bridge's place in the stream is stored with its rows, so a commit
            # that a power cut takes back is simply written again: NORMAL is enough.
            pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"
            config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 10, "init_command": pragmas}
        return config

    def secret_key(self, kept: Path) -> str:
        """The operator's, or the installation's own one, which is drawn at the first start."""
        key = self.text("MESHAG_SECRET_KEY") or _kept_secret(kept)
        if len(key) < SHORTEST_SECRET_KEY:
            raise ImproperlyConfigured(f"MESHAG_SECRET_KEY must have at least {SHORTEST_SECRET_KEY} characters")
        return key


def read_env_file(variables: Mapping[str, str], usual: Path) -> None:
    """Add to the process's environment what `.env`, or the file that MESHAG_ENV_FILE names, says and nobody has set."""
    named = variables.get("MESHAG_ENV_FILE", "").strip()
    if named and not Path(named).exists():
        raise ImproperlyConfigured(f"MESHAG_ENV_FILE: there is no file {named!r}")
    environ.Env.read_env(named or usual)


def read_runtime(path: Path) -> dict[str, Any]:
    """Where the servers of a running `manage.py up` are; empty when nothing runs, even if it could not tidy up."""
    try:
        runtime = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        runtime = None
    if not isinstance(runtime, dict):
        raise ImproperlyConfigured(f"{path} cannot be read: remove it and start `make up` again")
    return runtime if _is_running(runtime.get("pid")) else {}


def _is_running(pid: object) -> bool:
    """A `manage.py up` that was killed leaves its file behind, and its servers are gone with it."""
    try:
        os.kill(pid if isinstance(pid, int) else os.getpid(), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _content(name: str, file: str) -> str:
    try:
        value = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}: cannot read {file!r}: {error}") from None
    if not value:
        raise ImproperlyConfigured(f"{name}: {file!r} is empty")
    return value


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _kept_secret(path: Path) -> str:
    """Linked into place whole, so that two who start at once agree on one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
