"""How many tokens well-known models take. Names and numbers age, so asking for more is worth a warning and no more."""

from collections.abc import Mapping
from typing import Any

LIMITS = {
    "gpt-3.5-turbo": 4_096,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 32_768,
    "gpt-4o": 16_384,
    "gpt-4.1": 32_768,
    "gpt-5": 128_000,
    "claude-3": 200_000,
    "claude-3-opus": 4_096,
    "claude-3-sonnet": 4_096,
    "claude-3-haiku": 4_096,
    "claude-3-5": 8_192,
    "claude-haiku-4-5": 64_000,
    "claude-sonnet-4-5": 64_000,
    "gemini-pro": 30_720,
    "gemini-2.0": 8_192,
    "gemini-2.5": 65_536,
}
"""By the beginning of the model's name; the longest decides."""
NAMES = ("max_completion_tokens", "max_tokens", "max_output_tokens", "num_predict")
"""What the longest answer is called. The first that is set is the one that is sent."""


def limit_of(model: str) -> int | None:
    found = [begin for begin in LIMITS if model == begin or model.startswith((f"{begin}-", f"{begin}.", f"{begin}:"))]
    return LIMITS[max(found, key=len)] if found else None


def too_long(options: Mapping[str, Any]) -> str:
    """What to say of a longest answer that is beyond its model; empty when it is not, or nobody knows."""
    limit = limit_of(str(options.get("model") or ""))
    name = next((name for name in NAMES if options.get(name)), "")
    asked = options.get(name)
    if limit is None or not isinstance(asked, int) or asked <= limit:
        return ""
    return f"{name} is {asked}, but {options['model']} takes {limit} tokens at most: it may refuse."
