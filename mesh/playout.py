"""What of a reply was sent, what was heard, and what is due now. Pure; times are a monotonic clock's seconds.

Playout runs a little ahead of the ear. The ear's place is told by the other side (marks, reports) where it can, else it
is reckoned by the clock. What was sent but not heard is kept, so that a held reply goes on where the ear stopped.
"""

from dataclasses import dataclass, field

LEAD = 0.3
"""Seconds of audio that may be on their way to the ear."""
PIECE = 0.1
"""Seconds sent at once, except for the first piece, which goes as it comes."""
TRUST = 5.0
"""Seconds that a missing mark is waited for after its audio must have ended."""
SINCE_REPORT = 0.15
"""Seconds that the ear may be beyond its last report."""
LITTLE = 0.3
"""Seconds of a sentence that may be heard twice after a voice's takeover."""
STALL = 15.0
"""Seconds of silence after which the rest of a reply, all of whose text is there, is not waited for any more."""
SECONDS_PER_CHARACTER = 0.065


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio to send now. `first`: the first of its generation. `mark`: ask when everything up to here was heard."""

    pcm: bytes
    first: bool = False
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence as far as it was heard."""

    sentence: int
    samples: int
    text: str
    done: bool


@dataclass(slots=True)
class _Sentence:
    number: int
    text: str = ""
    pcm: bytearray = field(default_factory=bytearray)
    """All of it, until it was heard to its end."""
    samples: int = 0
    is_complete: bool = False
    is_reported: bool = False

    def add(self, pcm: bytes) -> None:
        self.pcm += pcm
        self.samples += len(pcm) // 2

    def forget(self) -> None:
        self.pcm = bytearray()
        self.samples = 0


