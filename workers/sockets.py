"""The media sockets: nobody gets one without a token, which is taken once, and no foreign page gets one at all."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from mesh.sessions import Record
from workers.access import is_origin_allowed
from workers.answers import EXPLAINED, Refusal, explain, not_found
from workers.desk import Desk
from workers.media.socket import SocketWire
from workers.media.twilio import TwilioWire
from workers.media.websocket import WebsocketWire
from workers.opening import OVER, TWILIO, WEBSOCKET

RESUME_SECONDS = 120
"""How long a token for coming back is good for. The transport renews it while the call lasts."""


def socket_routes(desk: Desk) -> list[web.RouteDef]:
    return [
        web.get("/media/websocket/{session}/{token}", _route(desk, WEBSOCKET), allow_head=False),
        web.get("/media/twilio/{token}", _route(desk, TWILIO), allow_head=False),
    ]


async def issue_resume_token(desk: Desk, session: str) -> str:
    """For `welcome`: lets the same client back in, once."""
    return await desk.tokens.issue(session, WEBSOCKET, RESUME_SECONDS)


def _route(desk: Desk, transport: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            record = await _admit(desk, request, transport)
        except EXPLAINED as error:
            return explain(error)
        async with _wire(request, record) as wire:
            await desk.answer_media(record["session_id"], wire)
        return wire.response

    return answer


def _wire(request: web.Request, record: Record) -> SocketWire:
    if record["transport"] == TWILIO:
        return TwilioWire(request, call_id=record["call_id"])
    return WebsocketWire(request, captions=record["transcription"])


async def _admit(desk: Desk, request: web.Request, transport: str) -> Record:
    """The session's record; raises Refusal. The token is only taken by a real upgrade."""
    if not web.WebSocketResponse().can_prepare(request):
        raise Refusal(426, "This address is a WebSocket.", headers={"Upgrade": "websocket"})
    if not is_origin_allowed(request, desk.settings):
        raise Refusal(403, "Pages of this origin may not open a call; MESHAG_PUBLIC_URL names the host that may.")
    claims = await desk.tokens.take(request.match_info["token"], transport)
    if claims is None or request.match_info.get("session", claims["session"]) != claims["session"]:
        raise Refusal(
            403, "This token was used, has expired, or is for something else; create a session for a new one."
        )
    record = await desk.sessions.get(claims["session"])
    if record is None or record["state"] in OVER or record["transport"] != transport:
        raise not_found()
    return record
