"""One turn's worth of every role, asked of a provider directly, and a look at the sockets of the stand-ins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base.connector import Connector, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import LanguageModel, Message, Said
from connectors_app.base.recognizer import Recognizer, Transcript
from connectors_app.base.voice import Spoken, Voice
from tests.connectors_app.conftest import QUESTION
from tests.providers.found import turns
from tests.providers.routes import Case, Route
from tests.providers.standins import StandIns

SENTENCE = "Good morning to you."
HELLO = (Message("system", "Be kind."), Message("user", QUESTION))


def made(role: Role, slug: str, environ: dict[str, str]) -> AbstractAsyncContextManager[Any]:
    """With the options that it cannot do without."""
    needed = next((turn.options for turn in turns() if (turn.role, turn.slug) == (role, slug)), {})
    return made_with(role, slug, dict(needed), environ)


@asynccontextmanager
async def made_with(role: Role, slug: str, options: dict[str, Any], environ: dict[str, str]) -> AsyncIterator[Any]:
    cls = registry.get(role, slug)
    connector = cls(registry.make_options(cls, options), cls.credentials_from(environ))
    async with asyncio.timeout(20):
        try:
            yield connector
        finally:
            await connector.close()


def is_local(role: Role, slug: str) -> bool:
    """Without a key and an address there is no wire: it works on this machine."""
    cls = registry.get(role, slug)
    return not (cls.key_setting or cls.base_url_setting)


@asynccontextmanager
async def ready(case: Case, environ: dict[str, str]) -> AsyncIterator[Any]:
    """The connector of a case; one that works on this machine may lack what it needs for that, and is skipped."""
    async with made_with(case.role, case.slug, dict(case.options), environ) as connector:
        try:
            yield connector
        except ProviderError as error:
            if is_local(case.role, case.slug) and error.kind is ErrorKind.UNCONFIGURED:
                pytest.skip(f"{case}: {error}")
            raise


async def reply_of(model: LanguageModel) -> list[Said]:
    async with aclosing(model.reply(HELLO)) as items:  # type: ignore[type-var]
        return [item async for item in items]


async def speech_of(voice: Voice, rate: int = 8000) -> tuple[bytes, int]:
    async with voice.open(rate) as speech, aclosing(speech.speak(SENTENCE)) as pieces:  # type: ignore[type-var]
        return b"".join([piece async for piece in pieces if not isinstance(piece, Spoken)]), speech.rate


async def transcript_of(recognizer: Recognizer, pcm: bytes, interims: list[str] | None = None) -> Transcript:
    async with recognizer.open(8000, (interims if interims is not None else []).append) as recognition:
        await recognition.begin()
        for start in range(0, len(pcm), 960):
            await recognition.send(pcm[start : start + 960])
        return await recognition.finish()


async def used(connector: Connector, pcm: bytes) -> object:
    """One turn's worth, whatever the role."""
    if isinstance(connector, LanguageModel):
        return await reply_of(connector)
    if isinstance(connector, Voice):
        return await speech_of(connector)
    assert isinstance(connector, Recognizer)
    return await transcript_of(connector, pcm)


# -- sockets ---------------------------------------------------------------------------------------------


class Watched(list[Any]):
    """The messages of a socket, for those who wait for one."""

    def __init__(self, messages: Iterable[Any]) -> None:
        super().__init__(messages)
        self._changed = asyncio.Event()

    def append(self, message: Any) -> None:
        super().append(message)
        self._changed.set()

    async def until(self, claim: Callable[[list[Any]], bool]) -> list[Any]:
        async with asyncio.timeout(5):
            while not claim(self):
                self._changed.clear()
                await self._changed.wait()
        return list(self)


async def sockets(stand_ins: StandIns, route: Route, count: int = 1) -> list[Any]:
    """Waits until so many have been opened; their messages are watched."""
    async with asyncio.timeout(5):
        while len(found := stand_ins.requests_to(route)) < count:
            await stand_ins.backstage.news.next()
    for socket in found:
        socket.messages = Watched(socket.messages)
    return found


def break_connections(stand_ins: StandIns) -> None:
    server = stand_ins._runner.server
    assert server
    for connection in server.connections:
        assert connection.transport
        connection.transport.abort()
