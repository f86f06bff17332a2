"""What the processes of local models have in common: one is loaded once, and each request is answered or told why not.

A process that ended with one request would take along what the other callers are saying.
"""

import sys
from collections.abc import Callable

from connectors_app.providers.offline.pipe import Kind, Pipe

Answering = Callable[[bytes], bytes]
_LONGEST_REASON = 300


class Refused(Exception):
    """Said to whoever chose the model and its options."""


def serve(load: Callable[..., Answering]) -> None:
    """The program, run with the parent's process id and the arguments of `load`, which returns what answers."""
    pipe = Pipe(int(sys.argv[1]))
    answer = _loaded(load)
    for number, request in pipe.requests():
        try:
            pipe.send(Kind.DONE, number, answer(request))
        except Refused as refusal:
            pipe.send(Kind.FAILED, number, str(refusal).encode())
        except Exception as error:  # noqa: BLE001
            pipe.send(Kind.FAILED, number, _why("the model does not work", error).encode())


def _loaded(load: Callable[..., Answering]) -> Answering:
    try:
        return load(*sys.argv[2:])
    except Exception as error:  # noqa: BLE001
        why = _why("the model cannot be loaded", error)

    def answer(_: bytes) -> bytes:
        raise Refused(why)

    return answer


def _why(what: str, error: Exception) -> str:
    reason = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
    return f"{what} ({reason})"[:_LONGEST_REASON]
