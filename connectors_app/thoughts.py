"""What a model thought before it asked for tools, in the provider's own sealed form, which it wants to see again."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from connectors_app.base.language_model import ToolCall

KEPT = 2_000
"""Calls whose thoughts are kept; a call is answered within seconds, and a process has some hundred sessions."""


class Thoughts:
    """By the id of the call. Another worker that takes a session over has none of them, and providers bear that."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def keep(self, call: str, thought: Any) -> None:
        self._kept[call] = thought
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def of(self, calls: Sequence[ToolCall]) -> list[Any]:
        return [self._kept[call.id] for call in calls if call.id in self._kept]
