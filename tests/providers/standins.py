"""The stand-ins as one application: in a test's own loop, or in a process of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import Annotated, Any, Self

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from tests import speech
from tests.providers import deepgram, found, tones
from tests.providers.backstage import BACKSTAGE, Backstage, Outcome, Recorded
from tests.providers.brain import Brain, GoingOn, answer_last_user
from tests.providers.ears import Ears
from tests.providers.paths import check_paths
from tests.providers.routes import Route
from tests.providers.steering import Behaviour

DEEPGRAM_IDLE_SECONDS = 10.0
EARS_RATE = 8000


class Order(BaseModel):
    """Body of `POST /_steer`: the rules of one route, in place of those it had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: Annotated[Route, PlainValidator(found.route)]
    behaviours: tuple[Behaviour, ...] = ()


class Setting(BaseModel):
    """What a process of its own is told about its callers and its voice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(default=0, ge=0, le=65_535)
    utterances: tuple[str, ...] = speech.UTTERANCES
    ms_per_char: float = Field(default=tones.MS_PER_CHAR, gt=0)
    going_on: GoingOn = GoingOn.EXACTLY
    by_word: bool = False
    """Each word of a voice can be told: `tones.words`, `accounts.account`."""


class StandIns:
    """Every provider on one loopback port, for as long as the `async with` lasts."""

    def __init__(
        self,
        *,
        port: int = 0,
        utterances: Sequence[str] = speech.UTTERANCES,
        brain: Brain = answer_last_user,
        ms_per_char: float = tones.MS_PER_CHAR,
        going_on: GoingOn = GoingOn.EXACTLY,
        by_word: bool = False,
        deepgram_idle_seconds: float = DEEPGRAM_IDLE_SECONDS,
    ) -> None:
        self.backstage = Backstage(_ears(tuple(utterances)), brain, ms_per_char, going_on, by_word)
        self.url = ""
        self._port = port
        app = application(self.backstage)
        app[deepgram.IDLE_SECONDS] = deepgram_idle_seconds
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def env(self) -> dict[str, str]:
        return found.environment(self.url)

    def steer(self, route: Route, *behaviours: Behaviour) -> None:
        """How a route behaves from now on: the first rule that applies to a request decides; none: promptly."""
        self.backstage.steering.steer(route, *behaviours)

    def calm(self) -> None:
        """Every route is prompt again."""
        self.backstage.steering.calm()

    def freeze(self, route: Route) -> None:
        """The open sockets of a route are silently dead from now on: they stay open and answer nothing, no ping."""
        self.backstage.freeze(route)

    @property
    def requests(self) -> list[Recorded]:
        return list(self.backstage.requests)

    def requests_to(self, route: Route) -> list[Recorded]:
        return [recorded for recorded in self.backstage.requests if recorded.route is route]

    async def ended(self, route: Route, outcome: Outcome, *, count: int = 1, seconds: float = 5) -> Recorded:
        """Waits until so many requests to a route have ended in this way; the last of them."""
        async with asyncio.timeout(seconds):
            while len(found := [one for one in self.requests_to(route) if one.outcome is outcome]) < count:
                await self.backstage.news.next()
        return found[count - 1]

    @staticmethod
    @asynccontextmanager
    async def process(**setting: Any) -> AsyncIterator["StandInsProcess"]:
        """The same in a process of its own, which ends with this one; takes what `Setting` has."""
        wanted = Setting(**setting)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"{__package__}",
            "--child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdin and child.stdout
        try:
            child.stdin.write(wanted.model_dump_json().encode() + b"\n")
            url = (await child.stdout.readline()).decode().strip()
            if not url:
                raise RuntimeError("the stand-ins' process did not start")
            async with aiohttp.ClientSession(url) as client:
                yield StandInsProcess(url, client)
        finally:
            child.stdin.close()
            await child.wait()


class StandInsProcess:
    """Stand-ins in another process."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url = url
        self._client = client

    @property
    def env(self) -> dict[str, str]:
        return found.environment(self.url)

    async def steer(self, route: Route, *behaviours: Behaviour) -> None:
        order = {
            "route": route.name,
            "behaviours": [one.model_dump(exclude_unset=True, mode="json") for one in behaviours],
        }
        async with self._client.post("/_steer", json=order) as response:
            response.raise_for_status()

    async def calm(self) -> None:
        """Every route is prompt again."""
        async with self._client.delete("/_steer") as response:
            response.raise_for_status()

    async def requests_to(self, route: Route) -> list[dict[str, Any]]:
        async with self._client.get("/_requests", params={"route": route.name}) as response:
            found: list[dict[str, Any]] = await response.json()
            return found


def application(backstage: Backstage) -> web.Application:
    app = web.Application(client_max_size=32 * 1024**2)
    app[BACKSTAGE] = backstage
    for provider in found.stand_ins():
        provider.add_routes(app)
    app.router.add_post("/_steer", steer)
    app.router.add_delete("/_steer", calm)
    app.router.add_get("/_requests", list_requests)
    app.router.add_delete("/_requests", forget_requests)
    check_paths(app)
    return app


async def steer(request: web.Request) -> web.Response:
    try:
        order = Order.model_validate_json(await request.read())
        request.app[BACKSTAGE].steering.steer(order.route, *order.behaviours)
    except (ValidationError, ValueError) as error:
        raise web.HTTPUnprocessableEntity(text=str(error)) from None
    return web.json_response({})


async def calm(request: web.Request) -> web.Response:
    request.app[BACKSTAGE].steering.calm()
    return web.json_response({})


async def list_requests(request: web.Request) -> web.Response:
    route = request.query.get("route")
    found = [one.as_json() for one in request.app[BACKSTAGE].requests if route in (None, one.route.name)]
    return web.json_response(found)


async def forget_requests(request: web.Request) -> web.Response:
    request.app[BACKSTAGE].requests.clear()
    return web.json_response({})


@lru_cache
def _ears(utterances: tuple[str, ...]) -> Ears:
    return Ears(speech.speak_all(utterances, EARS_RATE), EARS_RATE)
