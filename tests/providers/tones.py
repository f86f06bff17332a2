"""The stand-ins' voice: speech made of tones that says which sentence it is, and so whether it arrived whole.

A sentence is a head (start marks, the 32-bit hash of its text, a check), a body of carrier tones in a fixed cycle that
lasts as long as a person would speak, and a foot (end marks, the length of the body, a check). Every symbol is 20 ms of
one tone between 0.6 and 2.9 kHz, so it survives µ-law at 8 kHz and any resampling. A lost, doubled or misplaced piece
breaks the cycle or the length; inserted silence is bridged and counted.

By word, the same is done with each word, in a shorter form, so that what two voices made of one sentence can be told.
"""

import re
import zlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

SYMBOL_MS = 20
HOPS = 4
"""Looks a symbol while decoding."""
TONES = 100 * np.arange(6, 30)
START_A, START_B, END_A, END_B = 16, 17, 18, 19
CARRIERS = (20, 21, 22, 23)
AMPLITUDE = 9000
QUIET = 250.0
"""Root mean square under which a look is silence."""
PURE = 0.42
"""Least share of one tone in a look's energy: half a symbol and silence has 0.5, halves of two symbols 0.25 each."""
MS_PER_CHAR = 60.0
PAUSE_SYMBOLS = 5
LONGEST_BODY = 0xFFF
PATIENCE = 1000 // SYMBOL_MS * HOPS
"""Looks of silence after which an unfinished sentence is over."""
LONGEST_SPAN = 60


@dataclass(frozen=True, slots=True)
class Form:
    """How many symbols of a head and a foot carry what."""

    hash: int
    check: int
    length: int

    @property
    def head(self) -> int:
        return 2 + self.hash + self.check

    @property
    def foot(self) -> int:
        return 2 + self.length + 1

    def value(self, text: str) -> int:
        return text_hash(text) & (1 << 4 * self.hash) - 1 or 1


SENTENCE = Form(hash=8, check=2, length=3)
WORD = Form(hash=4, check=0, length=0)


@dataclass(frozen=True, slots=True)
class Heard:
    """A sentence in a recording; `hash` is 0 where its head did not arrive. Counts are samples of the recording."""

    hash: int
    complete: bool
    samples: int
    start: int
    gap: int = 0
    """Silence that came between its pieces, not counted in `samples`."""


def text_hash(text: str) -> int:
    """What a sentence's audio carries: spaces at the ends and runs of spaces do not matter."""
    return zlib.crc32(_plain(text).encode()) or 1


def sentences(text: str) -> list[str]:
    """The pieces of a text that `encode` speaks as sentences of their own."""
    return [piece for piece in re.split(r"(?<=[.!?])\s+", _plain(text)) if piece]


def encode(text: str, rate: int, ms_per_char: float = MS_PER_CHAR) -> bytes:
    """The text as s16le mono at any multiple of 50 Hz from 8 kHz on; 100 ms of silence end each sentence."""
    symbols: list[int] = []
    for sentence in sentences(text):
        symbols += _sentence_symbols(sentence, ms_per_char)
        symbols += [-1] * PAUSE_SYMBOLS
    return _waves(rate)[symbols].tobytes() if symbols else b""


def encode_words(text: str, rate: int, ms_per_char: float = MS_PER_CHAR) -> bytes:
    """The same, each word by itself and 20 ms of silence after it."""
    symbols: list[int] = []
    for sentence in sentences(text):
        for word in sentence.split():
            symbols += [*_word_symbols(word, ms_per_char), -1]
        symbols += [-1] * (PAUSE_SYMBOLS - 1)
    return _waves(rate)[symbols].tobytes() if symbols else b""


def word_times(text: str, ms_per_char: float = MS_PER_CHAR) -> list[tuple[int, int, int]]:
    """For each word of a text that is spoken by word: the character at which it ends, its first ms and its last."""
    found: list[tuple[int, int, int]] = []
    at = ms = 0
    for sentence in sentences(text):
        for word in sentence.split():
            at = text.index(word, at) + len(word)
            end = ms + SYMBOL_MS * len(_word_symbols(word, ms_per_char))
            found.append((at, ms, end))
            ms = end + SYMBOL_MS
        ms += SYMBOL_MS * (PAUSE_SYMBOLS - 1)
    return found


def decode(pcm: bytes, rate: int) -> list[Heard]:
    """Every sentence of a recording, in order."""
    decoder = Decoder(rate)
    return decoder.feed(pcm) + decoder.finish()


def words(pcm: bytes, rate: int) -> list[Heard]:
    """Every word of a recording that was spoken by word, in order."""
    decoder = Decoder(rate, WORD)
    return decoder.feed(pcm) + decoder.finish()


def said(text: str, heard: Iterable[Heard]) -> list[str]:
    """For each heard sentence the words of `text` that it is, "" where it is none of them.

    A reply arrived once, complete and in order when these words, joined, are the text and each is complete, however
    it was cut into pieces on the way.
    """
    return [_spans(_plain(text)).get(one.hash, "") for one in heard]


