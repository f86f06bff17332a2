"""What `/ready` says: each thing that a service needs, whether it is there, and what to do when it is not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

DEADLINE = 2.0
"""Seconds for each check; they run side by side."""
FRESH = 1.0
"""Seconds for which an answer is given again, so that many who ask cost no more than one."""

Check = Callable[[], Awaitable[None]]


class NotReady(Exception):
    """Something is not there; the text says what to do about it."""


class Readiness:
    def __init__(self, service: str, checks: Mapping[str, Check]) -> None:
        self._service = service
        self._checks = checks
        self._asking = asyncio.Lock()
        self._answer: tuple[int, dict[str, Any]] = (503, {})
        self._answered_at = -FRESH

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the body of the page."""
        async with self._asking:
            if time.monotonic() - self._answered_at >= FRESH:
                self._answer = await self._ask()
                self._answered_at = time.monotonic()
            return self._answer

    async def _ask(self) -> tuple[int, dict[str, Any]]:
        troubles = await asyncio.gather(*(_trouble(check) for check in self._checks.values()))
        checks = [
            {"name": name, "status": "unhealthy" if trouble else "healthy", "message": trouble}
            for name, trouble in zip(self._checks, troubles, strict=True)
        ]
        status = "not_ready" if any(troubles) else "ready"
        return 503 if any(troubles) else 200, {"status": status, "service": self._service, "checks": checks}


async def _trouble(check: Check) -> str:
    try:
        async with asyncio.timeout(DEADLINE):
            await check()
    except NotReady as error:
        return str(error) or "not ready"
    except TimeoutError:
        return f"no answer in {DEADLINE:.0f} s; is the server overloaded or unreachable?"
    return ""
