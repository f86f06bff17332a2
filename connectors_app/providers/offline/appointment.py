"""The demo's appointment script: what is booked after all that the caller said, and what is answered to it.

What it understands stands in `appointment.gram`, what it says in `appointment.json`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from connectors_app.providers.offline import jsgf

GRAMMAR = Path(__file__).with_suffix(".gram")
_WORDS = Path(__file__).with_suffix(".json")


class Intent(StrEnum):
    """The rules of <sentence>, in its order."""

    RESTART = "restart"
    CANCEL = "cancel"
    HELP = "help"
    REPEAT = "repeat"
    GOODBYE = "goodbye"
    BOOK = "book"
    WHEN = "when"
    NO = "no"
    YES = "yes"
    HELLO = "hello"
    NOTHING = "nothing"


class Asked(StrEnum):
    PURPOSE = "purpose"
    DAY = "day"
    TIME = "time"
    CHANGE = "change"
    CONFIRM = "confirm"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Heard:
    intent: Intent
    day: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Booking:
    """`reply` answers what was said last; the question that is open follows it, except after a goodbye."""

    reply: str = ""
    is_wanted: bool = False
    day: str = ""
    time: str = ""
    is_refused: bool = False
    is_booked: bool = False
    is_over: bool = False

    @property
    def asked(self) -> Asked:
        if self.is_booked:
            return Asked.MORE
        if self.is_refused:
            return Asked.CHANGE
        if not self.is_wanted:
            return Asked.PURPOSE
        if not self.day:
            return Asked.DAY
        return Asked.CONFIRM if self.time else Asked.TIME


class Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    open_days: tuple[str, ...]
    questions: dict[Asked, str]
    replies: dict[str, str]


@cache
def words() -> Words:
    return Words.model_validate_json(_WORDS.read_text())


def answer(said: Sequence[str]) -> str:
    """To the last of all that the caller said."""
    booking = Booking(_reply("hello"))
    for text in said:
        booking = step(booking, understand(text))
    question = "" if booking.is_over else words().questions[booking.asked].format(**_named(booking.day, booking.time))
    return f"{booking.reply} {question}".strip()


# -- understanding ---------------------------------------------------------------------------------------

_CLOCK = re.compile(r"(?<![:.\d])\b(1[0-6]|[1-9])(?:[:.](00|30))?(?![:.]?\d)\s*(?:o'clock|[ap]\.?m\b\.?)?")
_HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
_SHORT = {"’": "'", "i'd": "i would", "that's": "that is", "let's": "let us", "n't": " not"}
_FIRM = (Intent.RESTART, Intent.CANCEL, Intent.HELP, Intent.REPEAT, Intent.BOOK)
"""What a day or a time in the same sentence does not change."""


def understand(text: str) -> Heard:
    """A sentence of the grammar, else the first thing in the text that its rules know."""
    plain = _plain(text)
    day, time = _last(_slot("day"), plain), _last(_slot("morning", "afternoon"), plain)
    intent = _intent(plain)
    return Heard(Intent.WHEN if (day or time) and intent not in _FIRM else intent, day, time)


def _intent(plain: str) -> Intent:
    found: list[tuple[bool, int, Intent]] = []
    for intent, pattern in _patterns().items():
        if pattern.fullmatch(plain):
            return intent
        if match := pattern.search(plain):
            found.append((intent is Intent.HELLO, match.start(), intent))
    return min(found, key=lambda one: one[:2])[2] if found else Intent.NOTHING


def _plain(text: str) -> str:
    """Small letters, numbers as words, a space after each word."""
    plain = text.lower()
    for short, long in _SHORT.items():
        plain = plain.replace(short, long)
    plain = _CLOCK.sub(_clock_in_words, plain)
    return "".join(f"{word} " for word in re.findall(r"[a-z']+", plain))


def _clock_in_words(clock: re.Match[str]) -> str:
    part = "thirty" if clock[2] == "30" else "o'clock"
    return f" {_HOURS[int(clock[1]) % 12]} {part} "


def _last(pattern: re.Pattern[str], plain: str) -> str:
    """Who corrects himself says the right one last."""
    found = pattern.findall(plain)
    return found[-1].strip() if found else ""


@cache
def _grammar() -> jsgf.Grammar:
    return jsgf.parse(GRAMMAR.read_text())


@cache
def _slot(*rules: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\S)(?:{_grammar().expression(*rules).pattern})")


@cache
def _patterns() -> dict[Intent, re.Pattern[str]]:
    known = _grammar().rules
    rules = {intent: (intent, f"written_{intent}") for intent in Intent if intent is not Intent.NOTHING}
    return {intent: _slot(*(name for name in names if name in known)) for intent, names in rules.items()}


# -- answering -------------------------------------------------------------------------------------------


def step(booking: Booking, heard: Heard) -> Booking:
    booking = replace(booking, is_over=False)
    match heard.intent:
        case Intent.BOOK:
            return _dated(Booking(_reply("gladly"), is_wanted=True), heard)
        case Intent.WHEN:
            return _dated(replace(booking, reply=_reply("good")), heard)
        case Intent.YES:
            return _agreed(booking)
        case Intent.NO:
            return _refused(booking)
        case Intent.GOODBYE:
            return _farewell(booking)
        case Intent.RESTART:
            return Booking(_reply("restart"), is_wanted=True)
        case Intent.CANCEL:
            return Booking(_reply("cancel"))
    return replace(booking, reply=_reply(heard.intent))


def _dated(booking: Booking, heard: Heard) -> Booking:
    """With the day and the time that were heard, as far as we are open."""
    booking = replace(booking, is_wanted=True, is_refused=False, is_booked=False, time=heard.time or booking.time)
    if heard.day and heard.day not in words().open_days:
        return replace(booking, reply=_reply("closed", heard.day), day="")
    return replace(booking, day=heard.day or booking.day)


def _agreed(booking: Booking) -> Booking:
    match booking.asked:
        case Asked.PURPOSE:
            return Booking(_reply("gladly"), is_wanted=True)
        case Asked.CONFIRM:
            return replace(booking, reply=_reply("booked", booking.day, booking.time), is_booked=True)
        case Asked.MORE:
            return Booking(_reply("good"))
    return replace(booking, reply=_reply("nothing"))


def _refused(booking: Booking) -> Booking:
    match booking.asked:
        case Asked.CONFIRM:
            return replace(booking, reply=_reply("unconfirmed"), is_refused=True)
        case Asked.PURPOSE | Asked.MORE:
            return _farewell(booking)
    return replace(booking, reply=_reply("nothing"))


def _farewell(booking: Booking) -> Booking:
    is_unfinished = booking.is_wanted and not booking.is_booked
    return Booking(_reply("unfinished" if is_unfinished else "goodbye"), is_over=True)


def _reply(name: str, day: str = "", time: str = "") -> str:
    return words().replies[name].format(**_named(day, time))


def _named(day: str, time: str) -> dict[str, str]:
    return {"day": day.capitalize(), "time": time}
