"""Twilio's REST, as far as calls are ended by it. Its media socket and webhooks are in the tests of the telephone."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from tests.providers.backstage import Backstage, Recorded, enter, json_answer, received, send
from tests.providers.refusals import refusal
from tests.providers.routes import Provider, Route, Turn
from tests.providers.steering import Behaviour

ACCOUNT = "AC" + "0" * 32
CODES = {401: 20003, 404: 20404, 429: 20429}
OVER = "over"
"""A call with this in its id has ended already."""
CALL = re.compile(r"[A-Za-z0-9_-]{1,64}")


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    code = int(param) if param else CODES.get(status, 20001 if status == 400 else 20500)
    more = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more, "status": status}, {}


TWILIO = Provider("twilio", complaint)
TWILIO_CALLS = TWILIO.route("calls")
TWILIO_ACCOUNTS = TWILIO.route("accounts")
TURNS: tuple[Turn, ...] = ()


def add_routes(app: web.Application) -> None:
    app.router.add_post("/2010-04-01/Accounts/{account}/Calls/{call}.json", update_call)
    app.router.add_get("/2010-04-01/Accounts/{account}.json", show_account)


def environment(url: str) -> dict[str, str]:
    """Its address only: with a token, webhooks would have to be signed."""
    return {"TWILIO_BASE_URL": url}


async def show_account(request: web.Request) -> web.StreamResponse:
    async with _asked(request, TWILIO_ACCOUNTS, "") as (_, recorded, behaviour):
        return await send(request, recorded, behaviour, json_answer({"sid": ACCOUNT, "status": "active"}))


async def update_call(request: web.Request) -> web.StreamResponse:
    call = request.match_info["call"]
    async with _asked(request, TWILIO_CALLS, call) as (_, recorded, behaviour):
        if request.content_type != "application/x-www-form-urlencoded":
            raise refusal(TWILIO, 400, message="Parameters are sent as a form.")
        recorded.body = dict(await request.post())
        if not CALL.fullmatch(call):
            raise refusal(TWILIO, 404, message=f"The requested resource {request.path} was not found")
        if recorded.body.get("Status") not in ("completed", "canceled"):
            raise refusal(TWILIO, 400, message="Status must be completed or canceled.")
        if OVER in call:
            raise refusal(TWILIO, 400, message="Call is not in-progress. Cannot redirect.", param="21220")
        return await send(request, recorded, behaviour, json_answer({"sid": call, "status": "completed"}))


@asynccontextmanager
async def _asked(request: web.Request, route: Route, text: str) -> AsyncIterator[tuple[Backstage, Recorded, Behaviour]]:
    """Basic authentication: the account and its token."""
    login, token = _credentials(request)
    async with received(request, route, token) as (backstage, recorded):
        if not login == request.match_info["account"] == ACCOUNT:
            raise refusal(TWILIO, 401, message="Authenticate")
        yield backstage, recorded, await enter(backstage, recorded, text)


def _credentials(request: web.Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        given = ""
    login, _, token = given.partition(":")
    return login, token
