"""Loops that end when they are told to, also when something fails or answers in the same moment."""

import asyncio
from contextlib import suppress

import pytest

from mesh.cancelling import apart, cancellable


async def fail_when_cancelled(begun: asyncio.Event) -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise OSError("gone") from None


async def failing_group(begun: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail_when_cancelled(begun))


async def test_a_loop_ends_though_a_task_of_its_group_fails() -> None:
    begun = asyncio.Event()

    async def surviving() -> None:
        while True:
            with suppress(ExceptionGroup):
                await apart(failing_group(begun))

    loop = asyncio.create_task(surviving())
    await begun.wait()
    loop.cancel()
    await asyncio.wait([loop], timeout=5)
    assert loop.cancelled()


async def test_a_failure_of_its_own_is_told() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await apart(fail())


async def test_an_answer_hides_no_cancellation() -> None:
    answer = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        with cancellable():
            await asyncio.wait_for(answer, 5)

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    answer.add_done_callback(lambda _: asking.cancel())
    answer.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_who_was_cancelled_before_may_clean_up() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with cancellable():
                await asyncio.sleep(0)
            return "cleaned up"
        return ""

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    assert await working == "cleaned up"
