"""The Django side of the bus: writes events into rows, nudges the pages, answers the transports.

The voice path never waits for it. While the database is away, events stay in the stream, and its place with them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec
from channels.layers import get_channel_layer
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, Unreachable
from mesh.cancelling import apart
from mesh.events import Stored
from mesh.readiness import NotReady
from mesh.store import Valkey
from sessions_app import answers
from sessions_app.answers import Answer
from sessions_app.database import DatabaseAway, DatabaseThread
from sessions_app.fold import Folded, fold
from sessions_app.models import BridgeCursor, CursorMoved
from sessions_app.nudges import Nudges
from sessions_app.operations import Family, serve_pages
from sessions_app.scene import Scenes
from sessions_app.scene_store import SceneStore
from sessions_app.upkeep import Upkeep

log = logging.getLogger(__name__)

GATHER = 0.2
"""Seconds in which events come together to one transaction: a page may lag by that much."""
MAX_EVENTS = 250
TRY_AGAIN_AFTER = 0.5
CHECK_STREAM_EVERY = 2.0
FINISH_WITHIN = 3.0


class StreamRemade(Exception):
    """The event stream is another one than that whose place we hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    name: str
    nats_url: str
    valkey_url: str
    host: str = "127.0.0.1"
    port: int = 0
    silence: float = 15.0
    """Seconds without a heartbeat after which a transport's sessions are ended."""
    keep: float = 600.0
    """Seconds for which the stream keeps the events of a session that is over."""