def is_exact(text: str, heard: Iterable[Heard]) -> bool:
    """Whether the recording says this text: all of it, nothing twice, nothing else, nothing broken."""
    heard = list(heard)
    return all(one.complete for one in heard) and " ".join(said(text, heard)) == _plain(text)


@dataclass(frozen=True, slots=True)
class _Look:
    """20 ms of a recording: the tone that fills it, or -1, how purely, and its energy a sample."""

    tone: int
    purity: float
    energy: float


_SILENCE = _Look(-1, 0.0, 0.0)


class Decoder:
    """Finds sentences, or words, in audio as it comes."""

    def __init__(self, rate: int, form: Form = SENTENCE) -> None:
        self._form = form
        self._symbol = rate * SYMBOL_MS // 1000
        self._hop = self._symbol // HOPS
        self._basis = _basis(rate)
        self._rest = np.zeros(0, np.float32)
        self._looks: list[_Look] = []
        self._dropped = 0
        self._found: list[Heard] = []
        self._ended = False
        self._parser = self._parse()

    def feed(self, pcm: bytes) -> list[Heard]:
        """Whole samples in; the sentences that came to an end in them out."""
        samples = np.concatenate([self._rest, np.frombuffer(pcm, "<i2").astype(np.float32)])
        count = max((len(samples) - self._symbol) // self._hop + 1, 0)
        self._rest = samples[count * self._hop :]
        self._looks += self._look(samples, count)
        return self._advance()

    def finish(self) -> list[Heard]:
        """The recording is over: what is unfinished stays so."""
        self._rest = np.concatenate([self._rest, np.zeros(self._symbol, np.float32)])
        self._ended = True
        return self.feed(b"")

    def _look(self, samples: NDArray[np.float32], count: int) -> list[_Look]:
        if not count:
            return []
        if np.abs(samples).max() < QUIET:
            return [_SILENCE] * count
        looks = np.lib.stride_tricks.sliding_window_view(samples, self._symbol)[:: self._hop][:count]
        parts = (looks @ self._basis) ** 2
        power = parts[:, : len(TONES)] + parts[:, len(TONES) :]
        energy = np.einsum("ij,ij->i", looks, looks) / self._symbol
        tone = power.argmax(axis=1)
        purity = 2 * power[np.arange(count), tone] / (self._symbol**2 * energy + 1)
        tone[(purity < PURE) | (energy < QUIET**2)] = -1
        return [_Look(*look) for look in zip(tone.tolist(), purity.tolist(), energy.tolist(), strict=True)]

    def _advance(self) -> list[Heard]:
        next(self._parser, None)
        found, self._found = self._found, []
        return found

    def _parse(self) -> Generator[None, None, None]:
        """Reads looks for as long as there are any, and waits for more."""
        at = 0
        while True:
            tone = yield from self._tone(at)
            if tone is None:
                return
            if tone == START_A:
                at = yield from self._sentence(at)
            elif tone in CARRIERS or tone == END_A:
                at = yield from self._body(at, at, 0, intact=False)
            else:
                at += 1
            at = self._forget(at)

    def _forget(self, at: int) -> int:
        """Drop looks that nobody will read again."""
        spare = at - 2 * HOPS
        if spare < 1000:
            return at
        del self._looks[:spare]
        self._dropped += spare
        return at - spare

    def _tone(self, at: int) -> Generator[None, None, int | None]:
        """The tone of a look, waiting for it; None when the recording ends before."""
        while at >= len(self._looks):
            if self._ended:
                return None
            yield
        return self._looks[at].tone

    def _symbol_near(self, at: int, patience: int) -> Generator[None, None, tuple[int, int | None]]:
        """The symbol expected at this look, after some silence at most: where it is best seen, and its tone."""
        for first in range(at, at + patience):
            tone = yield from self._tone(first)
            if tone is None:
                return first, None
            if tone >= 0:
                place = at if first == at else (yield from self._clearest(first, tone))
                if place != at and self._is_other_half(at - HOPS, place):
                    return (yield from self._symbol_near(place + HOPS, patience))
                return place, tone
        return at + patience, None

    def _clearest(self, at: int, tone: int) -> Generator[None, None, int]:
        """Where the symbol that begins to show at this look fills a look most purely."""
        yield from self._tone(at + HOPS - 1)
        alike = [look for look in range(at, min(at + HOPS, len(self._looks))) if self._looks[look].tone == tone]
        return max(alike, key=lambda look: self._looks[look].purity)

    def _is_other_half(self, before: int, place: int) -> bool:
        """Whether silence fell into the middle of a symbol, so that both looks show the same one."""
        first, second = self._looks[before], self._looks[place]
        alike = first.tone == second.tone and first.purity + second.purity < 1.4
        return alike and self._lull(before + HOPS, place)

    def _lull(self, at: int, place: int) -> bool:
        """Whether it was quieter than usual between the symbol before `at` and the one at `place`."""
        usual = max(look.energy for look in self._looks[max(at - 3 * HOPS, 0) : place + 1])
        return min(look.energy for look in self._looks[max(at - HOPS + 1, 0) : place + 1]) < 0.7 * usual

    def _sentence(self, at: int) -> Generator[None, None, int]:
        """Head, body and foot of a sentence that begins near this look; returns where to go on."""
        place = begin = yield from self._clearest(at, START_A)
        read: list[int] = []
        form = self._form
        for _ in range(form.head - 1):
            place, tone = yield from self._symbol_near(place + HOPS, PATIENCE)
            if tone is None or (tone >= START_A and read) or (tone != START_B and not read):
                self._hear(0, False, begin, place, 0)
                return max(place, begin + HOPS)
            read.append(tone)
        value = _number(read[1 : 1 + form.hash])
        intact = read[1 + form.hash :] == _digits(_check(value), form.check)
        gap = place - begin - (form.head - 1) * HOPS
        return (yield from self._body(begin, place + HOPS, value if intact else 0, intact=intact, gap=gap))

    def _body(self, begin: int, at: int, value: int, *, intact: bool, gap: int = 0) -> Generator[None, None, int]:
        count = 0
        while True:
            place, tone = yield from self._symbol_near(at, PATIENCE)
            if tone is None or tone == START_A:
                self._hear(value, False, begin, at, gap)
                return place
            slip = place - at
            gap += slip
            if tone == END_A:
                return (yield from self._foot(begin, place, value, count if intact else -1, gap))
            if tone not in CARRIERS:
                intact = False
            elif not (count and tone == CARRIERS[(count - 1) % 4] and self._lull(at, place)):
                intact = intact and tone == CARRIERS[count % 4] and (not slip or self._lull(at, place))
                count += 1
            at = place + HOPS

    def _foot(self, begin: int, at: int, value: int, count: int, gap: int) -> Generator[None, None, int]:
        place = at
        read: list[int] = []
        for _ in range(self._form.foot - 1):
            before = place
            place, tone = yield from self._symbol_near(before + HOPS, PATIENCE)
            if tone is None or tone == START_A:
                self._hear(value, False, begin, before + HOPS, gap)
                return place
            gap += place - before - HOPS
            read.append(tone)
        whole = read == [END_B, *_foot_digits(value, count, self._form)] if count >= 0 else False
        self._hear(value, whole, begin, place + HOPS, gap)
        return place + HOPS

    def _hear(self, value: int, complete: bool, begin: int, end: int, gap: int) -> None:
        start = (self._dropped + begin) * self._hop
        samples = (end - begin - gap) * self._hop
        self._found.append(Heard(value, complete, samples, start, max(gap, 0) * self._hop))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _digits(value: int, count: int) -> list[int]:
    return [value >> 4 * place & 0xF for place in reversed(range(count))]


def _number(digits: list[int]) -> int:
    value = 0
    for digit in digits:
        value = value << 4 | digit & 0xF
    return value


def _check(value: int) -> int:
    return zlib.crc32(value.to_bytes(4, "big")) & 0xFF


def _foot_digits(value: int, body: int, form: Form) -> list[int]:
    return [*_digits(body, form.length), (_check(value) ^ body ^ body >> 4 ^ body >> 8) & 0xF]


def _sentence_symbols(sentence: str, ms_per_char: float) -> list[int]:
    return _symbols(sentence, round(len(sentence) * ms_per_char / SYMBOL_MS), SENTENCE)


def _word_symbols(word: str, ms_per_char: float) -> list[int]:
    """The silence after it stands for the space."""
    return _symbols(word, round((len(word) + 1) * ms_per_char / SYMBOL_MS) - 1, WORD)


def _symbols(text: str, count: int, form: Form) -> list[int]:
    """So many of them, or as many as it takes."""
    value = form.value(text)
    body = min(max(count - form.head - form.foot, 1), LONGEST_BODY)
    head = [START_A, START_B, *_digits(value, form.hash), *_digits(_check(value), form.check)]
    return [*head, *(CARRIERS[place % 4] for place in range(body)), END_A, END_B, *_foot_digits(value, body, form)]


@lru_cache
def _waves(rate: int) -> NDArray[np.int16]:
    """One row of samples for each tone, each of whole periods, and silence as the last."""
    times = np.arange(rate * SYMBOL_MS // 1000) / rate
    waves = AMPLITUDE * np.sin(2 * np.pi * TONES[:, None] * times)
    return np.vstack([waves, np.zeros(len(times))]).round().astype("<i2")


@lru_cache
def _basis(rate: int) -> NDArray[np.float32]:
    turns = 2 * np.pi * np.outer(np.arange(rate * SYMBOL_MS // 1000) / rate, TONES)
    return np.hstack([np.cos(turns), np.sin(turns)]).astype(np.float32)


@lru_cache(maxsize=256)
def _spans(text: str) -> dict[int, str]:
    """Every run of words of the text by its hash."""
    words = text.split(" ")
    found: dict[int, str] = {}
    for first in range(len(words)):
        run = words[first : first + LONGEST_SPAN]
        for count, value in enumerate(
            accumulate(
                run[1:], lambda crc, word: zlib.crc32(f" {word}".encode(), crc), initial=zlib.crc32(run[0].encode())
            ),
            1,
        ):
            found.setdefault(value or 1, " ".join(run[:count]))
    return found
