"""What the web process asks the transports: a real transport at the other end of a real NATS."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_django import Settings

from mesh import subjects
from mesh.bus.client import Bus
from mesh.roster import Beat
from sessions_app import switchboard
from sessions_app.switchboard import NobodyAnswers, Refused, TransportAway
from tests.servers import RunningServer
from tests.workers.lines import Process, transport_process
from tests.world import make_document


@pytest.fixture
def bus_url(own_nats: RunningServer, settings: Settings) -> str:
    """No other test's transport takes the questions."""
    settings.NATS_URL = own_nats.url
    return own_nats.url


@pytest.fixture
async def process(bus_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(bus_url, valkey_url) as process:
        for role in ("stt", "llm", "tts"):
            process.transport.casting.roster.hear(Beat(id=role, role=role, providers=("openai",)), float("inf"))
        await process.meet_bridge()
        yield process


async def test_an_opened_session_lets_its_caller_in(process: Process) -> None:
    opened = await switchboard.open_session(workspace="bicycles", config=make_document(), name="Trial")
    assert opened.path == f"/media/websocket/{opened.session}"
    claims = await process.transport.tokens.take(opened.token, "websocket")
    assert claims and claims["session"] == opened.session


async def test_nobody_there_says_how_to_start_one(bus_url: str) -> None:
    with pytest.raises(NobodyAnswers, match="make up"):
        await switchboard.say(workspace="bicycles", session="s1", text="Hello.")


async def test_without_nats_the_transport_is_away(settings: Settings) -> None:
    settings.NATS_URL = "nats://127.0.0.1:1"
    with pytest.raises(TransportAway, match="NATS"):
        await switchboard.say(workspace="bicycles", session="s1", text="Hello.")


async def test_a_stuck_transport_is_away_in_time(bus: Bus, bus_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchboard, "END_WITHIN", 0.05)
    await bus.serve(subjects.TRANSPORT_ASK, lambda _: asyncio.get_running_loop().create_future(), queue="transports")
    await bus.round_trip()
    with pytest.raises(TransportAway, match="has answered within") as away:
        await switchboard.end(workspace="bicycles", session="s1")
    assert not isinstance(away.value, NobodyAnswers)


async def test_a_stranger_finds_no_session(process: Process) -> None:
    opened = await switchboard.open_session(workspace="bicycles", config=make_document())
    with pytest.raises(Refused) as refused:
        await switchboard.end(workspace="boats", session=opened.session)
    assert refused.value.status == 404


async def test_an_ended_session_takes_no_config(process: Process) -> None:
    opened = await switchboard.open_session(workspace="bicycles", config=make_document())
    changed = make_document(greeting="Hello.")
    assert await switchboard.change_config(workspace="bicycles", session=opened.session, config=changed)
    await switchboard.end(workspace="bicycles", session=opened.session)
    with pytest.raises(Refused, match="over"):
        await switchboard.change_config(workspace="bicycles", session=opened.session, config=changed)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (make_document(greeting=3), "config.greeting"),
        (make_document(greeting="\ud800"), "config.greeting"),
        (make_document(greeting="a" * 300_000), "config"),
        (make_document(turn={"stop_ms": float("nan")}), "config.turn.stop_ms"),
        (make_document(limits={"max_duration_s": 2**70}), "config.limits.max_duration_s"),
        ("text", "config"),
    ],
    ids=["number", "surrogate", "long", "nan", "huge", "text"],
)
async def test_what_is_wrong_with_a_document_is_named(process: Process, document: Any, path: str) -> None:
    with pytest.raises(Refused) as refused:
        await switchboard.open_session(workspace="bicycles", config=document)
    assert refused.value.status == 422
    assert [detail.path for detail in refused.value.detail] == [path]


async def test_half_a_character_is_refused(process: Process) -> None:
    with pytest.raises(Refused, match="half a character"):
        await switchboard.say(workspace="bicycles", session="s1", text="\ud800")
