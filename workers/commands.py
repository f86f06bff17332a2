"""What one transport process asks of another that holds a session's call."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, NobodyThere
from mesh.bus.messages import Subscription
from workers.desk import Unavailable

END_SECONDS = 6.0
"""How long a call may take to end."""

Obey = Callable[[Mapping[str, Any]], Awaitable[str]]
"""Does what a command says; why it does not, or nothing."""


async def tell_holder(bus: Bus, session: str, command: Mapping[str, str]) -> str:
    """Why it does not do that, or nothing; raises NobodyThere and Unavailable."""
    subject = subjects.session_command(session)
    try:
        payload = await bus.request(subject, json.dumps(command).encode(), within=END_SECONDS)
    except NobodyThere:
        raise
    except BusError as error:
        raise Unavailable(f"The session's transport does not answer ({error}).") from None
    return str(json.loads(payload).get("error", ""))


async def take_commands(bus: Bus, session: str, obey: Obey) -> Subscription:
    """As the holder, until it is closed."""

    async def answer(payload: bytes) -> bytes:
        error = await obey(json.loads(payload))
        return json.dumps({"ok": False, "error": error} if error else {"ok": True}).encode()

    return await bus.serve(subjects.session_command(session), answer)
