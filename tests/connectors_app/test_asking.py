"""Streams are held to their time by our own clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from connectors_app.asking import Limit, Pace, in_time
from connectors_app.base.errors import ErrorKind, ProviderError

PACE = Pace("piece", first=5, stall=0.4)


async def pieces(*pauses: float) -> AsyncIterator[float]:
    """Each tells how long it took; after the last one there is silence."""
    for pause in pauses:
        await asyncio.sleep(pause)
        yield pause
    await asyncio.Event().wait()


async def failure(*pauses: float, seconds_each: float) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        async with aclosing(in_time(pieces(*pauses), PACE, lambda piece: seconds_each)) as items:
            async for _ in items:
                pass
    assert caught.value.kind is ErrorKind.TIMEOUT
    return caught.value


async def test_who_is_behind_is_not_waited_for() -> None:
    """Only a part of the usual patience is left."""
    assert "came too slowly" in str(await failure(0, 0.01, seconds_each=0))


async def test_who_is_ahead_may_not_stand_still() -> None:
    assert "stopped in the middle" in str(await failure(0, 0.01, seconds_each=1))


# -- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [(0.01,), (5, 0.01), (0.01, 0.02), (0.02, 0.01)])
async def test_a_limit_holds_as_it_was_set_last(seconds: tuple[float, ...]) -> None:
    late = asyncio.Event()
    limit, began = Limit(late.set), time.monotonic()
    for one in seconds:
        limit.within(one)
    await asyncio.wait_for(late.wait(), 4)
    assert time.monotonic() - began > seconds[-1] * 0.9


async def test_a_limit_that_is_off_is_silent() -> None:
    late, later = asyncio.Event(), asyncio.Event()
    limit, other = Limit(late.set), Limit(later.set)
    limit.within(0.01)
    limit.off()
    other.within(0.02)
    await later.wait()
    assert not late.is_set()


async def test_a_limit_is_over_once() -> None:
    times: list[None] = []
    later = asyncio.Event()
    limit, other = Limit(lambda: times.append(None)), Limit(later.set)
    limit.within(0.005)
    other.within(0.03)
    await later.wait()
    assert len(times) == 1
