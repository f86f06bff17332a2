"""How much of a sentence a voice has said, so that another one says the rest. Pure.

Voices that tell where their words end make it exact. Of the others only the time is known, and texts differ in how
long they are to speak: a digit is a word, a Chinese character a syllable. So a text is weighed in letters, a voice is
known by the seconds that it takes for one, and what is not certain is decided so that no word is lost.
"""

import unicodedata
from dataclasses import dataclass, field
from itertools import accumulate

from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Spoken

SLOW, FAST = 0.16, 0.02
"""Seconds a letter, before a voice is known: hardly one is slower or faster."""
MARGIN = 1.2
"""By which a sentence may be slower than usual."""
KNOWN_AFTER = 3
"""Sentences."""
TAUGHT_BY = 30
"""Letters that a sentence needs to say how fast a voice is: short ones are mostly pauses."""
JUDGED_FROM = 20
PADDING = 0.6
"""Seconds of silence that a sentence's audio may have around its words."""
TOO_SHORT, TOO_SHORT_NEW = 0.75, 0.6
"""Of the time that the sentence takes at the voice's fastest: less cannot be all of it."""
UNMARKED = 0.045
"""Seconds a letter that words take at least after the last mark, if they were said: usually each word has one."""
ENDLESS, ENDLESS_SECONDS = 0.4, 10.0
"""Seconds a letter, and some more, that no sentence takes."""
LEAD = 0.2
"""Seconds of silence that may come before the first word."""
BETWEEN_MARKS = 1.5
"""Seconds without a word's end that a long word or a pause may take; after more, the marks have stopped."""


def weight(char: str) -> float:
    """In letters of a European language."""
    if char.isdigit():
        return 6.0
    if char.isalpha():
        return 3.0 if _is_syllable(char) else 1.0
    return 4.0 if char in "%&@€$£+=#" else 0.5


def _is_syllable(char: str) -> bool:
    """Of a script in which one character is one: Chinese, Japanese, Korean."""
    return unicodedata.name(char, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))


class Speed:
    """How fast a voice is, learned from the sentences that it said to their end."""

    def __init__(self) -> None:
        self._seconds = self._letters = 0.0
        self._count = 0
        self._fastest = 0.0
        self._slowest = 0.0

    def learn(self, letters: float, seconds: float) -> None:
        if letters < TAUGHT_BY:
            return
        fast = max(seconds - PADDING, 0.0) / letters
        self._fastest = min(self._fastest, fast) if self._count else fast
        self._slowest = max(self._slowest, seconds / letters)
        self._count += 1
        self._seconds += seconds
        self._letters += letters

    def doubt(self, letters: float, seconds: float) -> None:
        """A sentence was taken for too short. If it was not, the next one like it is not either."""
        if self._count:
            self._fastest = (self._fastest + seconds / letters) / 2

    @property
    def is_known(self) -> bool:
        return self._count >= KNOWN_AFTER

    @property
    def slow(self) -> float:
        """Seconds a letter at most, so that nothing is taken for said that was not."""
        if not self._count:
            return SLOW
        usual = self._seconds / self._letters if self.is_known else self._slowest
        return MARGIN * min(usual, self._slowest)

    @property
    def shortest(self) -> float:
        """Seconds a letter under which a sentence is not whole."""
        return self._fastest * (TOO_SHORT if self.is_known else TOO_SHORT_NEW) if self._count else FAST / 2


@dataclass(slots=True)
class Progress:
    """One voice at one text, as far as it was heard. `rate` is the voice's own."""

    text: str
    rate: int
    speed: Speed
    samples: int = 0
    marks: list[Spoken] = field(default_factory=list)
    letters: float = field(init=False)

    def __post_init__(self) -> None:
        self.letters = _letters(self.text)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    def rest(self) -> str:
        """What another voice has to say: from the beginning of the word that was cut off. Empty: all was said."""
        if not self.samples:
            return self.text
        heard = self._heard
        if self._is_endless or not _has_words(self.text[heard.characters :]):
            return ""
        return self.text[min(self._reached(heard), _last_word(self.text)) :].strip()

    def check_length(self) -> None:
        """A voice that goes on for ever is as broken as one that stops. Raises ProviderError."""
        if self._is_endless:
            raise ProviderError(ErrorKind.BROKEN, "speaks without end")

    def check_end(self) -> None:
        """A clean end is no proof that all was said: some protocols have no end mark. Raises ProviderError."""
        heard = self._heard
        left = self.text[heard.characters :]
        letters, seconds = _letters(left), self.seconds - heard.samples / self.rate
        least = max(self.speed.shortest, UNMARKED) if self.marks else self.speed.shortest
        is_judged = bool(self.marks) or letters >= JUDGED_FROM
        if is_judged and _has_words(left) and seconds < letters * least:
            self.speed.doubt(letters, seconds)
            raise ProviderError(ErrorKind.BROKEN, "ended before the sentence did")
        self.speed.learn(self.letters, self.seconds)

    @property
    def _heard(self) -> Spoken:
        """The last word's end that was heard, where the voice tells them."""
        heard = (mark for mark in self.marks if mark.samples <= self.samples)
        return max(heard, key=lambda mark: mark.characters, default=Spoken(0, 0))

    @property
    def _is_endless(self) -> bool:
        return self.seconds > ENDLESS * self.letters + ENDLESS_SECONDS

    def _reached(self, heard: Spoken) -> int:
        """The beginning of the word in which the voice was, at the earliest that is likely."""
        since = (self.samples - heard.samples) / self.rate - (BETWEEN_MARKS if self.marks else LEAD)
        letters = max(0.0, since) / self.speed.slow
        sums = accumulate(map(weight, self.text[heard.characters :]))
        return _word_start(self.text, heard.characters + sum(1 for total in sums if total <= letters))


def _letters(text: str) -> float:
    return sum(map(weight, text))


def _has_words(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _word_start(text: str, at: int) -> int:
    """The beginning of the word that this place is in; a place between words is its own."""
    if at >= len(text) or text[at].isspace():
        return min(at, len(text))
    while at > 0 and not text[at - 1].isspace() and not _is_syllable(text[at]):
        at -= 1
    return at


def _last_word(text: str) -> int:
    """Where it begins: without alignment nobody knows that it was said."""
    ends = [place for place, char in enumerate(text) if char.isalnum()]
    return _word_start(text, ends[-1]) if ends else len(text)