class Bridge:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._database = DatabaseThread()
        self._desk = DatabaseThread()
        """For answers, so that they need not wait while rows wait for another writer."""
        self._scenes = Scenes()
        self._valkey = Valkey(options.valkey_url)
        self._nudges = Nudges(get_channel_layer(), self._scenes, SceneStore(self._valkey))
        self._bus: Bus | None = None
        self._upkeep: Upkeep | None = None
        self._place: int | None = None
        """The last sequence whose rows are committed."""
        self._answered: Counter[tuple[str, str]] = Counter()
        self._folded = Folded()
        self._batches = 0
        self._written_to = 0.0
        self.port = 0
        self.serving = asyncio.Event()
        """Set when everything is subscribed and rows are being written."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then write what is still in the stream."""
        serving, stopping = asyncio.create_task(self._serve()), asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    async def _serve(self) -> None:
        pages = serve_pages(
            host=self._options.host,
            port=self._options.port,
            checks={"database": self._check_database, "nats": self._check_nats, "rows": self._check_rows},
            read=self._figures,
        )
        async with self._database, self._desk, pages as self.port:
            log.info("bridge pages at http://%s:%s", self._options.host, self.port)
            async with await self._connect() as self._bus:
                await self._work(self._bus)

    async def _connect(self) -> Bus:
        """Wait for NATS, however long it takes."""
        while True:
            try:
                bus = await Bus.connect(self._options.nats_url, self._options.name)
            except Unreachable as error:
                log.warning("waiting for NATS", extra={"error": str(error)})
                await asyncio.sleep(TRY_AGAIN_AFTER)
                continue
            try:
                await bus.ensure_streams()
                return bus
            except Unreachable as error:
                log.warning("waiting for JetStream", extra={"error": str(error)})
                await bus.close()
                await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _work(self, bus: Bus) -> None:
        try:
            async with self._make_upkeep(bus) as self._upkeep, asyncio.TaskGroup() as tasks:
                await bus.subscribe(subjects.worker_beat("transport"), self._upkeep.hear)
                await bus.subscribe(subjects.stt_interim("*"), self._hear_interim)
                await bus.subscribe(subjects.llm_delta("*"), self._read_delta)
                await bus.serve(subjects.BRIDGE_KEY, self._answering(answers.answer_key), queue="bridge")
                await bus.serve(subjects.BRIDGE_AGENT, self._answering(answers.answer_agent), queue="bridge")
                await bus.serve(
                    subjects.BRIDGE_CREDENTIALS, self._answering(answers.answer_credentials), queue="bridge"
                )
                tasks.create_task(self._write_rows(bus))
                tasks.create_task(self._nudges.run())
                tasks.create_task(self._upkeep.run())
        finally:
            with suppress(TimeoutError, BusError, DatabaseAway, CursorMoved):
                async with asyncio.timeout(FINISH_WITHIN):
                    await self._write_the_rest(bus)
            await self._valkey.close()

    def _make_upkeep(self, bus: Bus) -> Upkeep:
        return Upkeep(
            name=self._options.name,
            bus=bus,
            database=self._database,
            caught_up=self._is_caught_up,
            valkey_url=self._options.valkey_url,
            silence=self._options.silence,
            keep=self._options.keep,
        )

    # -- rows ---------------------------------------------------------------------------------------------

    async def _write_rows(self, bus: Bus) -> None:
        told = ""
        while True:
            try:
                await apart(self._write_until_trouble(bus))
            except* (BusError, DatabaseAway, CursorMoved, StreamRemade) as group:
                was_serving = self.serving.is_set()
                self.serving.clear()
                trouble = "; ".join(repr(error) for error in group.exceptions)
                if was_serving or trouble != told:  # once, not twice a second while an outage lasts
                    log.warning("rows wait: %s", trouble)
                told = trouble
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _write_until_trouble(self, bus: Bus) -> None:
        created = await bus.stream_created()
        cursor = await self._database.run(BridgeCursor.at, subjects.EVENTS, created=created)
        self._place = cursor.sequence
        self.serving.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(bus, cursor))
            tasks.create_task(self._watch_stream(bus, created))

    async def _follow(self, bus: Bus, cursor: BridgeCursor) -> None:
        async with aclosing(bus.follow(after=cursor.sequence, max_events=MAX_EVENTS, gather=GATHER)) as batches:
            async for batch in batches:
                await self._write(batch, cursor)

    async def _write(self, batch: Sequence[Stored], cursor: BridgeCursor) -> None:
        folded = await self._database.run(fold, batch, cursor)
        self._scenes.fold(batch, folded.sequences, time.monotonic())
        self._nudges.add(folded.sequences, folded.workspaces)
        self._folded.events += folded.events
        self._folded.skipped += folded.skipped
        self._batches += 1
        self._place = batch[-1].sequence
        self._written_to = batch[-1].at

    async def _watch_stream(self, bus: Bus, created: str) -> None:
        """A stream made anew counts from 1: at our old place nothing would ever come."""
        while True:
            await asyncio.sleep(CHECK_STREAM_EVERY)
            with suppress(BusError):
                if await bus.stream_created() != created:
                    raise StreamRemade(subjects.EVENTS)

    async def _write_the_rest(self, bus: Bus) -> None:
        created = await bus.stream_created()
        cursor = await self._database.run(BridgeCursor.at, subjects.EVENTS, created=created)
        while batch := await bus.read(after=cursor.sequence, limit=MAX_EVENTS):
            await self._write(batch, cursor)

    async def _is_caught_up(self) -> bool:
        """Whether every event of the stream is in the rows; raises Unreachable."""
        if self._bus is None or self._place is None or not self.serving.is_set():
            return False
        return not await self._bus.read(after=self._place, limit=1)

    # -- words that no row holds yet ----------------------------------------------------------------------

    def _hear_interim(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self._scenes.hear_interim(subject.rpartition(".")[2], payload, time.monotonic())
        self._nudges.stir()

    def _read_delta(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self._scenes.read_delta(subject.rpartition(".")[2], payload, time.monotonic())
        self._nudges.stir()

    # -- answers ------------------------------------------------------------------------------------------

    def _answering(self, answer: Callable[[bytes], Answer]) -> Callable[[bytes], Awaitable[bytes]]:
        async def reply(payload: bytes) -> bytes:
            try:
                body = await self._desk.run(answer, payload)
            except msgspec.MsgspecError as error:
                body = {"error": f"The question cannot be read: {error}"}
            except DatabaseAway:
                body = {"error": "The database does not answer. Try again.", "unavailable": True}
            outcome = "error" if "error" in body else "ok"
            self._answered[answer.__name__, outcome] += 1
            return msgspec.json.encode(body)

        return reply

    # -- pages --------------------------------------------------------------------------------------------

    async def _check_database(self) -> None:
        try:
            await self._desk.run(BridgeCursor.objects.exists)
        except DatabaseAway as error:
            raise NotReady(f"{error}; check DATABASE_URL and run `manage.py migrate`") from None

    async def _check_nats(self) -> None:
        if self._bus is None:
            raise NotReady("not connected; start NATS or correct NATS_URL")
        try:
            await self._bus.round_trip()
        except Unreachable as error:
            raise NotReady(str(error)) from None

    async def _check_rows(self) -> None:
        if not self.serving.is_set():
            raise NotReady("no rows are written yet; the database and NATS must both be there")

    def _figures(self) -> Iterable[Family]:
        yield _counter("events_folded", "Events read into rows or passed over", self._folded.events)
        yield _counter("batches_folded", "Transactions that wrote rows", self._batches)
        yield _counters("events_skipped", "Events without a row", "why", self._folded.skipped)
        yield _counter("nudges_sent", "Nudges to live pages", self._nudges.sent)
        yield GaugeMetricFamily(
            "meshag_bridge_scenes", "Sessions that go on, as pages see them", value=len(self._scenes)
        )
        yield _counter("nudges_lost", "Nudges that Valkey did not take", self._nudges.lost)
        answered = CounterMetricFamily("meshag_bridge_answers", "Answered questions", labels=["question", "outcome"])
        for labels, count in self._answered.items():
            answered.add_metric(list(labels), count)
        yield answered
        if self._written_to:
            age = time.time() - self._written_to
            yield GaugeMetricFamily("meshag_bridge_last_event_age_seconds", "Age of the last folded event", value=age)
        if self._place is not None:
            yield GaugeMetricFamily("meshag_bridge_sequence", "The place in the event stream", value=self._place)
        if self._upkeep:
            yield _counter("sessions_purged", "Sessions that the stream forgot", self._upkeep.purged)
            yield _counters("sessions_ended", "Sessions ended for their transport", "reason", self._upkeep.ended)


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"meshag_bridge_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"meshag_bridge_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
