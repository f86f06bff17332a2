"""What can go wrong on the bus."""

WRONG_LAST_SEQUENCE = 10071
"""JetStream's code for an append that expected another last one before it."""


class BusError(Exception):
    """Something on the bus went wrong; subclasses say what."""


class Unreachable(BusError):
    """NATS does not answer."""


class NobodyThere(BusError):
    """No process serves the subject."""


class NoAnswer(BusError):
    """A process serves the subject, but did not answer in time."""


class Refused(BusError):
    """The stream will never take this event."""


class Fenced(BusError):
    """Another owner holds the stage: this one must let go."""
