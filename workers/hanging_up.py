"""Ends telephone calls at their provider, when a session has ended and its caller has not."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from connectors_app.base.connector import Door, Options
from connectors_app.base.doors import CallService
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.twilio import TwilioCalls, TwilioCredentials
from mesh.bus.errors import BusError
from mesh.bus.writer import Writer
from mesh.events import ProviderFailed
from workers.opening import TWILIO
from workers.settings import Settings

log = logging.getLogger(__name__)

HANGUP: Final = "hangup"
"""The reason of a session whose caller has ended it."""
TELL_SECONDS: Final = 3.0
"""For the event of a call that could not be ended."""
TRY_SECONDS: Final = 3.0
WAITS: Final = (1.0, 3.0)
"""Seconds between the tries."""
FINAL: Final = {ErrorKind.AUTH, ErrorKind.REQUEST}


class Phone:
    """Without an account, a call ends as its provider's instructions say when its media socket is gone."""

    def __init__(self, service: CallService | None) -> None:
        self._service = service
        self.hanging_up: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, settings: Settings) -> "Phone":
        if not settings.twilio_account_sid or not settings.twilio_auth_token:
            return cls(None)
        base_url = settings.twilio_base_url or TwilioCalls.default_base_url
        credentials = TwilioCredentials(settings.twilio_auth_token, base_url, account=settings.twilio_account_sid)
        return cls(TwilioCalls(Options(), credentials))

    def hang_up_meanwhile(self, call_id: str, reason: str, writer: Writer) -> None:
        """The session has ended already, and what happens to its telephone call is only told."""
        if reason in ("", HANGUP) or not call_id:
            return
        self.hanging_up.add(task := asyncio.create_task(self._hang_up_and_tell(call_id, writer)))
        task.add_done_callback(self.hanging_up.discard)

    async def _hang_up_and_tell(self, call_id: str, writer: Writer) -> None:
        if error := await self.hang_up(call_id):
            failed = ProviderFailed(role=Door.TRANSPORT, provider=TWILIO, kind=error.kind, detail=error.message)
            with suppress(TimeoutError, BusError):
                async with asyncio.timeout(TELL_SECONDS):
                    await writer.append(failed)

    async def hang_up(self, call_id: str) -> ProviderError | None:
        """Why the call may go on, if it could not be ended."""
        if self._service is None or not call_id:
            return None
        error = await self._try(self._service, call_id)
        for wait in WAITS:
            if error is None or error.kind in FINAL:
                break
            await asyncio.sleep(max(wait, min(error.retry_after or 0, TRY_SECONDS)))
            error = await self._try(self._service, call_id)
        if error:
            log.error("a call could not be ended at its provider", extra={"call_id": call_id, "error": error.message})
        return error

    async def _try(self, service: CallService, call_id: str) -> ProviderError | None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await service.hang_up(call_id)
        except TimeoutError:
            return ProviderError(ErrorKind.TIMEOUT, f"{service.label} did not answer within {TRY_SECONDS:g} s")
        except ProviderError as error:
            return error
        return None

    async def close(self, *, within: float) -> None:
        """Calls that are being ended have that long."""
        if self.hanging_up:
            await asyncio.wait(self.hanging_up, timeout=within)
        if self._service:
            await self._service.close()
