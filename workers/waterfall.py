"""Where the time of a turn goes, from the caller's last word to the agent's first."""

from dataclasses import dataclass, field

from mesh.events import TurnTimed


@dataclass(slots=True)
class Waterfall:
    """The clock of a turn starts when the caller falls silent, or when the text comes that was typed."""

    _asked: float = 0.0
    _transcribed: float | None = None
    _since: float = 0.0
    """The caller's last word before the turn that is timed; the next one may be there before that turn is told."""
    _turn: int = 0
    _generation: int = 0
    _marks: dict[str, float] = field(default_factory=dict)

    def asked(self, at: float) -> None:
        """The last word of a turn counts."""
        self._asked = max(self._asked, at)

    def transcribed(self, now: float) -> None:
        """The last transcript of a turn counts."""
        self._transcribed = now

    def end_turn(self, now: float, *, turn: int, generation: int, cause: str) -> None:
        """The answer is awaited from now on."""
        self._turn, self._generation, self._since = turn, generation, self._asked
        self._marks = {"turn_end": now}
        if cause == "speech" and self._transcribed is not None:
            self._marks["transcript"] = self._transcribed
        self._transcribed = None

    def mark(self, name: str, now: float) -> None:
        """The first of its name counts; what belongs to no answer does not."""
        if self._marks:
            self._marks.setdefault(name, now)

    def tell(self) -> TurnTimed | None:
        """How far the turn came, once; None when no turn is timed."""
        marks, self._marks = self._marks, {}
        if not marks:
            return None
        milliseconds = {name: round((at - self._since) * 1000) for name, at in marks.items()}
        return TurnTimed(turn=self._turn, generation=self._generation, marks=milliseconds)
