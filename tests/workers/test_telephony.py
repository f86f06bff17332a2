from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from aiohttp import ClientResponse, WSMsgType

from tests.workers.desks import Front, document, front
from tests.workers.media.sockets import DEADLINE
from tests.workers.media.test_twilio import start
from workers.desk import AgentAnswer
from workers.media.twilio import signature
from workers.media.wire import HungUp, Opened, Reason
from workers.settings import Settings
from workers.telephony import session_of

TOKEN = "telephone-secret"
PUBLIC = "https://calls.example"
DEMO = AgentAnswer("default", "demo", 3, document("daily"))


def call(status: str = "ringing", **changes: str) -> dict[str, str]:
    """What Twilio posts when a call comes in."""
    ids = {"CallSid": f"CA{uuid4().hex}", "AccountSid": "AC1"}
    return {**ids, "From": "+15550100", "To": "+15550199", "CallStatus": status, "Direction": "inbound", **changes}


async def verbs(response: ClientResponse) -> list[ElementTree.Element]:
    assert (response.status, response.content_type) == (200, "text/xml"), await response.text()
    return list(ElementTree.fromstring(await response.text()))


async def stream_of(response: ClientResponse) -> tuple[str, str]:
    """The stream's and the redirect's address."""
    connect, redirect = await verbs(response)
    return connect[0].attrib["url"], redirect.text or ""


@pytest.fixture
async def line(embedded: Front) -> Front:
    """An embedded default with an agent that takes calls."""
    embedded.desk.agents = [DEMO]
    return embedded


@pytest.fixture
async def signed(valkey_url: str) -> AsyncIterator[Front]:
    settings = Settings(public_url=PUBLIC, twilio_auth_token=TOKEN)
    async with front(valkey_url, settings, {}) as opened:
        opened.desk.agents = [DEMO]
        yield opened


async def test_a_call_has_its_workspaces_credentials(line: Front) -> None:
    line.desk.own = {"default": {"openai": "sealed"}, "elsewhere": {"openai": "another"}}
    async with line.client.post("/twilio", data=call()) as response:
        await stream_of(response)
    assert line.desk.created[-1].credentials == {"openai": "sealed"}


async def test_a_call_is_led_into_its_socket(line: Front) -> None:
    form = call()
    async with line.client.post("/twilio", data=form) as response:
        stream, after = await stream_of(response)
    session = session_of(form["CallSid"])
    base = line.url.replace("http", "ws")
    assert stream.startswith(f"{base}/media/twilio/") and len(stream.rpartition("/")[2]) >= 32
    assert after == f"{line.url}/twilio/{session}"
    assert line.desk.created[0].id == session


async def test_the_session_knows_the_call(line: Front) -> None:
    form = call()
    await line.client.post("/twilio?agent=demo", data=form)
    spec = line.desk.created[0]
    assert (spec.call_id, spec.caller, spec.called) == (form["CallSid"], "+15550100", "+15550199")
    assert (spec.agent, spec.agent_version, spec.transport) == ("demo", 3, "twilio")
    assert line.desk.asked == [(None, "demo", "+15550199")]


async def test_a_number_without_an_agent_is_told(line: Front) -> None:
    line.desk.agents = []
    async with line.client.post("/twilio", data=call()) as response:
        said, over = await verbs(response)
    assert (said.tag, over.tag) == ("Say", "Hangup")
    assert "no assistant" in (said.text or "")


@pytest.mark.parametrize("trouble", ["bridge", "bus", "providers", "config"])
async def test_trouble_is_said_to_the_caller(line: Front, trouble: str) -> None:
    line.desk.away = trouble
    if trouble == "providers":
        line.desk.usable = {}
    if trouble == "config":
        line.desk.agents = [AgentAnswer("default", "demo", 1, {})]
    async with line.client.post("/twilio", data=call()) as response:
        assert [verb.tag for verb in await verbs(response)] == ["Say", "Hangup"]
    assert line.desk.created == []


async def test_a_repeated_webhook_finds_its_session(line: Front) -> None:
    form = call()
    first = (await stream_of(await line.client.post("/twilio", data=form)))[0]
    second = (await stream_of(await line.client.post("/twilio", data=form)))[0]
    assert first != second and len(line.desk.created) == 1


@pytest.mark.parametrize("status", ["completed", "failed", "busy", "no-answer", "canceled"])
async def test_an_ended_call_ends_its_session(line: Front, status: str) -> None:
    form = call()
    await line.client.post("/twilio", data=form)
    async with line.client.post("/twilio", data={**form, "CallStatus": status}) as response:
        assert response.status == 204
    assert line.desk.ended == [(session_of(form["CallSid"]), "hangup")]


