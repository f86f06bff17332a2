"""Cancellations that Python 3.11 forgets: `wait_for` and TaskGroup do, in the moment of an answer or a failure."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any


async def apart(work: Coroutine[Any, Any, None]) -> None:
    """Do it in a task of its own. A cancellation stays one, whatever the work makes of it.

    For loops that survive failures: a TaskGroup that is cancelled while one of its tasks fails raises the failure
    only, and the loop around it would never end.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    await task


@contextlib.contextmanager
def cancellable() -> Iterator[None]:
    """For what waits by `wait_for`, as nats-py does: it forgets a cancellation that comes with the answer."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
