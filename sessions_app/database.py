"""The one thread in which an asyncio process asks the database, so that its event loop never waits for a row."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from django.db import InterfaceError, OperationalError, ProgrammingError, connection

Params = ParamSpec("Params")
Result = TypeVar("Result")


class DatabaseAway(Exception):
    """The database does not answer, or its tables are not there yet; the text is the driver's."""


class DatabaseThread:
    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="database")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, _close)
        self._executor.shutdown()

    async def run(self, work: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Raises DatabaseAway, after which the next call connects anew."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: _ask(work, *args, **kwargs))


def _close() -> None:
    connection.close()  # each thread has its own, and this name finds the caller's


def _ask(work: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    try:
        return work(*args, **kwargs)
    except (OperationalError, InterfaceError, ProgrammingError) as error:
        connection.close()
        raise DatabaseAway(str(error).strip()) from None