class Playout:
    """One call's. `marks`: the other side returns marks. `given`: samples that were ever given to the wire."""

    def __init__(self, rate: int, *, marks: bool = False, lead: float = LEAD) -> None:
        self._rate = rate
        self._marks = marks
        self._reports = False
        self._lead = lead
        self._next_mark = 0
        self._voice_since: float | None = 0.0
        self.given = 0
        self.generation = 0
        self.is_away = False
        """There is no wire. Unlike a hold it does not end with the generation."""
        self._reset()

    def _reset(self) -> None:
        self._sentences: dict[int, _Sentence] = {}
        self._count: int | None = None
        self._finished_at = 0.0
        self._place = 0  # samples of the generation that were sent
        self._ear = 0  # samples of the generation that were heard
        self._sure = 0  # the ear before a silence, as far as it was told and not reckoned; and what was reported
        self._ends_at = 0.0  # when what was sent has been played, by the clock
        self._marked: dict[int, int] = {}  # mark -> place
        self._run = (self.given, 0)  # samples given to the wire, and place, when sending last began anew
        self.is_held = False
        self._is_over = False
        self._has_begun = False
        self._is_cut = False

    # -- what comes from the bus --------------------------------------------------------------------------

    def begin(self, generation: int) -> None:
        """Drop everything of older generations. A hold ends with what it held."""
        self.generation = generation
        self._reset()

    def text(self, sentence: int, text: str) -> None:
        if self.takes(sentence):
            self._sentence(sentence).text = text

    def audio(self, sentence: int, position: int, pcm: bytes, end: bool) -> int:
        """Take a chunk; returns the samples that are missing before it (filled with silence), or -1 if not wanted."""
        if not self.takes(sentence):
            return -1
        entry = self._sentence(sentence)
        if entry.is_complete or position < entry.samples:
            return -1
        self._complete(sentence)  # a voice speaks in order: an end mark that is not there by now was lost
        gap = position - entry.samples
        entry.add(bytes(2 * gap) + pcm)
        entry.is_complete = end
        return gap

    def fail(self, sentence: int) -> None:
        """Nothing more will come of this sentence."""
        if self.takes(sentence):
            self._sentence(sentence).is_complete = True

    def finish(self, sentences: int, now: float) -> None:
        """The reply has so many sentences."""
        if not self._is_cut:
            self._count = sentences
            self._finished_at = now

    def cut(self, sentence: int, now: float) -> None:
        """The reply ends with what there is of this sentence."""
        if self.takes(sentence):
            self._complete(sentence + 1)
            self.finish(sentence + 1, now)
            self._is_cut = True

    def takes(self, sentence: int) -> bool:
        """It belongs to the reply, or to what is left of it."""
        return not self._is_cut or sentence < (self._count or 0)

    def voice(self, since: float | None) -> None:
        """Somebody makes audio since then; None: nobody does, and a reply has to wait."""
        self._voice_since = since

    def _complete(self, sentences: int) -> None:
        for number in range(sentences):
            self._sentence(number).is_complete = True

    def _sentence(self, number: int) -> _Sentence:
        return self._sentences.setdefault(number, _Sentence(number))

    # -- what goes to the wire ----------------------------------------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Nothing is due, and the ear stands still."""
        return self.is_held or self.is_away

    def hold(self, now: float) -> None:
        """Nothing is due until `release`. The wire is cleared: what was not heard by now never will be."""
        self._fall_silent(now)
        self.is_held = True

    def release(self) -> None:
        self.is_held = False
        self._go_on()

    def leave(self, now: float) -> None:
        """The wire is lost, and with it what was not heard by now. Nothing is due until `come_back`."""
        self._fall_silent(now)
        self.is_away = True

    def come_back(self, *, marks: bool, played: int | None = None) -> None:
        """There is another wire, which does or does not return marks.

        `played`: how many of all samples ever given to the last one the ear says it heard.
        """
        if played is not None:
            self._told(played)
        self._marks = marks
        self._reports = False
        self.is_away = False
        self._go_on()

    def _fall_silent(self, now: float) -> None:
        if not self.is_silent:
            self._sure = max(self._sure, self._ear)
            self._stop(now)

    def _go_on(self) -> None:
        """Where the ear is."""
        if self.is_silent:
            return
        self._marked.clear()
        self._place = self._ear
        self._run = (self.given, self._place)
        self._ends_at = 0.0

    def _told(self, total: int) -> None:
        given, place = self._run
        if total > given:
            self._ear = max(self._sure, min(place + total - given, self._place))

    def due(self, now: float) -> list[Piece]:
        """What to send now."""
        pieces: list[Piece] = []
        while not self.is_silent and self._ends_at - now < self._lead and (piece := self._take(now)):
            pieces.append(piece)
        return pieces

    def next_due(self, now: float) -> float | None:
        """When to look again; None: not before something new comes in."""
        if self.is_silent:
            return None
        if self._has_more():
            return max(now, self._ends_at - self._lead)
        heard_at = self._ends_at + (TRUST if self._marked else 0.0)
        return min((at for at in (heard_at, self._stalled_at()) if at is not None and at > now), default=None)

    def _stalled_at(self) -> float | None:
        """When the rest of the reply will have been waited for long enough."""
        if self._count is None or self._voice_since is None or self._has_more() or self._is_complete():
            return None
        return max(self._finished_at, self._voice_since, self._ends_at) + STALL

    def _is_complete(self) -> bool:
        return all(n in self._sentences and self._sentences[n].is_complete for n in range(self._count or 0))

    def _has_more(self) -> bool:
        start = 0
        for number in range(len(self._sentences)):
            entry = self._sentences.get(number)
            if entry is None:
                return False
            start += entry.samples
            if start > self._place:
                return True
            if not entry.is_complete:
                return False
        return False

    def _take(self, now: float) -> Piece | None:
        start = 0
        for number in range(len(self._sentences)):
            entry = self._sentences.get(number)
            if entry is None:
                return None
            if start + entry.samples > self._place:
                return self._cut(entry, self._place - start, start, now)
            if not entry.is_complete:
                return None
            start += entry.samples
        return None

    def _cut(self, entry: _Sentence, offset: int, start: int, now: float) -> Piece:
        count = min(entry.samples - offset, int(PIECE * self._rate))
        pcm = bytes(entry.pcm[2 * offset : 2 * (offset + count)])
        self._place += count
        self.given += count
        self._ends_at = max(self._ends_at, now) + count / self._rate
        mark = None
        if self._marks and entry.is_complete and offset + count == entry.samples:
            self._next_mark += 1
            mark = self._next_mark
            self._marked[mark] = self._place
        first, self._has_begun = not self._has_begun, True
        return Piece(pcm, first, mark)

    # -- what the ear has ---------------------------------------------------------------------------------

    def marked(self, mark: int) -> None:
        """The other side has played everything up to the mark."""
        if (place := self._marked.pop(mark, None)) is not None:
            self._ear = max(self._ear, place)
            self._marked = {other: at for other, at in self._marked.items() if at > place}

    def reported(self, total: int) -> None:
        """The other side has played so many of all samples ever given to it."""
        self._reports = True
        if not self.is_silent:
            self._sure = max(self._sure, self._ear)
            self._told(total)

    def _hear_by_clock(self, now: float) -> None:
        if not self._reports:
            self._ear = max(self._ear, self._by_clock(now))

    def _by_clock(self, now: float) -> int:
        return self._place - round(max(0.0, self._ends_at - now) * self._rate)

    def _stop(self, now: float) -> None:
        """The ear hears nothing more of what was sent; since its last report it went on by the clock."""
        beyond = self._by_clock(now)
        if self._reports:
            beyond = min(beyond, self._ear + round(SINCE_REPORT * self._rate))
        self._ear = max(self._ear, beyond)

    def progress(self, now: float) -> list[Spoken]:
        """The sentences that have been heard to their end since the last call."""
        if not self.is_silent:
            if not self._marked or now >= self._ends_at + TRUST:
                self._hear_by_clock(now)
            if (stalled_at := self._stalled_at()) is not None and now >= stalled_at:
                self._complete(self._count or 0)
        spoken: list[Spoken] = []
        end = 0
        for number in sorted(self._sentences):
            entry = self._sentences[number]
            end += entry.samples
            if not entry.is_complete or end > self._ear:
                break
            if not entry.is_reported:
                entry.is_reported = True
                entry.pcm = bytearray()
                self._sure = max(self._sure, end)
                if entry.samples:
                    spoken.append(Spoken(number, entry.samples, entry.text, done=True))
        return spoken

    def interrupt(self, now: float) -> Spoken | None:
        """The sentence that the ear is in, as far as it was heard; call `progress` before."""
        if not self.is_silent:
            self._stop(now)
        start = 0
        for number in sorted(self._sentences):
            entry = self._sentences[number]
            heard = self._ear - start
            if not entry.is_reported:
                return Spoken(number, max(0, heard), self._heard_text(entry, heard), done=False) if heard > 0 else None
            start += entry.samples
        return None

    def _heard_text(self, entry: _Sentence, heard: int) -> str:
        """The words that fit into the played part of the sentence."""
        length = entry.samples
        if not entry.is_complete:
            length = max(length, round(len(entry.text) * SECONDS_PER_CHARACTER * self._rate))
        characters = len(entry.text) * heard / length if length else 0
        words: list[str] = []
        used = 0
        for word in entry.text.split():
            used += len(word)
            if used > characters:
                break
            words.append(word)
            used += 1
        return " ".join(words)

    def is_over(self) -> bool:
        """Tell once that the whole reply has been heard."""
        if self._is_over or self._count is None or self.is_silent:
            return False
        total = sum(entry.samples for entry in self._sentences.values())
        if self._is_complete() and self._ear >= total:
            self._is_over = True
            return True
        return False

    def resume_at(self) -> int:
        """The first sentence that a voice that takes over has to make.

        One of which little was sent is made again from its start; of another what was made is all there will be.
        """
        number = self.unfinished()
        entry = self._sentences.get(number)
        if entry is None:
            return number
        start = sum(self._sentences[n].samples for n in sorted(self._sentences) if n < number)
        sent = max(0, self._place - start)
        if sent > LITTLE * self._rate:
            entry.is_complete = True
            return number + 1
        self._place -= sent
        self._ear = min(self._ear, self._place)
        self._run = (self.given, self._place)
        entry.forget()
        return number

    @property
    def kept(self) -> int:
        """Bytes of audio that may still have to be sent."""
        return sum(len(entry.pcm) for entry in self._sentences.values())

    def unfinished(self) -> int:
        """The first sentence whose audio is not complete."""
        return next((n for n in sorted(self._sentences) if not self._sentences[n].is_complete), len(self._sentences))
