import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from tests.workers.desks import Front
from tests.workers.media.sockets import DEADLINE
from tests.workers.test_api import made
from workers.media.wire import HungUp, Opened, Reason
from workers.sockets import issue_resume_token

HELLO = {"type": "hello", "version": 1, "rate": 16_000}


async def refused(front: Front, path: str, **headers: str) -> int:
    with pytest.raises(WSServerHandshakeError) as refusal:
        await front.client.ws_connect(path, headers=headers)
    return refusal.value.status


@pytest.mark.accepts("M67", "M68")
async def test_a_token_opens_the_socket(embedded: Front) -> None:
    session = await made(embedded)
    async with embedded.client.ws_connect(f"{session['room_url']}/{session['token']}") as socket:
        await socket.send_json(HELLO)
        assert (await socket.receive_json(timeout=DEADLINE))["session"] == session["session_id"]
        await socket.send_json({"type": "bye"})
        assert (await socket.receive(DEADLINE)).type is WSMsgType.CLOSE
    assert embedded.desk.facts == [Opened("", "", "", 16_000), HungUp(Reason.HANGUP)]
    assert embedded.desk.answered == [session["session_id"]]


async def test_a_session_without_transcription_has_no_captions(embedded: Front) -> None:
    session = await made(embedded, enable_transcription=False)
    async with embedded.client.ws_connect(f"{session['room_url']}/{session['token']}") as socket:
        await socket.send_json(HELLO)
        assert (await socket.receive_json(timeout=DEADLINE))["captions"] is False


async def test_a_token_is_taken_once(embedded: Front) -> None:
    session = await made(embedded)
    url = f"{session['room_url']}/{session['token']}"
    async with embedded.client.ws_connect(url):
        pass
    assert await refused(embedded, url) == 403


async def test_a_resume_token_opens_it_again(embedded: Front) -> None:
    session = await made(embedded)
    token = await issue_resume_token(embedded.desk, session["session_id"])
    async with embedded.client.ws_connect(f"{session['room_url']}/{token}") as socket:
        await socket.send_json({"type": "bye"})
        await socket.receive(DEADLINE)
    assert embedded.desk.answered == [session["session_id"]]


@pytest.mark.parametrize("token", ["wrong", "a" * 32, "a" * 4000, "%00", "ä"])
async def test_a_wrong_token_opens_nothing(embedded: Front, token: str) -> None:
    session = await made(embedded)
    assert await refused(embedded, f"/media/websocket/{session['session_id']}/{token}") == 403
    assert await refused(embedded, f"/media/twilio/{token}") == 403
    assert embedded.desk.answered == []


async def test_a_token_is_for_one_session(embedded: Front) -> None:
    one, other = await made(embedded), await made(embedded)
    assert await refused(embedded, f"{one['room_url']}/{other['token']}") == 403


async def test_a_token_is_for_one_transport(embedded: Front) -> None:
    session = await made(embedded)
    assert await refused(embedded, f"/media/twilio/{session['token']}") == 403


async def test_an_ended_session_has_no_socket(embedded: Front) -> None:
    session = await made(embedded)
    await embedded.client.delete(f"/sessions/{session['session_id']}")
    assert await refused(embedded, f"{session['room_url']}/{session['token']}") == 404


async def test_a_plain_request_keeps_the_token(embedded: Front) -> None:
    session = await made(embedded)
    path = f"/media/websocket/{session['session_id']}/{session['token']}"
    async with embedded.client.get(path) as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
    async with embedded.client.ws_connect(path):
        pass


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://calls.example.evil.example"])
async def test_foreign_pages_open_no_socket(deployed: Front, origin: str) -> None:
    session = await made(deployed)
    path = f"/media/websocket/{session['session_id']}/{session['token']}"
    assert await refused(deployed, path, Origin=origin) == 403
    assert await refused(deployed, path, Origin=origin, Host="calls.example") == 403


@pytest.mark.parametrize("origin", ["https://calls.example", "http://localhost:8000"])
async def test_our_own_pages_may(deployed: Front, origin: str) -> None:
    session = await made(deployed)
    path = f"/media/websocket/{session['session_id']}/{session['token']}"
    async with deployed.client.ws_connect(path, headers={"Origin": origin}):
        pass


async def test_a_message_that_is_too_long_ends_it(embedded: Front) -> None:
    session = await made(embedded)
    async with embedded.client.ws_connect(f"{session['room_url']}/{session['token']}") as socket:
        await socket.send_bytes(bytes(200_000))
        assert (await socket.receive(DEADLINE)).data == 1009
