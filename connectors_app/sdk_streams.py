"""The events of an answer that is asked for by an SDK and read raw: the SDKs' own parsing costs too much a token."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from types import ModuleType
from typing import Any

from connectors_app.base.connector import Connector
from connectors_app.base.errors import ProviderError
from connectors_app.failures import told_by_sdk
from connectors_app.sse import drain, events


@asynccontextmanager
async def sdk_events(
    by: Connector, sdk: ModuleType, asking: AbstractAsyncContextManager[Any]
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """What goes wrong is told as a ProviderError, but nothing that comes after the answer."""
    with told_by_sdk(by, sdk):
        async with asking as response, aclosing(events(response.iter_bytes())) as stream:
            yield stream
            with suppress(ProviderError), told_by_sdk(by, sdk):
                await drain(stream)
