"""Where the time of a turn goes, from the caller's last word to the agent's first."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Waterfall:
    speech_end: float | None = None
    """When the caller fell silent; None when nobody spoke."""
    _marks: dict[str, float] = field(default_factory=dict)

    def transcribed(self, now: float) -> None:
        """The last transcript of a turn counts."""
        self._marks["transcript"] = now

    def mark(self, name: str, now: float) -> None:
        """The first of its name counts."""
        self._marks.setdefault(name, now)

    def end_turn(self, now: float) -> None:
        self._marks = {"turn_end": now} | {name: at for name, at in self._marks.items() if name == "transcript"}

    def begin_answer(self, now: float) -> dict[str, float] | None:
        """The answer's first sample is on its way: seconds since the caller fell silent, by what they were for."""
        marks, self._marks = self._marks, {}
        silent, self.speech_end = self.speech_end, None
        if silent is None or "turn_end" not in marks:
            return None
        return {name: at - silent for name, at in marks.items()} | {"first_sample": now - silent}
