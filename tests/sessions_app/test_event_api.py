"""Live events by SSE: all of them, once, from any place on; a client that is cut and one that comes late."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator as Untyped
from django.db.models import Manager
from django.test import AsyncClient
from pytest_django import Settings

from accounts_app.actions import create_api_key
from accounts_app.models import APIKey, User, Workspace
from mesh import events, subjects
from mesh.bus.client import Bus
from mesh.bus.writer import Writer
from mesh.subjects import Stage
from meshag_site.asgi import pages
from sessions_app import event_stream
from sessions_app.models import Session
from tests.servers import RunningServer
from tests.sessions_app.stories import played

ApplicationCommunicator: Any = Untyped  # it has no types
pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/sessions/s1/events"
NOW = datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Told:
    type: str
    id: str
    data: dict[str, Any]


class Reader:
    """A program that reads the stream of an answer event by event."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self._chunks = aiter(answer)

    async def take(self) -> Told | None:
        """The next event; None at the end. Comments and the like are passed over."""
        async with asyncio.timeout(10):
            async for chunk in self._chunks:
                fields = dict(line.split(": ", 1) for line in chunk.decode().strip().splitlines())
                if "event" in fields:
                    return Told(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
        return None

    async def some(self, count: int) -> list[Told]:
        found = [await self.take() for _ in range(count)]
        return [each for each in found if each]

    async def rest(self) -> list[Told]:
        found = []
        while (each := await self.take()) is not None:
            found.append(each)
        return found


@pytest.fixture
def headers(workspace: Workspace) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_api_key(workspace=workspace, name='Test')[1]}"}


@pytest.fixture(autouse=True)
def stream_url(own_nats: RunningServer, settings: Settings) -> None:
    settings.NATS_URL = own_nats.url


@pytest.fixture
async def writer(bus: Bus, session: Session) -> Writer:
    writer = await bus.take_fence("s1", Stage.SESSION, owner="t")
    await writer.append(
        events.SessionCreated(
            workspace="bicycles", config={}, revision="r", transport="websocket", credentials={"openai": "sealed"}
        )
    )
    return writer


@asynccontextmanager
async def reading(headers: dict[str, str], query: str = "") -> AsyncIterator[Reader]:
    answer = await AsyncClient().get(f"{URL}{query}", headers=headers)
    assert answer.status_code == 200, answer.content
    reader = Reader(answer)
    try:
        yield reader
    finally:
        await reader._chunks.aclose()


def sentences(told: list[Told]) -> list[int]:
    return [each.data["data"]["sentence"] for each in told if each.type == "played"]


async def test_a_late_reader_gets_all_then_the_end(writer: Writer, headers: dict[str, str]) -> None:
    await writer.append(played(1, "One."))
    async with reading(headers) as reader:
        before = await reader.some(2)
        await writer.append(played(2, "Two."))
        await writer.append(events.SessionEnded(reason="hangup"))
        after = await reader.rest()
    assert [each.type for each in before + after] == ["session.created", "played", "played", "session.ended"]
    assert before[1].data["data"]["text"] == "One." and before[1].data["id"] == "s1:session:1:2"


async def test_a_cut_reader_resumes_without_gap_or_double(writer: Writer, headers: dict[str, str]) -> None:
    for number in range(1, 6):
        await writer.append(played(number, "."))
    async with reading(headers) as reader:
        first = await reader.some(4)
    await writer.append(played(6, "."))
    await writer.append(events.SessionEnded(reason="hangup"))
    async with reading(headers | {"Last-Event-ID": first[-1].id}) as reader:
        assert sentences(first) + sentences(await reader.rest()) == [1, 2, 3, 4, 5, 6]


async def test_the_place_may_stand_in_the_address(writer: Writer, headers: dict[str, str]) -> None:
    async with reading(headers) as reader:
        (created,) = await reader.some(1)
    await writer.append(events.SessionEnded(reason="hangup"))
    async with reading(headers, f"?after={created.id}") as reader:
        assert [each.type for each in await reader.rest()] == ["session.ended"]


async def test_the_stages_keep_their_order(bus: Bus, writer: Writer, headers: dict[str, str]) -> None:
    other = await bus.take_fence("s1", Stage.LLM, owner="l")
    async with reading(headers) as reader:
        await reader.some(1)
        for number in range(40):
            await (writer if number % 2 else other).append(played(number, "."))
        assert sentences(await reader.some(40)) == list(range(40))


async def test_credentials_and_owners_are_not_told(writer: Writer, headers: dict[str, str]) -> None:
    await writer.append(events.SessionEnded(reason="hangup"))
    async with reading(headers) as reader:
        told = await reader.rest()
    assert [each.type for each in told] == ["session.created", "session.ended"]
    assert "sealed" not in repr(told) and "credentials" not in repr(told)


async def test_interim_words_come_on_demand(bus: Bus, writer: Writer, headers: dict[str, str]) -> None:
    async with reading(headers, "?interim=1") as reader:
        await reader.some(1)
        await bus.round_trip()
        await bus.publish(subjects.stt_interim("s1"), b'{"utterance":1,"epoch":1,"text":"On Mon"}')
        told = await reader.take()
    assert told == Told("transcript.interim", "", {"utterance": 1, "epoch": 1, "text": "On Mon"})


