"""Where the words of a sentence end in its audio, told by a provider that aligns characters. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors_app.base.voice import Spoken

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
        self._letters = _letters(text)
        self._matched = 0
        self._ending: _Letter | None = None
        """The last letter of a word, whose comma or full stop has not come: a pause in it belongs to the word."""
        self._marks = 0
        self._ended = 0
        self._is_lost = False
        self._tells = False
        self._until = 0

    def feed(self, characters: Sequence[str], ends: Sequence[int]) -> list[Spoken]:
        """The next characters and where each ends, in samples of the sentence; what ends with them comes back.

        Times that begin anew are not of the sentence, and no more of them is believed.
        """
        found: list[Spoken] = []
        goes_back = bool(ends) and 2 * ends[0] < self._until
        self._is_lost = self._is_lost or goes_back or len(characters) != len(ends)
        for character, end in zip(characters, ends, strict=False):
            if character.isspace() or character.isalnum():
                found += self._end_word()
            if character.isalnum():
                self._match(character, end)
            else:
                self._marks -= 1
            self._ended, self._until = end, max(self._until, end)
            if self._marks <= 0:
                found += self._end_word()
        self._tells = self._tells or bool(found)
        return found

    def end(self, samples: int, rate: int) -> list[Spoken]:
        """The provider says that it has said all: the last mark where its alignment stopped before its audio did."""
        return [Spoken(self._length, samples)] if self._tells and self._is_whole(samples, rate) else []

    def is_cut(self, samples: int, rate: int) -> bool:
        """Whether an end without any mark of an end came too early."""
        return self._matched > 0 and not self._is_whole(samples, rate)

    def _match(self, character: str, end: int) -> None:
        expected = self._letters[self._matched] if self._matched < len(self._letters) else None
        if self._is_lost or expected is None or expected.text != character.casefold():
            self._is_lost = True
            return
        self._matched += 1
        self._ending, self._marks = (expected, expected.marks) if expected.is_last else (None, 0)

    def _end_word(self) -> list[Spoken]:
        ending, self._ending = self._ending, None
        return [Spoken(ending.word_end, self._ended)] if ending else []

    def _is_whole(self, samples: int, rate: int) -> bool:
        missing = len(self._letters) - self._matched
        after = (samples - self._until) / rate
        return self._is_lost or after >= (missing * QUICKEST_LETTER if missing else -SLACK_SECONDS)


@dataclass(frozen=True, slots=True)
class _Letter:
    text: str
    word_end: int
    is_last: bool
    """In its word, but for so many marks."""
    marks: int


def _letters(text: str) -> list[_Letter]:
    found: list[_Letter] = []
    for word in re.finditer(r"\S+", text):
        places = [place for place in range(word.start(), word.end()) if text[place].isalnum()]
        for place in places:
            marks = word.end() - place - 1
            found.append(_Letter(text[place].casefold(), word.end(), place == places[-1], marks))
    return found
