"""When providers end well-known models. Such dates are moved at times, so a passed one is worth a warning only."""

from datetime import date

ENDS = {
    "anthropic": {
        "claude-3": date(2026, 4, 20),
        "claude-3-opus": date(2026, 1, 5),
        "claude-3-sonnet": date(2025, 7, 21),
        "claude-3-5-sonnet": date(2025, 10, 28),
        "claude-3-5-haiku": date(2026, 2, 19),
        "claude-3-7-sonnet": date(2026, 2, 19),
        "claude-sonnet-4-0": date(2026, 6, 15),
        "claude-opus-4-0": date(2026, 6, 15),
        "claude-sonnet-4-5": date(2026, 11, 30),
    },
    "google": {
        "gemini-pro": date(2025, 2, 15),
        "gemini-1.0": date(2025, 2, 15),
        "gemini-1.5": date(2025, 9, 24),
        "gemini-2.0": date(2026, 6, 1),
        "gemini-2.5": date(2026, 10, 16),
    },
}
"""By the provider's name and the beginning of the model's; the longest decides."""


def ending(slug: str, model: str, today: date) -> str:
    """What to say of a model whose end was announced; empty where nothing is known."""
    name = model.rpartition("/")[2]
    ends = ENDS.get(slug, {})
    found = [begin for begin in ends if name == begin or name.startswith(f"{begin}-")]
    if not found:
        return ""
    end = ends[max(found, key=len)]
    advice = "calls may fail" if end <= today else "choose another one by then"
    return f"the end of {name} was announced for {end.isoformat()}: {advice}."
