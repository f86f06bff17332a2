"""What became of the words of a text that was spoken by word: heard, lost, doubled, broken."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from tests.providers.tones import WORD, Heard


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the words of a text. Only whole ones count as heard; `broken` tells the others, "" if unknown."""

    heard: tuple[str, ...]
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    """Heard where the text has them no more: twice, or out of order."""
    strange: int
    """Words that the text does not have."""
    broken: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Each word was heard once, whole and in order; that one was begun before is no matter."""
        return not (self.lost or self.doubled or self.strange)


def account(text: str, heard: Iterable[Heard]) -> Account:
    """Compares what `words` found with the text that should have been said."""
    wanted = text.split()
    known = {WORD.value(word): word for word in wanted}
    heard = list(heard)
    whole = [known.get(one.hash, "") for one in heard if one.complete]
    lost: list[str] = []
    more: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, wanted, whole, autojunk=False).get_opcodes():
        if kind != "equal":
            lost += wanted[a:b]
            more += whole[c:d]
    return Account(
        heard=tuple(whole),
        lost=tuple(lost),
        doubled=tuple(word for word in more if word),
        strange=more.count(""),
        broken=tuple(known.get(one.hash, "") for one in heard if not one.complete),
    )