async def test_a_delta_tells_what_it_makes_void(bus: Bus, writer: Writer, headers: dict[str, str]) -> None:
    anew = {"turn": 1, "generation": 1, "epoch": 1, "text": "Second", "anew": True, "sentence": 1}
    async with reading(headers, "?interim=1") as reader:
        await reader.some(1)
        await bus.round_trip()
        await bus.publish(subjects.llm_delta("s1"), json.dumps(anew).encode())
        assert await reader.take() == Told("reply.delta", "", anew)


async def test_a_slow_reader_keeps_the_latest_interims(bus: Bus) -> None:
    stream = event_stream.EventStream(bus, "s1", "00000000", 0, lambda: asyncio.sleep(0))  # type: ignore[arg-type,return-value]
    receive = stream._receiver("transcript.interim")
    for number in range(1000):
        receive("", b'{"text":"%d"}' % number, {})
    receive("", b"nonsense", {})
    assert len(stream._interims) == event_stream.WAITING_INTERIMS and '"999"' in stream._interims[-1]


async def test_a_comment_keeps_the_line_open(
    writer: Writer, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.05)
    async with reading(headers) as reader:
        await reader.some(1)
        async with asyncio.timeout(10):
            assert await anext(reader._chunks) == b": alive\n\n"


@pytest.mark.parametrize(
    ("rows", "change"),
    [(APIKey.objects, {"revoked_at": NOW}), (Session.objects, {"state": "failed", "ended_at": NOW})],
    ids=["key revoked", "session over"],
)
async def test_a_change_in_the_rows_ends_the_stream(
    rows: Manager[Any],
    change: dict[str, Any],
    writer: Writer,
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.05)
    async with reading(headers) as reader:
        await reader.some(1)
        await rows.aupdate(**change)
        assert await reader.rest() == []


async def test_who_has_all_is_told_to_stop(writer: Writer, headers: dict[str, str]) -> None:
    await writer.append(events.SessionEnded(reason="hangup"))
    async with reading(headers) as reader:
        last = (await reader.rest())[-1].id
    await Session.objects.aupdate(state="ended", ended_at=NOW)
    answer = await AsyncClient().get(URL, headers=headers | {"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_purged_events_are_gone(bus: Bus, writer: Writer, headers: dict[str, str]) -> None:
    await bus.purge_session("s1")
    await Session.objects.aupdate(state="ended", ended_at=NOW)
    answer = await AsyncClient().get(URL, headers=headers)
    assert answer.status_code == 410 and "transcript" in answer.json()["error"]


async def test_a_place_in_a_lost_stream_is_the_beginning(writer: Writer, headers: dict[str, str]) -> None:
    async with reading(headers | {"Last-Event-ID": "00000000-99999"}) as reader:
        assert [each.type for each in await reader.some(1)] == ["session.created"]


@pytest.mark.parametrize("place", ["x", "1", "0000-1", "00000000-" + "9" * 30, "%00", ""])
async def test_a_strange_place_is_named(place: str, writer: Writer, headers: dict[str, str]) -> None:
    answer = await AsyncClient().get(f"{URL}?after={place}", headers=headers)
    assert (answer.status_code, answer.json()["detail"][0]["path"]) == (422, "after")


async def test_a_strange_header_is_named(writer: Writer, headers: dict[str, str]) -> None:
    answer = await AsyncClient().get(URL, headers=headers | {"Last-Event-ID": "garbage"})
    assert (answer.status_code, answer.json()["detail"][0]["path"]) == (422, "Last-Event-ID")


async def test_without_nats_it_says_so(session: Session, headers: dict[str, str], settings: Settings) -> None:
    settings.NATS_URL = "nats://127.0.0.1:1"
    answer = await AsyncClient().get(URL, headers=headers)
    assert answer.status_code == 503 and "NATS" in answer.json()["error"]


async def test_only_members_watch(session: Session, teammate: User, stranger: User) -> None:
    statuses = []
    for user in (stranger, None):
        client = AsyncClient()
        if user:
            await client.aforce_login(user)
        statuses.append((await client.get(URL)).status_code)
    assert statuses == [404, 401]


async def test_a_signed_in_viewer_watches(writer: Writer, teammate: User) -> None:
    client = AsyncClient()
    await client.aforce_login(teammate)
    answer = await client.get(URL)
    reader = Reader(answer)
    assert [each.type for each in await reader.some(1)] == ["session.created"]
    await reader._chunks.aclose()


async def test_a_reader_that_leaves_leaves_nothing_behind(writer: Writer, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": URL, "query_string": b"", "http_version": "1.1"}
    browser = ApplicationCommunicator(pages, scope | {"headers": [(b"host", b"localhost"), *raw]})
    await browser.send_input({"type": "http.request"})
    assert (await browser.receive_output(5))["status"] == 200
    await browser.receive_output(5)
    shared = event_stream._shared[asyncio.get_running_loop()]
    assert shared.readers == 1
    await browser.send_input({"type": "http.disconnect"})
    await browser.wait(5)
    assert (shared.readers, shared.bus) == (0, None)
