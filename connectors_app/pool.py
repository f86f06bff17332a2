"""The providers of a process and of a session: who can be asked, and in which order."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, Protocol, TypeVar, cast

from connectors_app import registry
from connectors_app.base.connector import Connector, Credentials, Door, Role, Sealed
from connectors_app.base.doors import RoomService
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import LanguageModel
from connectors_app.base.recognizer import Recognizer
from connectors_app.base.voice import Voice
from connectors_app.breaker import Breaker, Breakers, Target
from connectors_app.preparing import Keyring
from connectors_app.sealing import Sealing

log = logging.getLogger(__name__)

C = TypeVar("C", bound=Connector)


class Report(Protocol):
    """Told of every attempt; the worker makes events of it."""

    def failed(self, provider: str, error: ProviderError, ms: int) -> None: ...

    def switched(self, before: str, after: str) -> None: ...

    def used(self, provider: str, model: str, unit: str, quantity: int, *, estimated: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    provider: str
    error: ProviderError
    ms: int = 0
    is_news: bool = False
    """Somebody meant this provider to be asked, and should hear why it is not."""


class AllFailed(Exception):
    """No provider of the chain gave anything; `attempts` says why, in the order in which they were asked."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self.attempts = tuple(attempts)
        super().__init__("; ".join(f"{a.provider}: {a.error.message}" for a in attempts) or "no provider is named")


# -- chains ----------------------------------------------------------------------------------------------


class Chain(Generic[C]):
    """The providers of one role in one session, in the order in which they are asked."""

    def __init__(self, pool: "Pool", connectors: Sequence[C], skipped: Sequence[Attempt], primary: str = "") -> None:
        self._pool = pool
        self._breakers = {connector: pool.breaker(connector) for connector in connectors}
        self._ordered_at = pool.breakers.clock()
        self._answered_at: dict[C, float] = {}
        self.connectors = tuple(connectors)
        self.skipped = tuple(skipped)
        """Providers that are named but cannot be asked: no key, or options they do not accept."""
        self.current = primary or (self.connectors[0].slug if self.connectors else "")
        self._untold = [attempt for attempt in skipped if attempt.is_news]

    def order(self) -> list[C]:
        """Called once for each turn. Who is out is asked last, not never."""
        self._ordered_at = now = self._pool.breakers.clock()
        return sorted(self.connectors, key=lambda connector: self._breakers[connector].rank(now))

    def is_well(self, connector: C) -> bool:
        """Nothing speaks against asking it, even where another one would do."""
        return self._breakers[connector].rank(self._pool.breakers.clock()) == 0

    def tell_skipped(self, report: Report) -> None:
        """Once, and where it can be heard: as the failures of the first turn."""
        untold, self._untold = self._untold, []
        for attempt in untold:
            report.failed(attempt.provider, attempt.error, attempt.ms)

    def answered(self, connector: C, report: Report, *, started: float | None = None) -> None:
        """It has begun to answer. Without `started`, the attempt is of the turn that was ordered last."""
        self._answered_at[connector] = self._pool.breakers.clock()
        self._learn_answer(connector, self._ordered_at if started is None else started)
        if connector.slug != self.current:
            report.switched(self.current, connector.slug)
            self.current = connector.slug

    def failed(self, connector: C, error: ProviderError, started: float, report: Report) -> Attempt:
        attempt = Attempt(connector.slug, error, round((time.monotonic() - started) * 1000))
        self._learn_failure(connector, error, started, midway=self._answered_at.get(connector, -inf) >= started)
        report.failed(attempt.provider, error, attempt.ms)
        return attempt

    def ended(self, connector: C, error: ProviderError | None, started: float) -> None:
        """So ended an attempt for which nobody waited any more. The turn's report does not hear of it."""
        if error:
            self._learn_failure(connector, error, started)
        else:
            self._learn_answer(connector, started)

    def _learn_answer(self, connector: C, started: float) -> None:
        breakers, breaker = self._pool.breakers, self._breakers[connector]
        with breakers.telling(breaker):
            breaker.answered(breakers.clock(), started=started)

    def _learn_failure(self, connector: C, error: ProviderError, started: float, *, midway: bool = False) -> None:
        breakers, breaker = self._pool.breakers, self._breakers[connector]
        with breakers.telling(breaker):
            breaker.failed(error, breakers.clock(), started=started, midway=midway)

    def interrupted(self, connector: C) -> None:
        """Its answer is not wanted any more, and took the connection with it."""
        self._pool.reopen_line(connector)

    async def close(self) -> None:
        """The session is over, or goes on with another chain."""
        await self._pool.release(self.connectors)
        self.connectors = ()


