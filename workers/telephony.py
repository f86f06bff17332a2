"""Phone calls: Twilio's webhook, answered with TwiML that leads the call into its media socket."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import repeat
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID, uuid5

from aiohttp import web

from mesh.config.problems import Problem
from mesh.sessions import Record
from mesh.subjects import SESSION_ID as CALL_ID
from workers.access import base_url, is_local, socket_url
from workers.answers import EXPLAINED, Handler, Refusal, explained, read_body, unprocessable
from workers.desk import AgentAnswer, Desk, SessionSpec
from workers.media.twilio import hangup, say, twiml, valid_signature
from workers.opening import OVER, TWILIO, open_session, provided

CALLS: Final = UUID("5f2f3a5e-3d5e-4d5b-9a55-0c4f8f0f6f0a")
"""The namespace of session ids made from call ids: a webhook that is repeated finds its session."""
STREAM_SECONDS: Final = 60
OVER_AT_TWILIO: Final = {"completed", "busy", "failed", "no-answer", "canceled"}
NUMBERS: Final = ("From", "To")
LONGEST: Final = 200

NOBODY = "Sorry, no assistant answers this number."
NOT_NOW = "Sorry, the assistant cannot be reached at the moment. Please call again later."

log = logging.getLogger(__name__)


Form = Mapping[str, str]
Act = Callable[[Desk, web.Request, Form], Awaitable[web.StreamResponse]]


def telephony_routes(desk: Desk) -> list[web.RouteDef]:
    def spoken(act: Act) -> Handler:
        """What goes wrong behind a genuine call is said to the caller, and logged for us."""

        @explained
        async def answer(request: web.Request) -> web.StreamResponse:
            form = await _genuine_form(desk, request)
            try:
                return await act(desk, request, form)
            except EXPLAINED as error:
                log.error("a call could not be answered", extra={"call_id": form["CallSid"], "error": str(error)})
                return _xml(say(NOT_NOW))

        return answer

    return [web.post("/twilio", spoken(answer_call)), web.post("/twilio/{session}", spoken(go_on))]


def session_of(call_id: str) -> str:
    return str(uuid5(CALLS, call_id))


async def answer_call(desk: Desk, request: web.Request, form: Form) -> web.StreamResponse:
    """A call begins, or one of its other states is told."""
    session = session_of(form["CallSid"])
    record = await desk.sessions.get(session)
    if form.get("CallStatus", "") in OVER_AT_TWILIO:
        if record is not None:
            await desk.end(session, "hangup")
        return web.Response(status=204)
    if record is not None:
        return await _lead_on(desk, request, record)
    agent = await desk.bridge_agent(None, request.query.get("agent", ""), form.get("To", ""))
    if agent is None:
        log.error("a call has no agent", extra={"call_id": form["CallSid"], "called": form.get("To", "")})
        return _xml(say(NOBODY))
    return await _begin(desk, request, form, agent)


async def go_on(desk: Desk, request: web.Request, form: Form) -> web.StreamResponse:
    """The call's stream has ended: by us, then so does the call, or because its socket was lost."""
    session = session_of(form["CallSid"])
    record = await desk.sessions.get(session) if request.match_info["session"] == session else None
    return _xml(hangup()) if record is None else await _lead_on(desk, request, record)


async def _begin(desk: Desk, request: web.Request, form: Form, agent: AgentAnswer) -> web.StreamResponse:
    config = desk.parse_config(agent.config)
    spec = SessionSpec(
        id=session_of(form["CallSid"]),
        workspace=agent.workspace,
        transport=TWILIO,
        config=config,
        agent=agent.slug,
        agent_version=agent.version,
        caller=form.get("From", ""),
        called=form.get("To", ""),
        call_id=form["CallSid"],
        max_participants=1,
    )
    room_url = f"{socket_url(request, desk.settings)}/media/twilio"
    token = await open_session(desk, await provided(desk, spec), room_url, STREAM_SECONDS)
    return _connect(desk, request, spec.id, token)


async def _lead_on(desk: Desk, request: web.Request, record: Record) -> web.StreamResponse:
    """Back into a session that goes on; out of one that is over."""
    if record["state"] in OVER or record["transport"] != TWILIO:
        return _xml(hangup())
    session = record["session_id"]
    token = await desk.tokens.issue(session, TWILIO, STREAM_SECONDS)
    return _connect(desk, request, session, token)


def _connect(desk: Desk, request: web.Request, session: str, token: str) -> web.Response:
    stream_url = f"{socket_url(request, desk.settings)}/media/twilio/{token}"
    return _xml(twiml(stream_url, f"{base_url(request, desk.settings)}/twilio/{session}"))


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/xml")


# -- who calls -------------------------------------------------------------------------------------------


async def _genuine_form(desk: Desk, request: web.Request) -> Form:
    """The form, if Twilio sent it or this machine did in the embedded default; raises Refusal."""
    form = await _read_form(request)
    settings = desk.settings
    if settings.twilio_auth_token:
        url = base_url(request, settings) + request.raw_path
        if not valid_signature(settings.twilio_auth_token, url, form, request.headers.get("X-Twilio-Signature", "")):
            raise Refusal(
                403,
                "X-Twilio-Signature does not fit this request: TWILIO_AUTH_TOKEN must be the account's token, and "
                "MESHAG_PUBLIC_URL the address at which Twilio reaches us.",
            )
    elif not is_local(request, settings):
        raise Refusal(403, "Set TWILIO_AUTH_TOKEN: calls from outside are only taken when they are signed.")
    if not CALL_ID.fullmatch(form.get("CallSid", "")):
        raise unprocessable(Problem("CallSid", "must be 1 to 64 letters, digits, '_' or '-'"))
    if any(len(value) > LONGEST or not value.isprintable() for value in map(form.get, NUMBERS, repeat(""))):
        raise unprocessable(Problem("From, To", f"must be at most {LONGEST} printable characters"))
    return form


async def _read_form(request: web.Request) -> Form:
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refusal(415, "Send the call as a form: CallSid, From, To, CallStatus.")
    text = (await read_body(request)).decode(errors="replace")
    return dict(parse_qsl(text, keep_blank_values=True))
