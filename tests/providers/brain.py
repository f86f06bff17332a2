"""What the stand-in language models answer: numbered sentences that depend on the question, so that tests know them."""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]
Brain = Callable[[Messages], str]

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


def last_user_text(messages: Messages) -> str:
    users = [message for message in messages if message.get("role") == "user"]
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
