"""Requests and their answers."""

import asyncio
from uuid import uuid4

import pytest

from mesh.bus.client import Bus
from mesh.bus.errors import NobodyThere

pytestmark = pytest.mark.nats


async def test_nobody_there_is_told_at_once(bus: Bus) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(NobodyThere):
            await bus.request("worker.claim.nobody", b"", within=5)


async def test_a_request_is_answered(bus: Bus) -> None:
    async def shout(payload: bytes) -> bytes:
        return payload.upper()

    subscription = await bus.serve(f"shout.{uuid4().hex}", shout)
    assert await bus.request(subscription._inner.subject, b"hello", within=2) == b"HELLO"


async def test_a_finished_server_answers_what_is_on_its_way(bus: Bus, nats_url: str) -> None:
    async def agree(payload: bytes) -> bytes:
        return b"yes"

    subject = f"ask.{uuid4().hex}"
    serving = await bus.serve(subject, agree, queue="askers")
    async with await Bus.connect(nats_url) as client:
        questions = [asyncio.create_task(client.request(subject, b"?", within=2)) for _ in range(200)]
        await client.round_trip()
        await serving.finish()
        answers = await asyncio.gather(*questions, return_exceptions=True)
    assert {answer if isinstance(answer, bytes) else type(answer) for answer in answers} <= {b"yes", NobodyThere}


async def test_an_answer_does_not_undo_a_cancellation(bus: Bus) -> None:
    """Both in the same moment: who was cancelled must not go on with the answer."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        asked.set()
        await go.wait()
        return b"too late"

    subject = f"test.{uuid4()}"
    await bus.serve(subject, answer)
    asking = asyncio.create_task(bus.request(subject, b"", within=2))
    await asked.wait()
    for waiting in bus._client._resp_map.values():
        waiting.add_done_callback(lambda _: asking.cancel())
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
