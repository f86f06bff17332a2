"""Going on with a reply that broke off: what another model says again is told from what is new. Pure."""

import re
from collections.abc import Sequence
from itertools import accumulate

SHORTEST_OVERLAP = 4
"""Words in common before they prove a repetition: “Thank you.” may well be said twice in a reply."""
_WORD = re.compile(r"\w+")


class Continuation:
    """Fed the sentences of the model that goes on, it gives those that were not said before the break.

    Models go on exactly, begin anew, or repeat some sentences first. So sentences are held as long as they could be
    such a repetition: words that the reply has, in its order, up to its last one.
    """

    def __init__(self, said: Sequence[str]) -> None:
        words = [_words(sentence) for sentence in said]
        self._said = [word for sentence in words for word in sentence]
        self._begins = {0, *accumulate(map(len, words))}
        """Places in what was said at which a sentence begins."""
        self._starts = list(range(len(self._said)))
        """Places in what was said at which the repetition may have begun."""
        self._words: list[str] = []
        self._held: list[str] = []
        self._repeated = 0
        """How many of the held sentences are known to be repeated."""
        self.is_decided = not self._said

    def feed(self, sentence: str) -> list[str]:
        if self.is_decided:
            return [sentence]
        starts, before = self._starts, len(self._words)
        self._held.append(sentence)
        self._words += _words(sentence)
        self._starts = [at for at in starts if self._said[at : at + len(self._words)] == self._words]
        left = [len(self._said) - at - len(self._words) for at in self._starts]
        if 0 in left and self._is_proof(len(self._said) - len(self._words)):
            self._repeated = len(self._held)
        if any(left):
            return []
        if not left:
            self._part_last(starts, before)
        return self.end()

    def _is_proof(self, at: int) -> bool:
        """Words from here to the end were said again: whole sentences, or so many that it is no accident."""
        return at in self._begins or len(self._words) >= SHORTEST_OVERLAP

    def end(self) -> list[str]:
        """What is held and is new: it is decided, or the model has finished."""
        self.is_decided = True
        new, self._held = self._held[self._repeated :], []
        return [sentence for sentence in new if sentence]

    def _part_last(self, starts: list[int], before: int) -> None:
        """The newest sentence is no repetition as a whole: its beginning may be one, or the model chose new words."""
        ends = [len(self._said) - at for at in starts if self._said[at:] == self._words[: len(self._said) - at]]
        overlap = max((end for end in ends if end > before), default=0)
        if overlap >= SHORTEST_OVERLAP:
            self._held, self._repeated = [_after(self._held[-1], overlap - before)], 0
        elif not self._repeated and 0 in starts and before >= SHORTEST_OVERLAP:
            self._repeated = len(self._held) - 1  # it began anew: what is the same was said


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _after(sentence: str, words: int) -> str:
    """The sentence without its first words."""
    ends = [match.end() for match in _WORD.finditer(sentence)]
    return sentence[ends[words - 1] :].lstrip(" ,;:.!?…") if 0 < words <= len(ends) else sentence
