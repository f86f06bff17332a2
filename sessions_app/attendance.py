"""How long each transport has been silent. Pure; times are a monotonic clock's seconds."""

LONGEST_GAP = 5.0
"""Who does not look at the clock for longer cannot tell who was silent in the meantime."""


class Attendance:
    """Silence counts only while we could have heard: from the last time on that the bus, or we, were not there."""

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._heard: dict[str, float] = {}
        self._listening_since = now
        self._looked = now

    def hear(self, worker: str, now: float) -> None:
        self._heard[worker] = now

    def look(self, now: float, *, is_connected: bool) -> None:
        """To be called every second; afterwards `silence` is right."""
        if not is_connected or now - self._looked > LONGEST_GAP:
            self._listening_since = now
        self._looked = now
        self._heard = {worker: heard for worker, heard in self._heard.items() if now - heard < 10 * self._patience}

    def silence(self, worker: str, now: float) -> float:
        """Seconds; a worker that was never heard has been silent since we listen."""
        return now - max(self._heard.get(worker, self._listening_since), self._listening_since)

    def is_gone(self, worker: str, now: float) -> bool:
        return self.silence(worker, now) > self._patience
