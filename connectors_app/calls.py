"""Calls of tools as models ask for them: in fragments, which are put together here, and passed on only when whole."""

import json
from dataclasses import dataclass, field
from uuid import uuid4

import msgspec

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import ToolCall

_arguments = msgspec.json.Decoder(dict[str, object])


def written(call: ToolCall) -> str:
    """Its arguments as JSON, which most providers want as a text."""
    return json.dumps(call.arguments, ensure_ascii=False)


def made_up_id() -> str:
    """For providers that give none."""
    return f"call_{uuid4().hex}"


def unfinished(by: Connector, name: str) -> ProviderError:
    return ProviderError(ErrorKind.BROKEN, f"{by.label} asked for the tool “{name}”, but not with whole arguments")


def whole(by: Connector, call_id: str, name: str, arguments: str) -> ToolCall:
    """Raises ProviderError unless the arguments are a JSON object; no text at all is one without any."""
    try:
        values = _arguments.decode(arguments) if arguments.strip() else {}
    except msgspec.MsgspecError:
        raise unfinished(by, name) from None
    if not name:
        raise ProviderError(ErrorKind.BROKEN, f"{by.label} asked for a tool without saying which")
    return ToolCall(call_id or made_up_id(), name, values)


@dataclass(slots=True)
class _Draft:
    index: int | None
    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)


class Drafts:
    """The calls of one answer that are still coming in, in the order in which they began."""

    def __init__(self, by: Connector) -> None:
        self._by = by
        self._drafts: list[_Draft] = []

    def add(self, index: int | None, call_id: str, name: str, arguments: str) -> None:
        """One fragment. The first has the name; later ones may repeat it, the index and the id, or leave them out."""
        draft = self._find(index, call_id) or self._begin(index, call_id)
        draft.id = draft.id or call_id
        draft.name = draft.name or name
        draft.pieces.append(arguments)

    def take(self, index: int) -> list[ToolCall]:
        """What is at this index is complete; it need not be a call."""
        drafts = [draft for draft in self._drafts if draft.index == index]
        self._drafts = [draft for draft in self._drafts if draft.index != index]
        return [self._whole(draft) for draft in drafts]

    def take_all(self) -> list[ToolCall]:
        """The answer is complete."""
        drafts, self._drafts = self._drafts, []
        return [self._whole(draft) for draft in drafts]

    def expect_none(self) -> None:
        """Raises ProviderError when the answer has ended before its calls did."""
        for draft in self._drafts:
            raise unfinished(self._by, draft.name)

    def _find(self, index: int | None, call_id: str) -> _Draft | None:
        """Servers that number every call alike tell them apart by their ids, others by the index alone."""
        for draft in reversed(self._drafts):
            same_index = index is None or draft.index is None or draft.index == index
            if (call_id and draft.id == call_id) or (same_index and not (call_id and draft.id)):
                return draft
        return None

    def _begin(self, index: int | None, call_id: str) -> _Draft:
        draft = _Draft(index, call_id)
        self._drafts.append(draft)
        return draft

    def _whole(self, draft: _Draft) -> ToolCall:
        return whole(self._by, draft.id, draft.name, "".join(draft.pieces))
