"""Deepgram's Aura: speech over a WebSocket, and the list of models."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from aiohttp import ClientConnectionResetError, WSMsgType, web

from connectors_app.base.connector import Role
from tests.providers.backstage import (
    Backstage,
    Outcome,
    Recorded,
    break_socket,
    chunks,
    enter,
    first_byte,
    json_answer,
    open_socket,
    parsed,
    received,
    send,
    send_text,
)
from tests.providers.deepgram import DEEPGRAM, api_key
from tests.providers.paths import add_shared
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Turn
from tests.providers.steering import Fault, Faulted, paced

AURA_CONNECT = DEEPGRAM.route("aura.connect", Kind.HANDSHAKE)
AURA_SPEAK = DEEPGRAM.route("aura.speak", Kind.VOICE)
"""An answer is the speech of one flush."""
AURA_MODELS = DEEPGRAM.route("aura.models")
TURNS = (Turn(Role.TTS, "deepgram", AURA_CONNECT, AURA_SPEAK, values={"model": {"model": "apollo"}}),)

VOICES = ("aura-2-thalia-en", "aura-2-apollo-en", "aura-asteria-en", "aura-2-asteria-en", "aura-2-celeste-es")
RATES = {str(rate): rate for rate in (8000, 16_000, 24_000, 32_000, 48_000)}
LONGEST_TEXT = 2000
MOST_FLUSHES, FLUSH_SECONDS = 20, 60.0


def add_routes(app: web.Application) -> None:
    app.router.add_get("/v1/speak", speak)
    add_shared(app, "GET", "/v1/models", list_models, _has_token)


def environment(url: str) -> dict[str, str]:
    """Those of the other role."""
    return {}


def _has_token(request: web.Request) -> bool:
    return request.headers.get("Authorization", "").lower().startswith("token ")


async def list_models(request: web.Request) -> web.StreamResponse:
    async with received(request, AURA_MODELS, api_key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        voices = [_listed(name) for name in VOICES]
        return await send(request, recorded, behaviour, json_answer({"stt": [], "tts": voices}))


def _listed(name: str) -> dict[str, Any]:
    *family, short, language = name.split("-")
    about = {"architecture": "-".join(family), "languages": [language], "version": "2025-04-07.0"}
    return {"name": short, "canonical_name": name, "uuid": str(uuid4()), "metadata": {"tags": []}, **about}


async def speak(request: web.Request) -> web.WebSocketResponse:
    async with received(request, AURA_CONNECT, api_key(request)) as (backstage, recorded):
        if request.query.get("model", "aura-asteria-en") not in VOICES:
            raise refusal(DEEPGRAM, 400, message="No such model/language/tier combination found.")
        if request.query.get("encoding", "linear16") != "linear16":
            raise refusal(DEEPGRAM, 400, message="the stand-in speaks encoding=linear16")
        if request.query.get("sample_rate", "24000") not in RATES:
            raise refusal(DEEPGRAM, 400, message=f"sample_rate must be one of {', '.join(RATES)}")
        socket = await open_socket(request, backstage, recorded)
        await Speaking(backstage, recorded, socket, request).run()
        return socket


class Speaking:
    """One socket: a buffer of text, and the flushes that are said in their order."""

    def __init__(
        self, backstage: Backstage, recorded: Recorded, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._backstage = backstage
        self._recorded = recorded
        self._socket = socket
        self._request = request
        self._rate = RATES[request.query.get("sample_rate", "24000")]
        self._speed = float(request.query.get("speed", "1"))
        self._waiting = ""
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._flushes: deque[float] = deque(maxlen=MOST_FLUSHES)
        self._sequence = 0

    async def run(self) -> None:
        model = self._request.query.get("model", "aura-asteria-en")
        about = {"model_name": model, "model_version": "2025-04-07.0", "model_uuid": str(uuid4())}
        await self._tell("Metadata", request_id=str(uuid4()), **about)
        async with asyncio.TaskGroup() as tasks:
            speaker = tasks.create_task(self._speak())
            async for message in self._socket:
                order = parsed(message.data) if message.type is WSMsgType.TEXT else None
                if order is None:
                    await self._refuse("DATA-0000", "The message is not JSON.")
                    break
                self._recorded.messages.append(order)
                if order.get("type") == "Clear":
                    speaker.cancel()
                    await self._clear()
                    speaker = tasks.create_task(self._speak())
                elif not await self._take(order):
                    break
            self._recorded.end(Outcome.ANSWERED)
            speaker.cancel()

    async def _take(self, order: Mapping[str, Any]) -> bool:
        """Whether the socket goes on after this message."""
        match order:
            case {"type": "Speak", "text": str(text)} if len(text) <= LONGEST_TEXT:
                self._waiting += text
            case {"type": "Flush"}:
                await self._flush()
            case {"type": "Close"}:
                await self._socket.close()
                return False
            case _:
                await self._refuse("DATA-0000", "The message is no Speak, Flush, Clear or Close.")
                return False
        return True

    async def _flush(self) -> None:
        now = time.monotonic()
        if len(self._flushes) == MOST_FLUSHES and now - self._flushes[0] < FLUSH_SECONDS:
            text = f"Flush was sent more than {MOST_FLUSHES} times in {FLUSH_SECONDS:g} seconds and is ignored."
            await self._tell("Warning", warn_code="EXCESSIVE_FLUSH", warn_msg=text)
            return
        self._flushes.append(now)
        self._texts.put_nowait(self._waiting)
        self._waiting = ""

    async def _clear(self) -> None:
        self._waiting = ""
        self._texts = asyncio.Queue()
        await self._tell("Cleared", sequence_id=self._sequence)

    async def _speak(self) -> None:
        while True:
            text = await self._texts.get()
            self._recorded.text += text
            behaviour = self._backstage.steering.choose(AURA_SPEAK, text)
            await first_byte(behaviour)
            if behaviour.fault is Fault.REFUSE:
                await self._fail("refused by the stand-in")
                return
            pcm = self._backstage.voice(text, self._rate, behaviour, self._speed)
            try:
                async for piece in paced(behaviour, chunks(pcm, self._rate * 2)):
                    with suppress(ClientConnectionResetError):
                        await self._socket.send_bytes(piece)
            except Faulted as faulted:
                if faulted.fault is Fault.ERROR:
                    await self._fail("told by the stand-in midway")
                else:
                    await break_socket(self._request, self._socket, faulted.fault)
                return
            await self._tell("Flushed", sequence_id=self._sequence)
            self._sequence += 1

    async def _refuse(self, code: str, reason: str) -> None:
        """The service says why in its close frame, and has no other message for it."""
        await self._socket.close(code=1008, message=f"{code}: {reason}".encode()[:120])

    async def _fail(self, reason: str) -> None:
        """It is not the client's fault."""
        await self._socket.close(code=1011, message=f"NET-0000: {reason}".encode()[:120])

    async def _tell(self, kind: str, **facts: Any) -> None:
        await send_text(self._socket, json.dumps({"type": kind, **facts}))
