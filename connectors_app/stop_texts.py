"""Ends an answer before one of some texts, for providers that cannot do it themselves. Pure."""

from collections.abc import Iterable


class StopTexts:
    """Fed an answer in pieces. What may be the beginning of a stop text is held until more has come."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(text for text in texts if text)
        self._held = ""
        self.is_reached = False

    def feed(self, piece: str) -> str:
        """What may be said now; nothing comes after a text that is reached."""
        self._held += piece
        found = [place for text in self._texts if (place := self._held.find(text)) >= 0]
        if found:
            self.is_reached = True
            return self._cut(min(found))
        return self._cut(len(self._held) - self._open_ended())

    def rest(self) -> str:
        """What is held, when the answer has ended: it was none of the texts."""
        return self._cut(len(self._held))

    def _open_ended(self) -> int:
        """How many of the last letters begin one of the texts."""
        return max((n for text in self._texts for n in range(len(text)) if self._held.endswith(text[:n])), default=0)

    def _cut(self, place: int) -> str:
        said, self._held = self._held[:place], self._held[place:]
        return said
