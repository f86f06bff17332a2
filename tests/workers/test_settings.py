"""The workers' settings: documented defaults, and a wrong value names its setting."""

import re
from pathlib import Path

import pytest

from connectors_app.asking import Deadlines
from workers.settings import ROOT, BadSetting, Settings


def read(**environ: str) -> Settings:
    return Settings.from_environ(environ)


@pytest.mark.accepts("M56", "M57", "M58", "M59")
def test_documented_ports_are_the_defaults() -> None:
    settings = read()
    ports = (settings.stt_port, settings.llm_port, settings.tts_port, settings.transport_port)
    assert ports == (8081, 8082, 8083, 8084)


@pytest.mark.accepts("M94", "M95")
def test_servers_default_to_localhost() -> None:
    settings = read(NATS_URL="", VALKEY_URL=" ")
    assert (settings.nats_url, settings.valkey_url) == ("nats://localhost:4222", "redis://localhost:6379")


@pytest.mark.accepts("M94", "M95")
def test_servers_are_where_they_are_set() -> None:
    settings = read(NATS_URL="tls://nats.example:4333", VALKEY_URL="rediss://:secret@valkey.example:6380/1")
    assert settings.nats_url == "tls://nats.example:4333"
    assert settings.valkey_url == "rediss://:secret@valkey.example:6380/1"


def test_valkey_url_wins_over_redis_url() -> None:
    older = {"REDIS_URL": "redis://older:1"}
    assert read(**older).valkey_url == "redis://older:1"
    assert read(**older, VALKEY_URL="valkey://newer:2").valkey_url == "redis://newer:2"


@pytest.mark.accepts("M96")
@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, "INFO"),
        ({"RUST_LOG": "debug"}, "DEBUG"),
        ({"RUST_LOG": "warn,hyper=trace"}, "WARNING"),
        ({"RUST_LOG": "hyper=trace"}, "INFO"),
        ({"RUST_LOG": "debug", "LOG_LEVEL": "error"}, "ERROR"),
    ],
)
def test_log_level(environ: dict[str, str], level: str) -> None:
    assert read(**environ).log_level == level


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NATS_URL", "localhost:4222", "must look like nats://host"),
        ("VALKEY_URL", "http://localhost", "must look like redis://host"),
        ("LOG_LEVEL", "loud", "must be debug, info"),
        ("CONFIG_TTL_SECONDS", "0", "from 1 to"),
        ("CONFIG_TTL_SECONDS", "an hour", "whole number of seconds"),
        ("MESHAG_MEDIA_SECONDS", "601", "from 1 to 600"),
        ("MESHAG_PUBLIC_URL", "agents.example", "must look like https://host"),
        ("MESHAG_PUBLIC_URL", "https://agents.example/path", "without a path"),
        ("MESHAG_EMBEDDED", "perhaps", "true or false"),
        ("MESHAG_OPEN_DOOR", "ajar", "true or false"),
        ("STT_PORT", "70000", "from 1 to 65535"),
        *(("MESHAG_TRANSCRIPT_SECONDS", value, "from 0.01 to 600") for value in ("soon", "0", "601", "nan")),
        ("MESHAG_TRANSPORT_FD", "-1", "file descriptor"),
    ],
)
def test_wrong_value_names_its_setting(name: str, value: str, expected: str) -> None:
    with pytest.raises(BadSetting, match=f"^{name} .*{re.escape(expected)}"):
        read(**{name: value})


def test_error_repeats_no_password() -> None:
    with pytest.raises(BadSetting) as caught:
        read(NATS_URL="http://user:hunter2@nats")
    assert "hunter2" not in str(caught.value)


def test_secrets_stay_out_of_repr() -> None:
    text = repr(read(TWILIO_AUTH_TOKEN="hunter2", VALKEY_URL="redis://:hunter2@valkey"))
    assert "hunter2" not in text


def test_secret_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from a file\n")
    assert read(TWILIO_AUTH_TOKEN_FILE=str(file)).twilio_auth_token == "from a file"


def test_secret_given_twice(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="both set"):
        read(TWILIO_AUTH_TOKEN="one", TWILIO_AUTH_TOKEN_FILE=str(tmp_path))


def test_secret_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="TWILIO_AUTH_TOKEN_FILE: cannot read"):
        read(TWILIO_AUTH_TOKEN_FILE=str(tmp_path / "missing"))


def test_public_url_without_trailing_slash() -> None:
    assert read(MESHAG_PUBLIC_URL="https://agents.example/").public_url == "https://agents.example"


def test_data_is_kept_in_the_checkout() -> None:
    assert read().data_dir == ROOT / "var"


def test_deadlines_are_the_runners_own() -> None:
    settings, runner = read(MESHAG_FIRST_TOKEN_SECONDS="4.5", MESHAG_STALL_SECONDS=""), Deadlines()
    names = ("first_audio", "transcript", "stall", "sentence", "silence", "beside")
    assert [getattr(settings, f"{name}_seconds") for name in names] == [getattr(runner, name) for name in names]
    assert settings.first_token_seconds == 4.5
