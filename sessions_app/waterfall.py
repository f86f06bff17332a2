"""Where the time of a turn went: its marks as bars, each from where the one before ended. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

LABELS = {
    "transcript": "Final transcript",
    "turn_end": "End of turn decided",
    "first_token": "First word of the model",
    "first_sentence": "First sentence",
    "first_audio": "First audio of the voice",
    "first_sample": "First sound sent",
    "first_text": "First sentence shown",
}
ANSWERED = ("first_sample", "first_text")
"""The caller hears the agent, or, of a flow without a voice, reads it."""
WIDTH = 1000
"""Units of the drawing; its size is the page's affair."""
THINNEST = 4
SHORTEST = 100
"""Milliseconds of the whole picture: a turn that failed at once does not look long."""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    ms: int
    """Since the caller's last word."""
    took: int
    x: int
    width: int


def response_ms(marks: Mapping[str, object]) -> int | None:
    """Until the agent was heard or read; None: it was not."""
    return next((ms for name in ANSWERED if isinstance(ms := marks.get(name), int)), None)


def bars(marks: Mapping[str, object]) -> list[Bar]:
    """In the order of time. What happened before the caller had finished is at 0."""
    known = [(name, marks[name]) for name in LABELS if name in marks]
    times = sorted(((max(ms, 0), name) for name, ms in known if isinstance(ms, int)), key=lambda mark: mark[0])
    longest = max([SHORTEST, *(ms for ms, _ in times)])
    drawn: list[Bar] = []
    before = 0
    for ms, name in times:
        x = min(before * WIDTH // longest, WIDTH - THINNEST)
        drawn.append(Bar(LABELS[name], ms, ms - before, x, max(ms * WIDTH // longest - x, THINNEST)))
        before = ms
    return drawn
