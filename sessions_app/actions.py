"""What is done to sessions from outside their transport."""

import asyncio

from mesh import events
from mesh.bus import Bus, Fenced
from mesh.subjects import Stage

APPEND_WITHIN = 5.0


async def end_in_place_of_its_transport(
    *, bus: Bus, session: str, by: str, epoch: int, reason: str, failed: bool, media_ms: int = 0
) -> bool:
    """Take the session's fence and write its end; False when somebody else has taken it first.

    `epoch` is the largest one seen. Raises Unreachable and TimeoutError; it may be tried again.
    """
    try:
        async with asyncio.timeout(APPEND_WITHIN):
            writer = await bus.take_fence(session, Stage.SESSION, owner=by, epoch=epoch + 1)
            await writer.append(events.SessionEnded(reason=reason, failed=failed, media_ms=media_ms))
    except Fenced:
        return False
    return True
