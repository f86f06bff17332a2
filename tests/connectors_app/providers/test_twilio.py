"""Twilio ends calls by REST: as its reference has it, and with a call that is over already."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors_app import registry
from connectors_app.base.connector import Door, Options
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.twilio import TwilioCalls
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.twilio import ACCOUNT, OVER, TWILIO_CALLS

CALL = "CA" + "1" * 32
SETTINGS = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}


@asynccontextmanager
async def twilio(stand_ins: StandIns, **settings: str) -> AsyncIterator[TwilioCalls]:
    connector = TwilioCalls(Options(), TwilioCalls.credentials_from({**stand_ins.env, **SETTINGS, **settings}))
    yield connector
    await connector.close()


async def test_a_call_is_completed(stand_ins: StandIns) -> None:
    async with twilio(stand_ins) as calls:
        await calls.check()
        await calls.hang_up(CALL)
    (request,) = stand_ins.requests_to(TWILIO_CALLS)
    assert (request.method, request.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json")
    assert request.body == {"Status": "completed"}


async def test_a_call_that_is_over_is_as_good(stand_ins: StandIns) -> None:
    async with twilio(stand_ins) as calls:
        await calls.hang_up(f"CA{OVER}")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ErrorKind.REQUEST), (404, ErrorKind.REQUEST), (429, ErrorKind.RATE_LIMIT), (500, ErrorKind.SERVER)],
)
async def test_each_refusal_has_its_kind(stand_ins: StandIns, status: int, kind: ErrorKind) -> None:
    stand_ins.steer(TWILIO_CALLS, Behaviour(fault=Fault.REFUSE, status=status))
    async with twilio(stand_ins) as calls:
        with pytest.raises(ProviderError) as caught:
            await calls.hang_up(CALL)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "wrong", [{"TWILIO_AUTH_TOKEN": "revoked-token"}, {"TWILIO_ACCOUNT_SID": "AC" + "9" * 32}], ids=str
)
async def test_a_wrong_account_or_token_is_named(stand_ins: StandIns, wrong: dict[str, str]) -> None:
    async with twilio(stand_ins, **wrong) as calls:
        with pytest.raises(ProviderError, match="TWILIO_AUTH_TOKEN") as caught:
            await calls.check()
    assert caught.value.kind is ErrorKind.AUTH and "revoked" not in str(caught.value)


def test_only_the_installation_has_an_account() -> None:
    assert registry.get(Door.TRANSPORT, "twilio") is TwilioCalls
    assert "twilio" not in registry.with_credentials()


@pytest.mark.parametrize("lacking", SETTINGS)
def test_account_and_token_are_both_needed(lacking: str) -> None:
    assert TwilioCalls.missing_settings({**SETTINGS, lacking: ""}) == (lacking,)
