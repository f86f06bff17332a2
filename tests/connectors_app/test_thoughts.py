"""What models thought before their calls is kept for a while."""

import pytest

from connectors_app import thoughts
from connectors_app.base.language_model import ToolCall
from connectors_app.thoughts import Thoughts


def call(name: str) -> ToolCall:
    return ToolCall(name, "find", {})


def test_thoughts_belong_to_their_calls() -> None:
    kept = Thoughts()
    kept.keep("a", "sealed")
    assert kept.of([call("b"), call("a")]) == ["sealed"] and kept.of([]) == []


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thoughts, "KEPT", 2)
    kept = Thoughts()
    for name in "abc":
        kept.keep(name, name)
    assert kept.of([call("a"), call("b"), call("c")]) == ["b", "c"]
