"""What all workers know of providers that are out, and the probes that find out when one is well again.

Whatever a process finds out it tells the others through the shared bucket; while NATS is away each process goes by what
it sees itself. No turn waits for any of this.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress

import msgspec

from connectors_app.base.connector import Connector, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.breaker import NOT_ITS_FAULT, Breaker, Entry, Rules
from connectors_app.pool import Pool, unexpected
from mesh import subjects
from mesh.bucket import Bucket, Kept, Outdated
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from mesh.cancelling import apart
from workers.metrics import Metrics

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between looks, while something is out, whether its rest is over and a session here uses it."""
TRIES = 4
"""To write an entry that others write too."""
AGAIN = 1.0
"""Seconds before what the bus did not take is told again."""


def shared_breakers(bus: Bus, rules: Rules) -> Bucket:
    return Bucket(bus, subjects.BREAKERS, seconds=rules.kept)


class Outages:
    """Of one role, in one worker."""

    def __init__(self, *, role: Role, worker: str, pool: Pool, bucket: Bucket, metrics: Metrics) -> None:
        self._role = role
        self._worker = f"{worker}-{secrets.token_hex(4)}"
        """One that was started again under its name has forgotten what the former one knew."""
        self._pool = pool
        self._breakers = pool.breakers
        self._bucket = bucket
        self._metrics = metrics
        self._clock = pool.breakers.clock
        self._stirred = asyncio.Event()
        self._out: dict[str, float] = {}
        """Since when, by target."""
        self._busy: set[str] = set()
        """Targets of which something is written, or which are probed."""
        self._tell_again: dict[str, float] = {}
        self._tasks: asyncio.TaskGroup
        self._breakers.worker = self._worker
        self._breakers.on_change = self._changed

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await apart(self._run())
            except Exception:  # noqa: BLE001  # the outermost loop
                log.exception("the watch over providers failed and begins again")
            self._busy.clear()
            await asyncio.sleep(AGAIN)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._bucket.follow(self._role, self._hear, self._renewed))
            while True:
                self._stirred.clear()
                self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY if self._is_watching else None):
                        await self._stirred.wait()

    @property
    def _is_watching(self) -> bool:
        return bool(self._out) or any(breaker.is_news for breaker in self._breakers)

    def _look(self) -> None:
        now = self._clock()
        in_use = self._pool.in_use()
        for breaker in self._breakers:
            key = breaker.target.key
            if breaker.lapse(now):
                self._note(breaker, now)
            if key in self._busy:
                continue
            if breaker.is_news and now >= self._tell_again.get(key, now):
                self._do(key, self._tell(breaker))
            elif breaker.may_probe(now) and key in in_use:
                self._do(key, self._probe(breaker))
        self._pool.sweep_breakers(now)  # the same: one that lapses meanwhile is seen at the next look

    def _do(self, key: str, work: Coroutine[object, object, None]) -> None:
        async def do() -> None:
            try:
                await work
            finally:
                self._busy.discard(key)
                self._stirred.set()

        self._busy.add(key)
        self._tasks.create_task(do())

    # -- what others hear of this worker ------------------------------------------------------------------

    async def _tell(self, breaker: Breaker) -> None:
        key = breaker.target.key
        self._tell_again.pop(key, None)
        try:
            await self._write(breaker)
        except BusError:
            self._tell_again[key] = self._clock() + AGAIN

    async def _write(self, breaker: Breaker) -> None:
        """Until the shared entry says what is known here, or another worker's says something else. Raises BusError."""
        key = breaker.target.key
        for _ in range(TRIES):
            version = breaker.version
            entry = msgspec.json.encode(breaker.entry(self._clock(), by=self._worker))
            try:
                breaker.wrote(version, await self._bucket.put(key, entry, after=breaker.revision))
                return
            except Outdated:
                await self._take_theirs(breaker)
            if not breaker.is_news:
                return
        raise Outdated(key)

    async def _take_theirs(self, breaker: Breaker) -> None:
        theirs = await self._bucket.get(breaker.target.key)
        if theirs is None:  # it has been forgotten, or the bucket is another one
            breaker.forget_revision()
        if theirs and not self._take(theirs):
            breaker.revision = theirs.revision  # what nobody can read is written over

    # -- what this worker hears of others -----------------------------------------------------------------

    def _hear(self, kept: Kept) -> None:
        self._take(kept)

    def _take(self, kept: Kept) -> bool:
        """Whether it could be read."""
        try:
            entry = msgspec.json.decode(kept.value, type=Entry)
        except msgspec.MsgspecError as error:
            log.warning("unreadable state of a provider", extra={"key": kept.key, "error": str(error)})
            return False
        self._breakers.take(kept.key, entry, kept.revision, age=kept.age)
        return True

    def _renewed(self) -> None:
        for breaker in self._breakers:
            breaker.forget_revision()
        self._stirred.set()

    # -- probes -------------------------------------------------------------------------------------------

    async def _probe(self, breaker: Breaker) -> None:
        """Unless another worker does, which the compare-and-set tells. While NATS is away this one asks for itself."""
        connector, now = self._pool.in_use().get(breaker.target.key), self._clock()
        if connector is None or not breaker.may_probe(now):  # no longer so: the task has just begun
            return
        async with self._pool.using(connector):
            breaker.begin_probe(self._worker, now)
            try:
                await self._write(breaker)
            except Outdated:
                return
            except BusError:
                pass
            if breaker.prober != self._worker:
                return
            started = self._clock()
            error = await self._ask(connector)
        with self._breakers.telling(breaker):
            breaker.probed(error, self._worker, self._clock(), started=started)
        outcome = "well" if error is None or error.kind in NOT_ITS_FAULT else str(error.kind)
        self._metrics.probes.labels(self._role, connector.slug, outcome).inc()

    async def _ask(self, connector: Connector) -> ProviderError | None:
        seconds = self._breakers.rules.probe
        try:
            async with asyncio.timeout(seconds):
                await connector.probe()
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(ErrorKind.TIMEOUT, f"{connector.label} did not answer within {seconds:g} s")
        except Exception as error:  # noqa: BLE001  # a fault in a provider's own code
            return unexpected(error)
        return None

    # -- what people hear ---------------------------------------------------------------------------------

    def _changed(self, breaker: Breaker) -> None:
        self._note(breaker, self._clock())
        self._stirred.set()

    def _note(self, breaker: Breaker, now: float) -> None:
        target = breaker.target
        since = self._out.get(target.key)
        if breaker.is_out(now) and since is None:
            self._out[target.key] = breaker.out_since
            self._note_beginning(breaker)
        elif since is not None and not breaker.is_out(now):
            del self._out[target.key]
            seconds = round(now - since, 1)
            log.info(f"{target.label} works again", extra={"provider": target.provider, "seconds": seconds})
        count = Counter((breaker.target.role, breaker.target.provider) for breaker in self._breakers.out())
        self._metrics.breaker_open.labels(target.role, target.provider).set(count[target.role, target.provider])

    def _note_beginning(self, breaker: Breaker) -> None:
        target = breaker.target
        facts = {"provider": target.provider, "model": target.model, "kind": breaker.kind, "detail": breaker.detail}
        if breaker.is_news:
            self._metrics.breaker_opened.labels(target.role, target.provider, breaker.kind).inc()
            log.warning(f"{target.label} keeps failing and is asked last", extra=facts)
        else:
            log.info(f"{target.label} is asked last: it fails in another worker", extra=facts)