Key = tuple[Role | Door, str, str, Credentials]
NONE = Sealed()


class Pool:
    """The connectors of a process, each shared by the sessions that ask for the same: provider, options, credentials.

    A workspace's own credential comes before the environment's. One that cannot be opened makes its provider unusable
    in that session: another one's key is not used in its place.
    """

    KEPT_IDLE = 32
    WARM_EVERY = 20.0
    """Seconds. Servers close connections that nobody uses, and a caller may think for a minute."""
    WARM_SECONDS = 10.0

    def __init__(
        self, environ: Mapping[str, str], *, sealing: Sealing | None = None, breakers: Breakers | None = None
    ) -> None:
        self.environ = environ
        self._keyring = Keyring(environ, sealing or Sealing(()))
        self.breakers = breakers or Breakers()
        self._connectors: dict[Key, Connector] = {}
        self._targets: dict[Connector, Target] = {}
        self._users: dict[Connector, int] = {}
        self._idle: OrderedDict[Connector, None] = OrderedDict()
        self._warming: set[asyncio.Task[None]] = set()
        self._reopening: set[Connector] = set()

    def breaker(self, connector: Connector) -> Breaker:
        if connector not in self._targets:
            self._targets[connector] = Target.of(connector)
        return self.breakers.of(self._targets[connector])

    def recognizers(self, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed = NONE) -> Chain[Recognizer]:
        """`order` is the primary and its fallbacks, `config` the document's: keyed by provider, or the primary's."""
        return cast(Chain[Recognizer], self._chain(Role.STT, order, config, sealed))

    def models(self, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed = NONE) -> Chain[LanguageModel]:
        return cast(Chain[LanguageModel], self._chain(Role.LLM, order, config, sealed))

    def voices(self, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed = NONE) -> Chain[Voice]:
        return cast(Chain[Voice], self._chain(Role.TTS, order, config, sealed))

    def rooms(self, slug: str, config: Mapping[str, Any], sealed: Sealed = NONE) -> Chain[RoomService]:
        """The one service that has a session's room: another one has another room."""
        return cast(Chain[RoomService], self._chain(Door.TRANSPORT, [slug], config, sealed))

    async def warm(self, role: Role) -> dict[str, ProviderError]:
        """Warm every usable provider of a role with its default options; the answer names those that failed."""
        slugs = registry.usable(role, self.environ)
        errors = await asyncio.gather(*(self._warm(role, slug) for slug in slugs))
        return {slug: error for slug, error in zip(slugs, errors, strict=True) if error}

    async def _warm(self, role: Role, slug: str) -> ProviderError | None:
        chain = self._chain(role, [slug], {}, NONE)
        try:
            for connector in chain.connectors:
                if error := await self._warm_one(connector):
                    return error
        finally:
            await chain.close()
        return None

    async def _warm_one(self, connector: Connector) -> ProviderError | None:
        try:
            async with asyncio.timeout(self.WARM_SECONDS):
                await connector.warm()
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(ErrorKind.TIMEOUT, f"not warm within {self.WARM_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001
            return unexpected(error)
        return None

    async def keep_warm(self) -> None:
        """For ever: ask those that sessions have something cheap now and then, so that no turn pays a handshake."""
        while True:
            await asyncio.sleep(self.WARM_EVERY)
            by_client = {(one.slug, one.credentials): one for one in self._to_be_asked()}
            await asyncio.gather(*(self._use_line(connector) for connector in by_client.values()))

    def _to_be_asked(self) -> list[Connector]:
        return [connector for connector in self.in_use().values() if not self.is_left_alone(connector)]

    def is_left_alone(self, connector: Connector) -> bool:
        """It wants no questions now, other than those of turns."""
        return self.breaker(connector).is_left_alone(self.breakers.clock())

    async def _use_line(self, connector: Connector) -> None:
        if self.is_left_alone(connector):
            return
        async with self.using(connector):
            try:
                async with asyncio.timeout(self.WARM_SECONDS):
                    await connector.check()
            except (ProviderError, TimeoutError):
                return  # a turn will find out, and has others to ask
            except Exception as error:  # noqa: BLE001
                unexpected(error)

    def reopen_line(self, connector: Connector) -> None:
        """Meanwhile, so that the next turn does not wait for a handshake; one question at a time."""
        if connector in self._reopening or not self._users.get(connector):
            return

        async def reopen() -> None:
            try:
                await self._use_line(connector)
            finally:
                self._reopening.discard(connector)

        self._reopening.add(connector)
        self._meanwhile(connector, reopen)

    def _warm_meanwhile(self, connector: Connector) -> None:
        """A workspace's own is first seen when its session begins, and is warm before the caller has spoken."""

        async def warm() -> None:
            if error := await self._warm_one(connector):
                log.info("provider is not warm", extra={"provider": connector.slug, "error": error.message})

        self._meanwhile(connector, warm)

    def _meanwhile(self, connector: Connector, work: Callable[[], Awaitable[None]]) -> None:
        """No turn waits for it, and the connector is not closed before it ends."""

        async def run() -> None:
            try:
                await work()
            finally:
                await self.release([connector])

        self._users[connector] += 1
        self._warming.add(task := asyncio.create_task(run()))
        task.add_done_callback(self._warming.discard)

    def in_use(self) -> dict[str, Connector]:
        """By target: one of the connectors that sessions have now."""
        return {self._targets[connector].key: connector for connector, users in self._users.items() if users}

    def sweep_breakers(self, now: float) -> None:
        """Forget those of targets that nobody here can ask, except that they are out."""
        self.breakers.keep({target.key for target in self._targets.values()}, now)

    @asynccontextmanager
    async def using(self, connector: Connector) -> AsyncIterator[None]:
        """It is not closed meanwhile."""
        self._users[connector] += 1
        try:
            yield
        finally:
            await self.release([connector])

    async def release(self, connectors: Sequence[Connector]) -> None:
        for connector in connectors:
            self._users[connector] -= 1
            if not self._users[connector]:
                self._idle[connector] = None
        while len(self._idle) > self.KEPT_IDLE:
            await self._forget(next(iter(self._idle)))

    async def close(self) -> None:
        for task in (warming := list(self._warming)):
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        for connector in list(self._users):
            await self._forget(connector)

    def _chain(
        self, role: Role | Door, order: Sequence[str], config: Mapping[str, Any], sealed: Sealed
    ) -> Chain[Connector]:
        options = registry.options_by_provider(order, config)
        connectors: list[Connector] = []
        skipped: list[Attempt] = []
        for slug in dict.fromkeys(order):
            try:
                connectors.append(self._connector(role, slug, options.get(slug, {}), sealed))
            except ProviderError as error:
                is_news = slug in sealed.values or slug == order[0]
                skipped.append(Attempt(slug, error, is_news=is_news))
        for connector in connectors:
            self._users[connector] += 1
            self._idle.pop(connector, None)
        return Chain(self, connectors, skipped, order[0] if order else "")

    def _connector(self, role: Role | Door, slug: str, values: Mapping[str, Any], sealed: Sealed) -> Connector:
        made = self._keyring.prepare(role, slug, values, sealed)
        key = (role, slug, made.options.model_dump_json(), made.credentials)
        if key not in self._connectors:
            self._connectors[key] = connector = made.make()
            self._users[connector] = 0
            self._targets[connector] = Target.of(connector)
            if made.credentials.is_own:
                self._warm_meanwhile(connector)
        return self._connectors[key]

    async def _forget(self, connector: Connector) -> None:
        self._idle.pop(connector, None)
        self._users.pop(connector, None)
        self._targets.pop(connector, None)
        self._connectors = {key: kept for key, kept in self._connectors.items() if kept is not connector}
        await connector.close()


def unexpected(error: Exception) -> ProviderError:
    """A fault in a provider's own code is a failed attempt like any other: the call goes on with the next one."""
    log.error("provider raised what it should not", exc_info=error)
    return ProviderError(ErrorKind.BROKEN, f"failed in an unexpected way ({type(error).__name__})")
