"""Where the words of a sentence end in its audio, told by a provider that aligns characters. Pure."""

from collections.abc import Sequence

from connectors_app.base import Spoken

SLACK_SECONDS = 0.1
"""How far the last character may reach beyond the audio: times are rounded, and samples cut."""
QUICKEST_LETTER = 0.04
"""Seconds. Audio after the last aligned character that has so much for each of the others is theirs."""


class WordEnds:
    """Follows a provider's characters through the text that it was asked to say.

    Only letters and digits are compared: providers change spaces, quotes and dashes. Where these differ too, as when
    the provider writes numbers out, nothing more is told: no mark is better than a wrong one.
    """

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._letters = [(char.casefold(), end) for char, end in _with_ends(text) if char.isalnum()]
        self._matched = 0
        self._is_lost = False
        self._tells = False
        self._until = 0

    def feed(self, characters: Sequence[str], ends: Sequence[int]) -> list[Spoken]:
        """The next characters and where each ends, in samples of the sentence; what ends with them comes back."""
        found: list[Spoken] = []
        self._is_lost = self._is_lost or len(characters) != len(ends)
        for character, end in zip(characters, ends, strict=False):
            found += self._follow(character, end)
            self._until = max(self._until, end)
        self._tells = self._tells or bool(found)
        return found

    def end(self, samples: int, rate: int) -> list[Spoken]:
        """The provider says that it has said all: the last mark where its alignment stopped before its audio did."""
        return [Spoken(self._length, samples)] if self._tells and self._is_whole(samples, rate) else []

    def is_cut(self, samples: int, rate: int) -> bool:
        """Whether an end without any mark of an end came too early."""
        return self._matched > 0 and not self._is_whole(samples, rate)

    def _follow(self, character: str, end: int) -> list[Spoken]:
        found: list[Spoken] = []
        for letter in filter(str.isalnum, character):
            if (
                self._is_lost
                or self._matched == len(self._letters)
                or self._letters[self._matched][0] != letter.casefold()
            ):
                self._is_lost = True
                return found
            word_end = self._letters[self._matched][1]
            self._matched += 1
            if self._matched == len(self._letters) or self._letters[self._matched][1] != word_end:
                found.append(Spoken(word_end, end))
        return found

    def _is_whole(self, samples: int, rate: int) -> bool:
        missing = len(self._letters) - self._matched
        after = (samples - self._until) / rate
        return self._is_lost or after >= (missing * QUICKEST_LETTER if missing else -SLACK_SECONDS)


def _with_ends(text: str) -> list[tuple[str, int]]:
    """Each character with the end of the word that it is in."""
    ends: list[tuple[str, int]] = []
    end = len(text)
    for at in reversed(range(len(text))):
        if text[at].isspace():
            end = at
        ends.append((text[at], end))
    return ends[::-1]
