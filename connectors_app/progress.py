"""How much of a sentence a voice has said, so that another one says the rest. Pure."""

from dataclasses import dataclass, field

from connectors_app.base import ErrorKind, ProviderError, Spoken

SECONDS_PER_CHARACTER = 0.065
"""Before a voice has been heard: what most do."""
LEARNED_AFTER = 40
"""Characters of a sentence that teaches how fast a voice is: short ones are mostly pauses."""
JUDGED_AFTER = 20
"""Characters of a sentence whose length in seconds says anything."""
CAUTION = 0.85
"""A voice may have been slower than it is reckoned: better a word twice than one lost."""
TOO_SHORT, TOO_SHORT_UNKNOWN = 0.45, 0.1
"""Of the reckoned length: less cannot be the whole sentence, of a voice that is known, and of one that is not."""
TOO_LONG, TOO_LONG_SECONDS = 4.0, 3.0
"""No sentence takes that many times its reckoned length and some seconds more."""


class Pace:
    """How fast a voice speaks, learned from the sentences that it said to their end."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._characters = 0

    def learn(self, characters: int, seconds: float) -> None:
        if characters >= LEARNED_AFTER:
            self._seconds += seconds
            self._characters += characters

    @property
    def too_short(self) -> float:
        return TOO_SHORT if self._characters else TOO_SHORT_UNKNOWN

    @property
    def seconds_per_character(self) -> float:
        return self._seconds / self._characters if self._characters else SECONDS_PER_CHARACTER


@dataclass(slots=True)
class Progress:
    """One voice at one text, as far as it was heard. `rate` is the voice's own."""

    text: str
    rate: int
    pace: Pace
    samples: int = 0
    marks: list[Spoken] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def _reckoned(self) -> float:
        return len(self.text) * self.pace.seconds_per_character

    def rest(self) -> str:
        """What another voice has to say: from the beginning of the word that was cut off. Empty: all was said."""
        if not self.samples:
            return self.text
        known = max((mark.characters for mark in self.marks if mark.samples <= self.samples), default=0)
        if not self.marks:
            known = int(self.seconds / self.pace.seconds_per_character * CAUTION)
        rest = self.text[_word_start(self.text, known) :].strip()
        return rest if any(char.isalnum() for char in rest) else ""

    def check_length(self) -> None:
        """A voice that goes on for ever is as broken as one that stops. Raises ProviderError."""
        if self.seconds > self._reckoned * TOO_LONG + TOO_LONG_SECONDS:
            raise ProviderError(ErrorKind.BROKEN, "speaks without end")

    def check_end(self) -> None:
        """A clean end is no proof that all was said: some protocols have no end mark. Raises ProviderError."""
        if self.marks:
            is_short = bool(self.rest())
        else:
            is_short = len(self.text) >= JUDGED_AFTER and self.seconds < self._reckoned * self.pace.too_short
        if is_short:
            raise ProviderError(ErrorKind.BROKEN, "ended before the sentence did")
        self.pace.learn(len(self.text), self.seconds)


def _word_start(text: str, at: int) -> int:
    """The beginning of the word that this place is in; a place between words is its own."""
    if at >= len(text) or text[at].isspace():
        return min(at, len(text))
    while at > 0 and not text[at - 1].isspace():
        at -= 1
    return at
