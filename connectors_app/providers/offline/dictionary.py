"""The pronunciations that come with PocketSphinx, read without loading it."""

import mmap
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

VOWELS = frozenset(("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"))


@cache
def model_folder() -> Path:
    """Raises FileNotFoundError when PocketSphinx is not installed."""
    wheel = find_spec("pocketsphinx")
    if not wheel or not wheel.origin:
        raise FileNotFoundError("PocketSphinx is not there: pip install pocketsphinx")
    return Path(wheel.origin).parent / "model" / "en-us"


def unknown(words: Iterable[str]) -> list[str]:
    with _dictionary() as text:
        return sorted(word for word in words if _find(text, word) < 0)


def entries(words: Iterable[str]) -> list[str]:
    """The lines of a dictionary of these words, with an American and a British pronunciation where they differ."""
    with _dictionary() as text:
        return [line for word in sorted(words) for line in _entry(word, _lines(text, word))]


def _entry(word: str, lines: Iterable[bytes]) -> Iterator[str]:
    american = [tuple(line.decode().split()[1:]) for line in lines]
    both = dict.fromkeys([*american, *map(_british, american)])
    for number, phones in enumerate(both, 1):
        yield f"{word if number == 1 else f'{word}({number})'} {' '.join(phones)}\n"


def _british(phones: tuple[str, ...]) -> tuple[str, ...]:
    """R only before a vowel, a weak end of "never", and the vowel of "o'clock"."""
    said: list[str] = []
    for phone, following in zip(phones, (*phones[1:], ""), strict=True):
        if phone == "R" and following not in VOWELS and said and said[-1] in VOWELS:
            continue
        if phone == "ER" and not VOWELS.isdisjoint(said):
            phone = "AH"
        elif phone == "AA" and following != "R":
            phone = "AO"
        said.append(phone)
    return tuple(said)


def _dictionary() -> mmap.mmap:
    with (model_folder() / "cmudict-en-us.dict").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _find(text: mmap.mmap, word: str) -> int:
    """Where the word's first line begins; -1 where there is none."""
    key = word.encode() + b" "
    if text[: len(key)] == key:
        return 0
    found = text.find(b"\n" + key)
    return found + 1 if found >= 0 else -1


def _lines(text: mmap.mmap, word: str) -> Iterator[bytes]:
    """`word` and then `word(2)`, `word(3)` …, which follow it."""
    text.seek(_find(text, word))
    line = text.readline()
    while line.startswith((word.encode() + b" ", word.encode() + b"(")):
        yield line
        line = text.readline()
