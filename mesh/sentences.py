"""Text as it comes, cut into sentences that a voice can speak. Pure."""

import re

ABBREVIATIONS = frozenset(
    ["mr", "mrs", "ms", "dr", "prof", "st", "no", "nr", "vs", "etc", "approx", "e.g", "i.e", "a.m", "p.m", "u.s"]
)
LONGEST = 400
"""A text without an end mark is cut at this many characters, so that the voice can begin."""

_END = re.compile(
    r"""
    [.!?…]+ ["'”’)\]]* (?=\s)
    | [。！？]+ [”’」』）]* (?=[^。！？”’」』）])  # no space follows these
    | \n
    """,
    re.VERBOSE,
)
_CLAUSE = re.compile(r"[,;:—–]\s|[，、；：]")
_SPACE = re.compile(r"\s")


class Sentences:
    """Feed it deltas; it gives whole sentences, and the rest at the end. Nothing but white space is lost.

    The same text gives the same sentences, however it is cut into deltas.
    """

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, delta: str) -> list[str]:
        self._rest += delta
        found: list[str] = []
        while (cut := self._cut()) is not None:
            sentence, self._rest = self._rest[:cut].strip(), self._rest[cut:]
            if sentence:
                found.append(sentence)
        return found

    def flush(self) -> list[str]:
        sentence, self._rest = self._rest.strip(), ""
        return [sentence] if sentence else []

    @property
    def rest(self) -> str:
        """What is no whole sentence yet."""
        return self._rest

    def _cut(self) -> int | None:
        for match in _END.finditer(self._rest, 0, LONGEST + 1):
            if match.end() <= LONGEST and not self._is_inside(match):
                return match.end()
        return self._soft_cut() if len(self._rest) > LONGEST else None

    def _soft_cut(self) -> int:
        """After the last clause that fits, else after the last word, else in the middle of one."""
        for mark in (_CLAUSE, _SPACE):
            if ends := [match.end() for match in mark.finditer(self._rest, LONGEST // 2, LONGEST)]:
                return ends[-1]
        return LONGEST

    def _is_inside(self, match: re.Match[str]) -> bool:
        """A full stop that belongs to a short form or to a numbered list does not end a sentence."""
        if match.group() != ".":
            return False
        word = self._rest[: match.start()].rsplit(None, 1)[-1:] or [""]
        last = word[0].lower().lstrip("(\"'“")
        return (
            last in ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last != "i") or self._is_list_number(last)
        )

    def _is_list_number(self, word: str) -> bool:
        return word.isdigit() and self._rest.lstrip().startswith(word + ".")


def sentences_of(text: str) -> list[str]:
    """Of a text that is whole."""
    cut = Sentences()
    return cut.feed(text) + cut.flush()
