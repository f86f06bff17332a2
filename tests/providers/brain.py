"""What the stand-in language models answer: numbered sentences that depend on the question, so that tests know them."""

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connectors_app.base.language_model import CONTINUE

Messages = Sequence[Mapping[str, Any]]
"""In the form of OpenAI's chat, which has a role of its own for the results of tools."""
Brain = Callable[[Messages], str]

USE_TOOL = "use the tool"
"""Said by a caller it makes the model ask for the first tool it was given; "use the tool twice" for two at once."""

LONG_STORY = "long story"
LONG_STORY_SENTENCES = 40
_NAMES = ("amber", "birch", "cedar", "delta", "ember", "fjord", "garnet", "heron", "indigo", "juniper", "kelp", "lotus")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def reply_for(text: str, sentences: int = 2) -> str:
    """The answer to a question. Case, punctuation and spaces do not matter; "long story" makes it 40 sentences."""
    words = re.findall(r"[\w']+", text.lower())
    plain = " ".join(words)
    count = LONG_STORY_SENTENCES if LONG_STORY in plain else sentences
    topic = " ".join(words[:5]) or "nothing at all"
    return " ".join(_sentence(place, count, plain, topic) for place in range(1, count + 1))


def _sentence(place: int, count: int, plain: str, topic: str) -> str:
    name = _NAMES[zlib.crc32(f"{place} {plain}".encode()) % len(_NAMES)]
    return f"Point {_number(place)} of {_number(count)} about {topic} is called {name}."


def _number(value: int) -> str:
    return _NUMBERS[value - 1] if 0 < value <= len(_NUMBERS) else str(value)


def answer_last_user(messages: Messages) -> str:
    """The default brain."""
    return reply_for(last_user_text(messages))


# -- going on with a reply that broke off ----------------------------------------------------------------


class GoingOn(StrEnum):
    """What a model does that is asked to go on after words of its own."""

    EXACTLY = "exactly"  # after the last word, as it was asked
    ANEW = "anew"  # the whole answer from its beginning
    OVERLAPPING = "overlapping"  # its last sentence once more, then the rest


def parted(messages: Messages) -> tuple[Messages, str]:
    """The conversation up to the answer that is to be continued, and the words of that so far."""
    before = list(messages)
    if before and _is_note(before[-1]):
        before.pop()
    said: list[str] = []
    while before and before[-1].get("role") == "assistant" and not before[-1].get("tool_calls"):
        said.insert(0, content_text(before.pop().get("content")))
    return before, " ".join(said).strip()


def go_on(answer: str, said: str, style: GoingOn) -> str:
    """The rest of an answer of which this was said; all of it where the words are not its beginning."""
    if not said or not answer.startswith(said) or style is GoingOn.ANEW:
        return answer
    at = len(said)
    if style is GoingOn.OVERLAPPING:
        ends = [match.end() for match in re.finditer(r"[.!?]\s+", said)]
        at = ends[-1] if ends else 0
    return answer[at:].lstrip()


def _is_note(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "user" and content_text(message.get("content")).strip() == CONTINUE


# -- tools -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Function:
    """A tool as a request declares it; `parameters` is its JSON Schema."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: Mapping[str, Any]

    @property
    def pieces(self) -> list[str]:
        """The JSON of its arguments, as a model emits it."""
        text = json.dumps(self.arguments)
        return [text[start : start + 5] for start in range(0, len(text), 5)]


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model says, or asks for."""

    text: str = ""
    calls: tuple[Call, ...] = ()

    @property
    def length(self) -> int:
        """In tokens."""
        return len(tokens(self.text)) + sum(len(call.pieces) for call in self.calls)


def think(brain: Brain, messages: Messages, functions: Sequence[Function], style: GoingOn = GoingOn.EXACTLY) -> Thought:
    """A caller's wish for a tool is obeyed; a tool's result is repeated; all else is the brain's.

    Where the last words are the model's own it goes on with them.
    """
    before, said = parted(messages)
    if before and before[-1].get("role") == "tool":
        return Thought(go_on(reply_with(content_text(before[-1].get("content"))), said, style))
    if functions and not said and USE_TOOL in (question := last_user_text(before).lower()):
        return Thought(calls=calls_for(question, functions[0]))
    return Thought(go_on(brain(before), said, style))


def reply_with(result: str) -> str:
    """The answer once a tool has said this."""
    return f"The tool says {result}. That is all."


def calls_for(question: str, function: Function) -> tuple[Call, ...]:
    count = 2 if f"{USE_TOOL} twice" in question.lower() else 1
    properties = function.parameters.get("properties") or {}
    return tuple(
        Call(function.name, {name: _value(schema, place) for name, schema in properties.items()})
        for place in range(1, count + 1)
    )


def _value(schema: Mapping[str, Any], place: int) -> object:
    """Something that the schema of a parameter allows, and another for each call."""
    if choices := schema.get("enum"):
        return choices[(place - 1) % len(choices)]
    match schema.get("type"):
        case "integer":
            return place
        case "number":
            return place + 0.5
        case "boolean":
            return place % 2 == 1
        case "array":
            return [_value(schema.get("items") or {}, place)]
        case "object":
            return {name: _value(one, place) for name, one in (schema.get("properties") or {}).items()}
        case _:
            return f"café “{_number(place)}”\n{{in two lines}}"


# -- messages --------------------------------------------------------------------------------------------


def last_user_text(messages: Messages) -> str:
    """What the caller said last: a note that asks to go on is the runner's."""
    users = [message for message in messages if message.get("role") == "user" and not _is_note(message)]
    return content_text(users[-1].get("content")) if users else ""


def content_text(content: object) -> str:
    """A message's text, whether it is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    return " ".join(part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str))


def tokens(text: str) -> list[str]:
    """Words with the space before them, roughly as a model emits them."""
    return re.findall(r"\s*\S+", text)
