"""Nothing outlives the supervisor: the kernel ends its children with it, and the tether everything they started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: the child is killed in the moment in which `parent` ends. Only Linux can do that."""

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before we asked
                os._exit(1)

    return tie


class Tether:
    """A process that reads a pipe from us; when the pipe closes, however we ended, it kills what is still held.

    It also reaches the children's children, and works where the kernel does not know a parent's death.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def hold(self, group: int) -> None:
        self._say(f"+{group}\n")

    def release(self, group: int) -> None:
        self._say(f"-{group}\n")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def kill_group(group: int) -> None:
    """Every process of the group that is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def watch(lines: Iterable[str]) -> None:
    held: set[int] = set()
    for line in lines:
        change = held.add if line[0] == "+" else held.discard
        change(int(line[1:]))
    for group in held:
        kill_group(group)


if __name__ == "__main__":
    watch(sys.stdin)
