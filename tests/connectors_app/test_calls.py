"""Calls of tools are put together from fragments of every kind that servers send."""

import pytest

from connectors_app.base.connector import Credentials
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import ToolCall
from connectors_app.calls import Drafts
from connectors_app.openai_chat import ChatOptions
from connectors_app.providers.openai import OpenAIChat

BY = OpenAIChat(ChatOptions(), Credentials())
Fragment = tuple[int | None, str, str, str]


def put_together(*fragments: Fragment) -> list[ToolCall]:
    drafts = Drafts(BY)
    for fragment in fragments:
        drafts.add(*fragment)
    return drafts.take_all()


@pytest.mark.parametrize(
    "fragments",
    [
        [(0, "a", "find", ""), (0, "", "", '{"n":'), (0, "", "", "1}"), (1, "b", "find", '{"n":2}')],
        [(0, "a", "find", '{"n":'), (1, "b", "find", '{"n":'), (0, "", "", "1}"), (1, "", "", "2}")],
        [(0, "a", "find", '{"n":1}'), (0, "b", "find", '{"n":2}')],
        [(None, "a", "find", '{"n":'), (None, "", "", "1}"), (None, "b", "find", '{"n":2}')],
        [(0, "a", "find", '{"n":'), (0, "a", "find", "1}"), (1, "b", "find", "{"), (1, "b", "find", '"n":2}')],
        [(0, "", "find", '{"n":'), (0, "a", "", "1}"), (1, "", "find", '{"n":2}'), (1, "b", "", "")],
    ],
    ids=["as documented", "interleaved", "one index", "no index", "all repeated", "late ids"],
)
def test_fragments_become_two_calls(fragments: list[Fragment]) -> None:
    assert put_together(*fragments) == [ToolCall("a", "find", {"n": 1}), ToolCall("b", "find", {"n": 2})]


@pytest.mark.parametrize("arguments", ['{"n":', "[1]", "null", '"{}"', "1", "{'n': 1}"])
def test_what_is_no_object_is_broken(arguments: str) -> None:
    with pytest.raises(ProviderError, match="“find”") as caught:
        put_together((0, "a", "find", arguments))
    assert caught.value.kind is ErrorKind.BROKEN and arguments not in str(caught.value)


def test_no_arguments_are_an_empty_object() -> None:
    assert put_together((0, "a", "find", "")) == [ToolCall("a", "find", {})]


def test_a_call_without_a_name_is_broken() -> None:
    with pytest.raises(ProviderError, match="without saying which"):
        put_together((0, "a", "", "{}"))


def test_calls_without_ids_get_some() -> None:
    first, second = put_together((0, "", "find", "{}"), (1, "", "find", "{}"))
    assert first.id and second.id and first.id != second.id


def test_what_ended_before_its_calls_is_broken() -> None:
    drafts = Drafts(BY)
    drafts.add(0, "a", "find", "{}")
    assert drafts.take(1) == [] and drafts.take(0) == [ToolCall("a", "find", {})]
    drafts.expect_none()
    drafts.add(1, "b", "find", "{}")
    with pytest.raises(ProviderError):
        drafts.expect_none()
