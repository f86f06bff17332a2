"""Log lines with their fields."""

import logging
import sys

import pytest

from mesh import logs


def line(message: str, **fields: object) -> str:
    record = logging.makeLogRecord({"name": "workers.call", "levelname": "INFO", "msg": message, **fields})
    return logs.FieldFormatter("%(levelname)s %(name)s %(message)s").format(record)


def test_fields_follow_the_message() -> None:
    assert line("call ended", session="s-1", ms=3) == "INFO workers.call call ended session='s-1' ms=3"


def test_a_line_without_fields_is_plain() -> None:
    assert line("up") == "INFO workers.call up"


def test_a_field_cannot_begin_a_line() -> None:
    assert line("refused", error="a\nERROR forged") == "INFO workers.call refused error='a\\nERROR forged'"


def test_fields_stand_before_a_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        text = line("failed", exc_info=sys.exc_info(), session="s-1")
    first, *rest = text.splitlines()
    assert first == "INFO workers.call failed session='s-1'"
    assert rest[0].startswith("Traceback") and rest[-1] == "ValueError: broken"


def test_a_request_is_no_field() -> None:
    assert line("Bad Request", request=object(), status_code=400) == "INFO workers.call Bad Request status_code=400"


@pytest.mark.parametrize(("level", "noisy"), [("INFO", logging.WARNING), ("ERROR", logging.ERROR)])
def test_libraries_are_quieter_than_we(level: str, noisy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    logs.configure(level)
    assert (root.level, logging.getLogger("httpx").level) == (logging.getLevelName(level), noisy)
