"""A session that we end ends its telephone call at Twilio too; one that the caller ends has none to end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from mesh.config.reading import parse
from mesh.events import ProviderFailed, SessionEnded
from tests.providers.backstage import Outcome
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.twilio import ACCOUNT, TWILIO_CALLS
from tests.workers.desks import document
from tests.workers.lines import DEADLINE, HandWire, Process, transport_process
from workers import hanging_up
from workers.call import Call
from workers.desk import SessionSpec
from workers.hanging_up import Phone
from workers.media.wire import HungUp, Opened, Reason
from workers.opening import TWILIO, open_session
from workers.settings import BadSetting, Settings

CALL_ID = "CA" + "1" * 32
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class Line:
    """A telephone call in a transport, and Twilio behind it."""

    process: Process
    twilio: StandIns
    session: str

    async def answer(self) -> tuple[HandWire, Call]:
        wire = HandWire()
        wire.takes_token = False
        wire.facts.get_nowait()
        wire.facts.put_nowait(Opened(CALL_ID, "", "", wire.rate))
        self.process.answer(self.session, wire)
        await wire.until("welcome")
        return wire, self.process.transport.calls[self.session]

    async def hung_up(self, outcome: Outcome = Outcome.ANSWERED) -> str:
        return (await self.twilio.ended(TWILIO_CALLS, outcome, seconds=DEADLINE)).path

    async def history(self) -> list[Any]:
        return [stored.event for stored in await self.process.transport.bus.history(self.session)]


def phone(twilio: StandIns, **changes: str) -> Phone:
    settings = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN, "twilio_base_url": twilio.url, **changes}
    return Phone.of(Settings(**settings))  # type: ignore[arg-type]


@pytest.fixture
async def twilio() -> AsyncIterator[StandIns]:
    async with StandIns(utterances=()) as stand_ins:
        yield stand_ins


@pytest.fixture
async def line(
    nats_url: str, valkey_url: str, twilio: StandIns, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Line]:
    monkeypatch.setattr(hanging_up, "WAITS", (0.01,))
    async with transport_process(nats_url, valkey_url) as process:
        process.transport.phone = phone(twilio)
        config = parse(document(TWILIO) | {"limits": {"max_duration_s": 10}})
        spec = SessionSpec(
            id=f"phone-{id(process):x}", workspace="default", transport=TWILIO, config=config, call_id=CALL_ID
        )
        await open_session(process.transport, spec, "", 60)
        yield Line(process, twilio, spec.id)


async def test_a_session_that_is_ended_hangs_up(line: Line) -> None:
    await line.answer()
    assert await line.process.transport.end(line.session, "ended")
    assert await line.hung_up() == f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL_ID}.json"
    assert isinstance((await line.history())[-1], SessionEnded)


async def test_the_time_limit_hangs_up(line: Line) -> None:
    _, call = await line.answer()
    call.end("time_limit")
    assert CALL_ID in await line.hung_up()


async def test_a_call_without_its_socket_is_hung_up(line: Line) -> None:
    assert await line.process.transport.end(line.session, "ended")
    assert CALL_ID in await line.hung_up()


async def test_who_has_hung_up_is_left_alone(line: Line) -> None:
    wire, _ = await line.answer()
    running = line.process.transport._running[line.session]
    wire.facts.put_nowait(HungUp(Reason.HANGUP))
    await asyncio.wait([running], timeout=DEADLINE)
    assert not line.process.transport.phone.hanging_up and not line.twilio.requests_to(TWILIO_CALLS)


async def test_a_failure_is_told_and_the_session_is_over(line: Line) -> None:
    line.twilio.steer(TWILIO_CALLS, Behaviour(fault=Fault.REFUSE, status=500))
    assert await line.process.transport.end(line.session, "ended")
    record = await line.process.transport.sessions.get(line.session)
    assert record and record["state"] == "ended"
    await asyncio.gather(*line.process.transport.phone.hanging_up)
    ended, failed = (await line.history())[-2:]
    assert isinstance(ended, SessionEnded) and isinstance(failed, ProviderFailed)
    assert (failed.role, failed.provider, failed.kind) == ("transport", "twilio", "server")
    assert len(line.twilio.requests_to(TWILIO_CALLS)) == 2


async def test_a_wrong_token_is_tried_once(line: Line) -> None:
    line.process.transport.phone = phone(line.twilio, twilio_auth_token="revoked")
    assert await line.process.transport.end(line.session, "ended")
    await asyncio.gather(*line.process.transport.phone.hanging_up)
    assert len(line.twilio.requests_to(TWILIO_CALLS)) == 1
    assert (await line.history())[-1].kind == "auth"
    await line.process.transport.phone.close(within=1)


async def test_a_silent_twilio_holds_nobody_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hanging_up, "TRY_SECONDS", 0.1)
    line.twilio.steer(TWILIO_CALLS, Behaviour(fault=Fault.NEVER))
    assert await line.process.transport.end(line.session, "ended")
    await asyncio.gather(*line.process.transport.phone.hanging_up)
    assert (await line.history())[-1].kind == "timeout"


@pytest.mark.parametrize("lacking", ["twilio_account_sid", "twilio_auth_token"])
async def test_without_an_account_nobody_is_asked(lacking: str, twilio: StandIns) -> None:
    service = phone(twilio, **{lacking: ""})
    assert await service.hang_up(CALL_ID) is None
    assert not twilio.requests
    await service.close(within=1)


def test_a_wrong_account_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="TWILIO_ACCOUNT_SID"):
        Settings.from_environ({"TWILIO_ACCOUNT_SID": "AC123"})
    assert Settings.from_environ({"TWILIO_ACCOUNT_SID": ACCOUNT}).twilio_account_sid == ACCOUNT
