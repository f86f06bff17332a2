"""When providers end models that they still serve. Such dates are moved, so a passed one is worth a warning only."""

from datetime import date

ENDS = {
    "anthropic": {"claude-sonnet-4-5": date(2026, 11, 30)},
    "google": {"gemini-2.5": date(2026, 10, 16)},
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