async def test_an_unknown_ended_call_is_nothing(line: Front) -> None:
    async with line.client.post("/twilio", data=call("completed")) as response:
        assert response.status == 204
    assert not line.desk.created and not line.desk.ended


@pytest.mark.parametrize("state", ["ending", "ended", "failed"])
async def test_a_finished_session_hangs_up(line: Front, state: str) -> None:
    form = call()
    after = (await stream_of(await line.client.post("/twilio", data=form)))[1]
    await line.desk.move(session_of(form["CallSid"]), state)
    async with line.client.post(after, data=form) as response:
        assert [verb.tag for verb in await verbs(response)] == ["Hangup"]


async def test_a_lost_stream_is_led_back(line: Front) -> None:
    form = call()
    stream, after = await stream_of(await line.client.post("/twilio", data=form))
    await line.desk.move(session_of(form["CallSid"]), "live")
    again = (await stream_of(await line.client.post(after, data=form)))[0]
    claims = await line.desk.tokens.take(again.rpartition("/")[2], "twilio")
    assert again != stream
    assert claims == {"session": session_of(form["CallSid"]), "purpose": "twilio"}


async def test_another_call_is_not_led_into_it(line: Front) -> None:
    after = (await stream_of(await line.client.post("/twilio", data=call())))[1]
    async with line.client.post(after, data=call()) as response:
        assert [verb.tag for verb in await verbs(response)] == ["Hangup"]


# -- who calls -------------------------------------------------------------------------------------------


def sign(path: str, form: dict[str, str], token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": signature(token, PUBLIC + path, form)}


async def test_a_signed_call_is_answered(signed: Front) -> None:
    form = call()
    path = "/twilio?agent=demo&x=%20y"
    async with signed.client.post(path, data=form, headers=sign(path, form)) as response:
        stream, after = await stream_of(response)
    assert stream.startswith("wss://calls.example/media/twilio/")
    assert after == f"{PUBLIC}/twilio/{session_of(form['CallSid'])}"


@pytest.mark.parametrize("path", ["/twilio", "/twilio/s"])
async def test_an_unsigned_call_is_refused(signed: Front, path: str) -> None:
    form = call()
    for headers in ({}, sign(path, form, "other"), sign("/elsewhere", form), sign(path, {**form, "To": "+1"})):
        async with signed.client.post(path, data=form, headers=headers) as response:
            assert response.status == 403
            assert "TWILIO_AUTH_TOKEN" in await response.text()
    assert signed.desk.created == []


async def test_a_deployment_without_a_token_takes_no_calls(deployed: Front) -> None:
    async with deployed.client.post("/twilio", data=call()) as response:
        assert response.status == 403
        assert "TWILIO_AUTH_TOKEN" in await response.text()


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"X-Forwarded-For": "1.2.3.4"}, {"Origin": "https://e.x"}]
)
async def test_unsigned_calls_come_from_this_machine(line: Front, headers: dict[str, str]) -> None:
    async with line.client.post("/twilio", data=call(), headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize("changes", [{"CallSid": ""}, {"CallSid": "a b"}, {"From": "\0"}, {"To": "1" * 201}])
async def test_a_strange_form_is_refused(line: Front, changes: dict[str, str]) -> None:
    async with line.client.post("/twilio", data=call(**changes)) as response:
        assert response.status == 422
        assert (await response.json())["detail"][0]["message"]


@pytest.mark.parametrize("form", [{"json": {}}, {"data": b"CallSid=CA1"}])
async def test_what_is_no_form_is_refused(line: Front, form: dict[str, Any]) -> None:
    async with line.client.post("/twilio", **form) as response:
        assert response.status == 415


# -- the socket ------------------------------------------------------------------------------------------


async def test_the_stream_reaches_the_call(line: Front) -> None:
    form = call()
    stream = (await stream_of(await line.client.post("/twilio", data=form)))[0]
    async with line.client.ws_connect(stream) as socket:
        await socket.send_json(start(form["CallSid"]))
        await socket.send_json({"event": "stop"})
        assert (await socket.receive(DEADLINE)).type is WSMsgType.CLOSE
    assert line.desk.answered[0] == session_of(form["CallSid"])
    assert [type(fact) for fact in line.desk.facts] == [Opened, HungUp]


async def test_another_calls_stream_is_refused(line: Front) -> None:
    stream = (await stream_of(await line.client.post("/twilio", data=call())))[0]
    async with line.client.ws_connect(stream) as socket:
        await socket.send_json(start("CA" + "9" * 32))
        assert (await socket.receive(DEADLINE)).type is WSMsgType.CLOSE
    fact = line.desk.facts[0]
    assert isinstance(fact, HungUp) and fact.reason is Reason.REFUSED
