"""Streams are held to their time by our own clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from connectors_app.asking import Pace, in_time
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
