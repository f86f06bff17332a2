import json
import os
import re
import runpy
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from logging import makeLogRecord
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from connectors_app.sealing import draw_key
from mesh.environment import BadSetting, Environment
from meshag_site.environment import read_env_file, read_runtime, secret_key
from meshag_site.ports import DOCUMENTED

ROOT = Path(__file__).resolve().parent.parent.parent
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The settings as a process with exactly these variables would have them."""

    def load(**variables: str) -> dict[str, Any]:
        (tmp_path / ".env").touch()
        own = {"MESHAG_DATA_DIR": str(tmp_path), "MESHAG_ENV_FILE": str(tmp_path / ".env")}
        with patch.dict(os.environ, own | variables, clear=True):
            return runpy.run_path(str(ROOT / "meshag_site" / "settings.py"))

    return load


# -- what a clone gets -----------------------------------------------------------------------------------


@pytest.mark.accepts("M94", "M95")
def test_a_clone_needs_no_variables(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings["NATS_URL"] == "nats://localhost:4222"
    assert settings["VALKEY_URL"] == "redis://localhost:6379"
    assert settings["DATABASES"]["default"]["NAME"] == str(tmp_path / "meshag.sqlite3")
    assert settings["DEBUG"] is False


def test_sqlite_takes_several_writers(load: Load) -> None:
    options = load()["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert options["timeout"] > 0
    assert "journal_mode=WAL" in options["init_command"]


def test_postgresql_gets_no_sqlite_options(load: Load) -> None:
    database = load(DATABASE_URL="postgres://mesh:s3cret@db.example/mesh")["DATABASES"]["default"]
    assert (database["ENGINE"], database["HOST"]) == ("django.db.backends.postgresql", "db.example")
    assert "init_command" not in database.get("OPTIONS", {})


def test_only_local_names_are_served(load: Load) -> None:
    assert load()["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]


def test_other_names_can_be_added(load: Load) -> None:
    settings = load(MESHAG_PUBLIC_URL="https://mesh.example/", MESHAG_ALLOWED_HOSTS="a.example, b.example")
    assert settings["ALLOWED_HOSTS"][3:] == ["a.example", "b.example", "mesh.example"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://mesh.example"]


# -- where values come from ------------------------------------------------------------------------------


@pytest.mark.accepts("M98")
def test_the_env_file_is_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('NATS_URL="nats://from-file:4222"\nVALKEY_URL=redis://from-file:6379\n')
    settings = load(VALKEY_URL="redis://from-environment:6379")
    assert settings["NATS_URL"] == "nats://from-file:4222"
    assert settings["VALKEY_URL"] == "redis://from-environment:6379"


@pytest.mark.accepts("M98")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("  export KEY = plain  ", "plain"),
        ("KEY=plain # why", "plain"),
        ("KEY= # none", ""),
        ("KEY=pass#word", "pass#word"),
        ("KEY='pass # word' # why", "pass # word"),
        (r'KEY="a \"quoted\" # word"', 'a "quoted" # word'),
        ("\ufeffKEY=a=b", "a=b"),
        ("# KEY=other\n\nKEY=own", "own"),
    ],
)
def test_the_env_file_has_the_usual_spellings(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")
    variables: dict[str, str] = {}
    read_env_file(variables, tmp_path / ".env")
    assert variables == {"KEY": value}


@pytest.mark.parametrize("line", ["OPENAI_API_KEY sk-hunter2", "sk-hunter2", "KEY='sk-hunter2", 'KEY="sk-" hunter2'])
def test_a_wrong_line_is_named_not_shown(
    tmp_path: Path, line: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text(f"NATS_URL=\n{line}\n")
    with pytest.raises(BadSetting, match=r"\.env, line 2: ") as refused:
        read_env_file({}, tmp_path / ".env")
    assert "hunter2" not in f"{refused.value}{caplog.text}{capfd.readouterr()}"


def test_an_env_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match="not UTF-8 text"):
        read_env_file({}, tmp_path / ".env")


def test_running_servers_are_found(load: Load, tmp_path: Path) -> None:
    running = {"pid": os.getpid(), "NATS_URL": "nats://127.0.0.1:5222"}
    (tmp_path / "runtime.json").write_text(json.dumps(running))
    assert load()["NATS_URL"] == "nats://127.0.0.1:5222"
    assert load(NATS_URL="nats://given:4222")["NATS_URL"] == "nats://given:4222"


@pytest.mark.parametrize("text", ["auto", "0"])
@pytest.mark.parametrize("name", DOCUMENTED)
def test_any_port_can_be_any_free_one(load: Load, tmp_path: Path, name: str, text: str) -> None:
    """At the start of `make up` there is none yet; the commands beside it find the one that was chosen."""
    found = load(**{name: text})
    running = {"pid": os.getpid(), name: "40123"}
    (tmp_path / "runtime.json").write_text(json.dumps(running))
    beside = load(**{name: text})
    for own, chosen in (("TRANSPORT_PORT", "TRANSPORT_PORT"), ("BRIDGE_PORT", "MESHAG_BRIDGE_PORT")):
        if name == chosen:
            assert (found[own], beside[own]) == (0, 40_123)


def test_servers_that_died_are_forgotten(load: Load, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(30)
    gone = {"pid": ended.pid, "NATS_URL": "nats://127.0.0.1:5222"}
    (tmp_path / "runtime.json").write_text(json.dumps(gone))
    assert load()["NATS_URL"] == "nats://localhost:4222"


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_broken_runtime_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "runtime.json"
    file.write_text(content)
    with pytest.raises(BadSetting, match=r"runtime\.json cannot be read: remove it"):
        read_runtime(file)


def test_secrets_can_come_from_files(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k" * 60 + "\n")
    assert load(MESHAG_SECRET_KEY_FILE=str(file))["SECRET_KEY"] == "k" * 60
    file.write_text("postgres://mesh@db.example/mesh")
    assert load(DATABASE_URL_FILE=str(file))["DATABASES"]["default"]["HOST"] == "db.example"


def test_an_empty_variable_counts_as_none(load: Load) -> None:
    assert load(NATS_URL="", MESHAG_DEBUG=" ")["NATS_URL"] == "nats://localhost:4222"


# -- the secret key --------------------------------------------------------------------------------------


def test_each_installation_draws_its_key(load: Load, tmp_path: Path) -> None:
    first = load()["SECRET_KEY"]
    assert load()["SECRET_KEY"] == first
    assert load(MESHAG_DATA_DIR=str(tmp_path / "other"))["SECRET_KEY"] != first
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600


def test_simultaneous_starts_agree_on_a_key(tmp_path: Path) -> None:
    kept = tmp_path / "new" / "secret-key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_key(Environment({}), kept), range(8)))
    assert keys == {kept.read_text()}
    assert list(kept.parent.iterdir()) == [kept]


def test_a_given_key_leaves_no_file(load: Load, tmp_path: Path) -> None:
    load(MESHAG_SECRET_KEY="k" * 60)
    assert not (tmp_path / "secret-key").exists()


# -- the key of credentials --------------------------------------------------------------------------------


def test_each_installation_draws_a_key_for_credentials(load: Load, tmp_path: Path) -> None:
    sealed = load()["CREDENTIAL_SEALING"].seal("bicycles", "deepgram", {"DEEPGRAM_API_KEY": "secret"})
    assert load()["CREDENTIAL_SEALING"].open("bicycles", "deepgram", sealed) == {"DEEPGRAM_API_KEY": "secret"}
    assert stat.S_IMODE((tmp_path / "credential-keys").stat().st_mode) == 0o600


def test_given_keys_for_credentials_leave_no_file(load: Load, tmp_path: Path) -> None:
    load(MESHAG_CREDENTIAL_KEYS=f"{draw_key()}, {draw_key()}")
    assert not (tmp_path / "credential-keys").exists()


# -- wrong values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MESHAG_DEBUG": "maybe"}, "MESHAG_DEBUG must be true or false, not 'maybe'"),
        ({"MESHAG_OPEN_DOOR": "ajar"}, "MESHAG_OPEN_DOOR must be true or false, not 'ajar'"),
        ({"MESHAG_CALL_JOIN_SECONDS": "4"}, "MESHAG_CALL_JOIN_SECONDS must be a whole number from 5 to 600, not '4'"),
        ({"TRANSPORT_PORT": "any"}, "TRANSPORT_PORT must be a port from 1 to 65535, or `auto` for any free one"),
        ({"MESHAG_SECRET_KEY": "short"}, "MESHAG_SECRET_KEY must have at least 50 characters"),
        ({"MESHAG_SECRET_KEY_FILE": "/nowhere"}, "MESHAG_SECRET_KEY_FILE: cannot read '/nowhere'"),
        ({"MESHAG_SECRET_KEY_FILE": "/dev/null"}, "MESHAG_SECRET_KEY_FILE: '/dev/null' is empty"),
        ({"NATS_URL": "a", "NATS_URL_FILE": "b"}, "NATS_URL and NATS_URL_FILE are both set"),
        ({"MESHAG_PUBLIC_URL": "mesh.example"}, "MESHAG_PUBLIC_URL must look like https://"),
        ({"MESHAG_PUBLIC_URL": "https://mesh.example/ui"}, "MESHAG_PUBLIC_URL must be an origin"),
        ({"NATS_URL": "localhost:4222"}, "NATS_URL must look like nats://"),
        ({"NATS_URL": "nats://localhost:99999"}, "NATS_URL must look like nats://"),
        ({"VALKEY_URL": "http://localhost"}, "VALKEY_URL must look like redis://"),
        ({"DATABASE_URL": "mysql://localhost/mesh"}, "DATABASE_URL must look like postgres://"),
        ({"DATABASE_URL": "mesh"}, "DATABASE_URL must look like postgres://"),
        ({"DATABASE_URL": "postgres://host:many/mesh"}, "DATABASE_URL holds a port"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be debug, info"),
        ({"MESHAG_ENV_FILE": "/nowhere/.env"}, "MESHAG_ENV_FILE: there is no file '/nowhere/.env'"),
    ],
)
def test_a_wrong_value_names_its_setting(load: Load, variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting) as refused:
        load(**variables)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["NATS_URL", "VALKEY_URL", "DATABASE_URL"])
def test_passwords_are_not_repeated(load: Load, name: str) -> None:
    with pytest.raises(BadSetting, match=name) as refused:
        load(**{name: "ftp://mesh:s3cret@host"})
    assert "s3cret" not in str(refused.value)


# -- a deployment ----------------------------------------------------------------------------------------


def check_deployment(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {"MESHAG_DATA_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=own | variables, capture_output=True, text=True, timeout=60)


def test_a_public_https_url_passes_every_check(tmp_path: Path) -> None:
    checked = check_deployment(tmp_path, MESHAG_PUBLIC_URL="https://mesh.example")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESHAG_DEBUG", "maybe"),
        ("LOG_LEVEL", "loud"),
        ("MESHAG_CREDENTIAL_KEYS", "secret"),
        ("MESHAG_SECRET_KEY", "abc"),
        ("MESHAG_PUBLIC_URL", "https://x/path"),
        ("DATABASE_URL", "mysql://x"),
    ],
)
def test_a_wrong_value_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    checked = check_deployment(tmp_path, **{name: value})
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{name} must ") and checked.stderr.count("\n") == 1


def test_https_brings_strict_transport(load: Load) -> None:
    settings = load(MESHAG_PUBLIC_URL="https://mesh.example")
    assert settings["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert settings["SESSION_COOKIE_SECURE"] and settings["CSRF_COOKIE_SECURE"] and settings["SECURE_SSL_REDIRECT"]
    assert "SESSION_COOKIE_SECURE" not in load(MESHAG_PUBLIC_URL="http://mesh.example")


@pytest.mark.parametrize("page", ["health", "ready", "metrics", "metrics/targets"])
def test_operators_pages_are_not_redirected(load: Load, page: str) -> None:
    exempt = load(MESHAG_PUBLIC_URL="https://mesh.example")["SECURE_REDIRECT_EXEMPT"]
    assert any(re.search(pattern, page) for pattern in exempt)


def test_log_lines_keep_their_fields(load: Load) -> None:
    logging = load()["LOGGING"]
    formatter = logging["formatters"]["line"]
    record = makeLogRecord({"name": "sessions_app", "levelname": "WARNING", "msg": "rows wait", "error": "away"})
    assert formatter["()"](formatter["fmt"]).format(record).endswith("WARNING sessions_app rows wait error='away'")
