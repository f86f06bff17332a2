"""The reader of settings: where values come from, their spellings, and errors that name the setting."""

from pathlib import Path

import pytest

from mesh.environment import BadSetting, Environment


def read(**variables: str) -> Environment:
    return Environment(variables)


def test_variable_then_running_system_then_default() -> None:
    runtime = {"BY_BOTH": "running", "BY_RUNTIME": "running"}
    env = Environment({"BY_BOTH": "own", "BY_RUNTIME": " "}, runtime)
    assert [env.text(name, "default") for name in ("BY_BOTH", "BY_RUNTIME", "BY_NONE")] == ["own", "running", "default"]


def test_value_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert read(TOKEN_FILE=str(tmp_path / "token")).text("TOKEN") == "from a file"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), (b" \n", "is empty"), (b"\xff", "cannot read .*: it is not text")]
)
def test_value_file_that_has_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(BadSetting, match=f"^TOKEN_FILE: .*{said}"):
        read(TOKEN_FILE=str(tmp_path / "token")).text("TOKEN")


def test_value_given_twice() -> None:
    with pytest.raises(BadSetting, match="^TOKEN and TOKEN_FILE are both set"):
        read(TOKEN="one", TOKEN_FILE="/two").text("TOKEN")


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "11", "٣"])
def test_number_out_of_its_range(value: str) -> None:
    with pytest.raises(BadSetting, match="^COUNT must be a whole number from 0 to 10"):
        read(COUNT=value).number("COUNT", 3, 0, 10)


@pytest.mark.parametrize("value", ["soon", "0", "11", "nan", "inf", "-inf"])
def test_seconds_out_of_their_range(value: str) -> None:
    with pytest.raises(BadSetting, match="^WAIT must be a number of seconds from 0.5 to 10"):
        read(WAIT=value).seconds("WAIT", 1.0, 0.5, 10)


@pytest.mark.parametrize("value", ["https://host/path", "https://host?query", "https://host#part"])
def test_origin_is_no_more_than_a_host(value: str) -> None:
    with pytest.raises(BadSetting, match="^ORIGIN must be an origin"):
        read(ORIGIN=value).origin("ORIGIN")


def test_no_server_without_a_default() -> None:
    assert (read().nats_url(default=""), read().valkey_url(default="")) == ("", "")


@pytest.mark.accepts("M95")
@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"REDIS_URL": "redis://older:6379"}, "redis://older:6379"),
        ({"REDIS_URL": "redis://older:6379", "VALKEY_URL": "valkey://own:6379/1"}, "redis://own:6379/1"),
        ({"VALKEY_URL": "valkeys://own:6380"}, "rediss://own:6380"),
        ({"VALKEY_URL": "redis://:valkey@valkey:6379"}, "redis://:valkey@valkey:6379"),
    ],
)
def test_valkey_has_several_spellings(variables: dict[str, str], url: str) -> None:
    assert read(**variables).valkey_url() == url


@pytest.mark.accepts("M96")
@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "INFO"),
        ({"LOG_LEVEL": "warn"}, "WARNING"),
        ({"RUST_LOG": "trace"}, "DEBUG"),
        ({"RUST_LOG": "error,hyper=debug"}, "ERROR"),
        ({"RUST_LOG": "debug", "LOG_LEVEL": "ERROR"}, "ERROR"),
    ],
)
def test_the_log_level_has_two_names(variables: dict[str, str], level: str) -> None:
    assert read(**variables).log_level() == level


@pytest.mark.parametrize("text", ["auto", "AUTO", "0"])
def test_any_free_port(text: str) -> None:
    assert read(PORT=text).port("PORT", 8081) == 0
    assert Environment({"PORT": text}, {"PORT": "40123"}).port("PORT", 8081) == 40_123


@pytest.mark.parametrize("text", ["http", "-1", "65536", "8081.0", "٣"])
def test_port_that_is_no_port(text: str) -> None:
    with pytest.raises(BadSetting, match="^PORT must be a port from 1 to 65535, or `auto` for any free one, not"):
        read(PORT=text).port("PORT", 8081)
