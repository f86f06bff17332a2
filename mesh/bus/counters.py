"""What the bus counts."""

from dataclasses import dataclass


@dataclass
class Counters:
    """What was lost or repeated, for /metrics."""

    published: int = 0
    dropped_offline: int = 0
    appended: int = 0
    resent: int = 0
    fenced: int = 0
    reconnects: int = 0
    gaps: int = 0
    slow_reader: int = 0
