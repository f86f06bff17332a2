"""What only Django's side reads: the `.env` file, what a running `manage.py up` has left, database and secret key."""

import json
import os
import re
import secrets
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import environ

from connectors_app.sealing import KEY_FILE, SETTING, Sealing, draw_key
from mesh.environment import BadSetting, Environment

SHORTEST_SECRET_KEY = 50

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(.*)")
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")


def read_env_file(variables: MutableMapping[str, str], usual: Path) -> None:
    """Add what `.env`, or the file that MESHAG_ENV_FILE names, says and nobody has set. Raises BadSetting."""
    named = variables.get("MESHAG_ENV_FILE", "").strip()
    file = Path(named or usual)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        if named:
            raise BadSetting(f"MESHAG_ENV_FILE: there is no file {named!r}") from None
        return
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSetting(f"{file} cannot be read: it is not UTF-8 text") from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _setting(line.strip(), f"{file}, line {number}")
            variables.setdefault(name, value)


def _setting(line: str, place: str) -> tuple[str, str]:
    """Name and value. The error says only where: the line may hold a secret."""
    found = _LINE.fullmatch(line)
    if not found:
        raise BadSetting(f"{place}: must be NAME=value")
    name, value = found.groups()
    if not value.lstrip().startswith(("'", '"')):
        return name, re.split(r"\s#", value, maxsplit=1)[0].strip()
    quoted = _QUOTED.fullmatch(value)
    if not quoted:
        raise BadSetting(f"{place}: the value's quotes must be closed, with nothing but a # comment behind them")
    plain, escaped = quoted.groups()
    return name, plain if plain is not None else re.sub(r"\\(.)", r"\1", escaped)


def read_runtime(path: Path) -> dict[str, Any]:
    """Where the servers of a running `manage.py up` are; empty when nothing runs, even if it could not tidy up."""
    try:
        runtime = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        runtime = None
    if not isinstance(runtime, dict):
        raise BadSetting(f"{path} cannot be read: remove it and start `make up` again")
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


def database(env: Environment, default: str) -> dict[str, Any]:
    """The entry for Django's DATABASES. Raises BadSetting."""
    url = env.text("DATABASE_URL", default)
    if url.partition("://")[0] not in ("sqlite", "postgres", "postgresql"):
        raise BadSetting("DATABASE_URL must look like postgres://user:password@host/name or sqlite:///path")
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError:
        raise BadSetting("DATABASE_URL holds a port or a host that cannot be read") from None
    if config["ENGINE"] == "django.db.backends.sqlite3":
        Path(config["NAME"]).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Web, bridge and celery all write. The bridge's place in the stream is stored with its rows, so a commit
        # that a power cut takes back is simply written again: NORMAL is enough.
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"
        config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 10, "init_command": pragmas}
    return config


def secret_key(env: Environment, kept: Path) -> str:
    """The operator's, or the installation's own one, which is drawn at the first start. Raises BadSetting."""
    key = env.text("MESHAG_SECRET_KEY") or _kept_secret(kept, lambda: secrets.token_urlsafe(64))
    if len(key) < SHORTEST_SECRET_KEY:
        raise BadSetting(f"MESHAG_SECRET_KEY must have at least {SHORTEST_SECRET_KEY} characters")
    return key


def sealing(env: Environment, data_dir: Path) -> Sealing:
    """Seals provider keys. Where the operator gives no keys for it, the first start draws one. Raises BadSetting."""
    if not env.text(SETTING):
        _kept_secret(data_dir / KEY_FILE, draw_key)
    return Sealing.from_environment(env, data_dir)


def _kept_secret(path: Path, draw: Callable[[], str]) -> str:
    """Linked into place whole, so that two who start at once agree on one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(draw())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
