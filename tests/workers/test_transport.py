"""What becomes of a session when its sockets come twice, its process loses it, or its call breaks."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from mesh import subjects
from mesh.bus.client import Bus
from mesh.events import SessionEnded
from mesh.roster import Beat
from tests.workers.lines import DEADLINE, HandWire, Process, transport_process
from workers.media.wire import HungUp, Reason, Typed


@pytest.fixture
async def one(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


@pytest.fixture
async def other(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


async def ends(bus: Bus, session: str) -> list[SessionEnded]:
    return [stored.event for stored in await bus.history(session) if isinstance(stored.event, SessionEnded)]


async def state(process: Process, session: str) -> str:
    record = await process.transport.sessions.get(session)
    assert record
    return str(record["state"])


async def meet(one: Process, other: Process) -> None:
    """The one has heard that the other is there."""
    beat = msgspec.json.encode(Beat(id=other.transport.worker, role="transport"))
    async with asyncio.timeout(DEADLINE):
        while not one.transport.presence.has_company():
            await other.transport.bus.publish(subjects.worker_beat("transport"), beat)
            await one.transport.bus.round_trip()


# -- two processes ---------------------------------------------------------------------------------------


async def test_a_rescued_session_is_not_ended_by_its_former_process(one: Process, other: Process) -> None:
    session = await one.create()
    lost = HandWire()
    former = one.answer(session, lost)
    await lost.until("welcome")
    lost.facts.put_nowait(HungUp(Reason.LOST))
    await other.call(session)
    if call := one.transport.calls.get(session):
        call.end("hangup")
    await former
    assert await ends(one.transport.bus, session) == []
    assert await state(other, session) == "live"
    assert "ended" not in lost.done


async def test_a_stopped_process_gives_its_calls_to_another(one: Process, other: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    await meet(one, other)
    await one.transport.drain()
    assert "lose" in wire.done and "ended" not in wire.done
    await other.call(session)
    assert await ends(other.transport.bus, session) == []


async def test_the_last_process_ends_its_calls(one: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    await one.transport.drain()
    assert [ended.reason for ended in await ends(one.transport.bus, session)] == ["shutdown"]
    assert wire.told[-1] == {"type": "ended", "reason": "shutdown"}


# -- two sockets -----------------------------------------------------------------------------------------


async def test_a_second_socket_of_another_rate_is_refused(one: Process) -> None:
    session = await one.create()
    wire, call = await one.call(session)
    second = HandWire(rate=8_000)
    await one.answer(session, second)
    assert second.told[0]["type"] == "error"
    assert one.transport.calls[session] is call
    wire.facts.put_nowait(HungUp(Reason.HANGUP))
    await wire.until("close")


async def test_a_call_that_is_ending_takes_no_socket(one: Process) -> None:
    session = await one.create()
    _, call = await one.call(session)
    call.end("ended")
    late = HandWire()
    await one.answer(session, late)
    assert late.told[0]["type"] == "error"


async def test_a_caller_comes_back_while_the_old_socket_seems_open(one: Process) -> None:
    session = await one.create()
    old, _ = await one.call(session)
    new = HandWire()
    one.answer(session, new)
    await new.until("welcome")
    assert "lose" in old.done


async def test_a_way_back_stays_open_while_the_call_lasts(one: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    key = f"token:{wire.resume}"
    async with one.transport.valkey.reaching() as client:
        await client.expire(key, 5)
        await one.transport.extend_tokens()
        assert await client.ttl(key) > 100


async def test_a_valkey_that_forgot_a_live_session_is_told_again(one: Process) -> None:
    transport, session = one.transport, await one.create()
    await one.call(session)
    await transport.keep_sessions()
    document = await transport.configs.get_document(session)
    await transport.sessions.delete(session)
    await transport.configs.delete_config(session)
    await transport.keep_sessions()
    assert await state(one, session) == "live"
    assert document and await transport.configs.get_document(session) == document


async def test_what_a_socket_did_not_understand_is_counted(one: Process) -> None:
    wire = HandWire()
    wire.counts["garbage"] = 3
    wire.facts = asyncio.Queue()
    wire.facts.put_nowait(HungUp(Reason.NEVER_OPENED))
    await one.answer(await one.create(), wire)
    assert one.transport.metrics.registry.get_sample_value("meshag_wire_total", {"what": "garbage"}) == 3


# -- a call that breaks ----------------------------------------------------------------------------------


async def test_a_call_that_breaks_has_failed_once(one: Process) -> None:
    session = await one.create()
    wire, call = await one.call(session)
    call.tasks.create_task(_break())
    await wire.until("close")
    (ended,) = await ends(one.transport.bus, session)
    assert (ended.reason, ended.failed) == ("failed", True)
    assert await state(one, session) == "failed"


async def _break() -> None:
    raise ZeroDivisionError


async def test_a_hang_up_is_no_failure(one: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("bye"))
    wire.facts.put_nowait(HungUp(Reason.HANGUP))
    await wire.until("close")
    (ended,) = await ends(one.transport.bus, session)
    assert (ended.reason, ended.failed) == ("hangup", False)
