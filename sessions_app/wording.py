"""What rows of sessions say to people, in a few words."""

from datetime import timedelta

from django.utils.text import Truncator

from sessions_app.models import Incident, TranscriptEntry, Turn, Usage

MICROS = 1_000_000
SHORT = 90


def tell_short(text: str) -> str:
    return Truncator(text).chars(SHORT)


def tell_time(length: timedelta) -> str:
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"


def tell_cost(usage: Usage) -> str:
    """A provider without a price costs nothing that we know of."""
    return f"{usage.micros / MICROS:.6f}" if usage.price_version or usage.micros else "no price"


def tell_cut(entry: TranscriptEntry) -> str:
    return "by the caller" if entry.interrupted else ""


def tell_kind(incident: Incident) -> str:
    return incident.get_kind_display().capitalize()


def tell_count(usage: Usage) -> str:
    return "estimated" if usage.estimated else "by the provider"


def tell_marks(turn: Turn) -> str:
    """When each thing happened."""
    marks = sorted(turn.waterfall.items(), key=lambda mark: mark[1])
    times = ", ".join(f"{name.replace('_', ' ')} {round(ms)} ms" for name, ms in marks)
    return f"{times} {tell_clock(turn)}" if times else ""


def tell_clock(turn: Turn) -> str:
    """What a turn's times are counted from."""
    return "after the text came" if turn.cause == "typed" else "after the caller’s last sound"
