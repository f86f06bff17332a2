"""Callers that speak in real time: one by telephone (Twilio Media Streams), one by the open websocket protocol.

Both play what they are sent as a loudspeaker would, so that `clear`, marks and reports mean what they mean to a person,
and both check it sentence by sentence.
"""

import asyncio
import base64
import json
import re
import struct
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import aiohttp
import numpy as np

from tests.providers import tones, ulaw

FRAME = 0.02
LOUD = 300
"""The level above which a caller's own sample is voiced."""


@dataclass
class Loudspeaker:
    """Plays audio one piece after the other. Times are the loop's."""

    rate: int
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ends_at: float = 0.0
    cleared_at: list[float] = field(default_factory=list)

    def play(self, now: float, pcm: bytes) -> float:
        """Returns when this piece begins to sound."""
        start = max(now, self.ends_at)
        self.pieces.append((start, pcm))
        self.ends_at = start + len(pcm) / 2 / self.rate
        return start

    def clear(self, now: float) -> None:
        """What has not sounded never will."""
        kept: list[tuple[float, bytes]] = []
        for start, pcm in self.pieces:
            samples = round((now - start) * self.rate)
            if samples > 0:
                kept.append((start, pcm[: 2 * samples]))
        self.pieces = kept
        self.ends_at = min(self.ends_at, now)
        self.cleared_at.append(now)

    def recording(self, since: float = 0.0) -> bytes:
        """What has sounded, the silences between replies shortened to a fifth of a second."""
        out = bytearray()
        last = 0.0
        for start, pcm in self.pieces:
            if start < since:
                continue
            if start - last > 0.001:
                out += bytes(2 * round(min(start - last, 0.2) * self.rate))
            out += pcm
            last = start + len(pcm) / 2 / self.rate
        return bytes(out) + bytes(2 * self.rate // 5)

    def position(self, now: float) -> int:
        """Samples that have sounded."""
        played = sum(len(pcm) // 2 for _, pcm in self.pieces)
        return played - round(max(0.0, self.ends_at - now) * self.rate)


class Caller(ABC):
    """`async with` connects and hangs up. `say` speaks, `reply` waits for the agent's words."""

    rate: int
    _socket: aiohttp.ClientWebSocketResponse

    def __init__(self) -> None:
        self.speaker = Loudspeaker(self.rate)
        self.session = ""
        self.is_over = asyncio.Event()
        self.first_sound = 0.0
        """When the agent was first heard after the last `say`."""
        self.last_voiced = 0.0
        """When the last voiced sample of the last `say` was sent."""
        self._speech: deque[bytes] = deque()
        self._said = asyncio.Event()
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def __aenter__(self) -> Self:
        await self._connect()
        self._tasks = [asyncio.create_task(self._speak()), asyncio.create_task(self._listen())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    @abstractmethod
    async def _connect(self) -> None: ...

    @abstractmethod
    async def _send(self, pcm: bytes) -> None: ...

    @abstractmethod
    async def _listen(self) -> None: ...

    @abstractmethod
    async def _goodbye(self) -> None: ...

    async def hang_up(self) -> None:
        """Listen until the goodbye is said: a socket that is closed unread takes its last words with it."""
        for task in self._tasks[:1]:
            task.cancel()
        await asyncio.gather(*self._tasks[:1], return_exceptions=True)
        await self._goodbye()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _speak(self) -> None:
        """A frame each 20 ms, speech or silence, by the clock and not by what sending takes."""
        silence = bytes(2 * round(FRAME * self.rate))
        due = self.now()
        while True:
            frame = self._speech.popleft() if self._speech else silence
            await self._send(frame)
            if frame is not silence and self._speech:
                if np.abs(np.frombuffer(frame, np.int16)).max() > LOUD:
                    self.last_voiced = self.now()
            elif frame is not silence:
                self._said.set()
            due += FRAME
            await asyncio.sleep(max(0.0, due - self.now()))

    async def say(self, pcm: bytes) -> None:
        """Speak these samples; returns when the last one has been sent."""
        size = 2 * round(FRAME * self.rate)
        padded = pcm + bytes(-len(pcm) % size) + bytes(size)
        self._said.clear()
        self.first_sound = 0.0
        self._speech.extend(padded[start : start + size] for start in range(0, len(padded), size))
        await self._said.wait()

    def _sound(self, pcm: bytes) -> None:
        start = self.speaker.play(self.now(), pcm)
        if not self.first_sound and np.abs(np.frombuffer(pcm, np.int16)).max(initial=0) > LOUD:
            self.first_sound = start
        self._stirred.set()

    async def reply(self, text: str, *, since: float = 0.0, seconds: float = 20.0) -> float:
        """Wait until the whole text was heard, once and in order; returns when it began to sound.

        Raises AssertionError with what was heard instead.
        """
        deadline = self.now() + seconds
        while self.now() < deadline and not self.is_over.is_set():
            if self.speaker.ends_at <= self.now() and tones.is_exact(text, self.heard(since)) and text:
                return self.first_sound
            self._stirred.clear()
            wait = min(deadline, self.speaker.ends_at) if self.speaker.ends_at > self.now() else deadline
            try:
                async with asyncio.timeout_at(wait + 0.01):
                    await self._stirred.wait()
            except TimeoutError:
                pass
        if tones.is_exact(text, self.heard(since)):
            return self.first_sound
        raise AssertionError(f"expected {text!r}, heard {tones.said(text, self.heard(since))} {self.heard(since)}")

    def heard(self, since: float = 0.0) -> list[tones.Heard]:
        return tones.decode(self.speaker.recording(since), self.rate)

    async def sound(self, seconds: float = 10.0) -> None:
        """Wait until the agent is heard."""
        async with asyncio.timeout(seconds):
            while not self.first_sound or self.now() < self.first_sound:
                self._stirred.clear()
                if self.first_sound:
                    await asyncio.sleep(self.first_sound - self.now())
                else:
                    await self._stirred.wait()

    async def listen(self, seconds: float, *, patience: float = 10.0) -> None:
        """Wait until so much of the agent has sounded altogether."""
        wanted = round(seconds * self.rate)
        async with asyncio.timeout(seconds + patience):
            while (missing := wanted - self.speaker.position(self.now())) > 0:  # noqa: ASYNC110  # sound takes time
                await asyncio.sleep(missing / self.rate)

    async def cleared(self, *, patience: float = 10.0) -> float:
        """Wait until the agent was stopped once more than it was; returns when."""
        before = len(self.speaker.cleared_at)
        async with asyncio.timeout(patience):
            while len(self.speaker.cleared_at) == before:
                self._stirred.clear()
                await self._stirred.wait()
        return self.speaker.cleared_at[-1]

    async def silence(self, seconds: float, *, patience: float = 20.0) -> None:
        """Wait until nothing was heard for so long."""
        async with asyncio.timeout(patience):
            while (quiet := self.now() - self.speaker.ends_at) < seconds:  # noqa: ASYNC110  # silence takes time
                await asyncio.sleep(seconds - quiet)

    async def end(self, seconds: float = 10.0) -> None:
        """Wait until the other side has ended the call."""
        async with asyncio.timeout(seconds):
            await self.is_over.wait()

    @property
    def _line(self) -> asyncio.Transport:
        connection = self._socket._response.connection
        assert connection and isinstance(connection.transport, asyncio.Transport)
        return connection.transport

    def vanish(self) -> None:
        """The line is cut: no goodbye."""
        self._line.abort()

    def stop_reading(self) -> None:
        """Take nothing more from the line, and keep it."""
        self._line.pause_reading()


class TelephoneCaller(Caller):
    """What Twilio does for a phone call: asks the webhook, opens the stream, sends 20 ms of µ-law at a time."""

    rate = 8000

    def __init__(
        self, client: aiohttp.ClientSession, url: str, *, agent: str = "", called: str = "+15550100", call: str = ""
    ) -> None:
        super().__init__()
        self._client = client
        self._url = url
        self._agent = agent
        self._called = called
        self.call = call or f"CA{uuid4().hex}"
        self._stream = f"MZ{uuid4().hex}"
        self._chunk = 0
        self._marks: list[tuple[float, str]] = []
        self._marked = asyncio.Event()

    async def _connect(self) -> None:
        params = {"agent": self._agent} if self._agent else {}
        form = {"CallSid": self.call, "From": "+15550199", "To": self._called, "CallStatus": "ringing"}
        async with self._client.post(f"{self._url}/twilio", params=params, data=form) as response:
            twiml = await response.text()
        found = re.search(r'<Stream url="([^"]+)"', twiml)
        assert response.status == 200 and found, f"{response.status}: {twiml}"
        self._socket = await self._client.ws_connect(found[1], compress=0, max_msg_size=0)
        await self._tell({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "streamSid": self._stream,
            "accountSid": "AC0",
            "callSid": self.call,
            "tracks": ["inbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._tell({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": self._stream})
        self._marking = asyncio.create_task(self._return_marks())

    async def _tell(self, message: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(message))

    async def _send(self, pcm: bytes) -> None:
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(self._chunk * 20),
            "payload": base64.b64encode(ulaw.to_ulaw(pcm)).decode(),
        }
        await self._tell(
            {"event": "media", "sequenceNumber": str(self._chunk + 1), "media": media, "streamSid": self._stream}
        )

    async def _listen(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame.data)
            match message["event"]:
                case "media":
                    self._sound(ulaw.from_ulaw(base64.b64decode(message["media"]["payload"])))
                case "mark":
                    self._marks.append((self.speaker.ends_at, message["mark"]["name"]))
                    self._marked.set()
                case "clear":
                    self.speaker.clear(self.now())
                    self._marks = [(0.0, name) for _, name in self._marks]
                    self._marked.set()
                    self._stirred.set()
        self.is_over.set()
        self._stirred.set()

    async def _return_marks(self) -> None:
        while True:
            while self._marks and self._marks[0][0] <= self.now():
                _, name = self._marks.pop(0)
                await self._tell({"event": "mark", "streamSid": self._stream, "mark": {"name": name}})
            self._marked.clear()
            try:
                async with asyncio.timeout_at(self._marks[0][0] if self._marks else None):
                    await self._marked.wait()
            except TimeoutError:
                pass

    async def _goodbye(self) -> None:
        self._marking.cancel()
        if not self._socket.closed:
            try:
                await self._tell({"event": "stop", "streamSid": self._stream, "stop": {"callSid": self.call}})
            except ConnectionError:
                pass
            await self._socket.close()

    async def press(self, digit: str) -> None:
        await self._tell(
            {"event": "dtmf", "streamSid": self._stream, "dtmf": {"track": "inbound_track", "digit": digit}}
        )


HEADER = struct.Struct("<BBHIQ")


class WebsocketCaller(Caller):
    """A program that speaks docs/websocket-protocol.md."""

    def __init__(
        self, client: aiohttp.ClientSession, room_url: str, token: str, *, rate: int = 16_000, reports: bool = True
    ) -> None:
        self.rate = rate
        super().__init__()
        self._client = client
        self._room = room_url
        self._token = token
        self._resume: dict[str, int] = {}
        self._is_away = False
        self._reports = reports
        self._sequence = 0
        self._position = 0
        self._received = 0
        self.told: list[dict[str, Any]] = []

    async def _connect(self) -> None:
        self._socket = await self._client.ws_connect(f"{self._room}/{self._token}", compress=0, max_msg_size=0)
        hello = {"type": "hello", "version": 1, "rate": self.rate, "played_reports": self._reports, "captions": True}
        await self._tell(hello | ({"resume": self._resume} if self._is_away else {}))
        self._reporting = asyncio.create_task(self._report())

    async def _tell(self, message: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(message))

    async def _send(self, pcm: bytes) -> None:
        if self._is_away:
            return
        header = HEADER.pack(1, 1, 0, self._sequence, self._position)
        self._sequence += 1
        self._position += len(pcm) // 2
        await self._socket.send_bytes(header + pcm)

    async def _listen(self) -> None:
        async for frame in self._socket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                *_, position = HEADER.unpack_from(frame.data)
                self._received = position + (len(frame.data) - HEADER.size) // 2
                self._sound(frame.data[HEADER.size :])
                continue
            message = json.loads(frame.data)
            self.told.append(message)
            if message["type"] == "welcome":
                self._welcome(message)
            elif message["type"] == "clear":
                self.speaker.clear(self.now())
            self._stirred.set()
        self.is_over.set()
        self._stirred.set()

    def _welcome(self, message: dict[str, Any]) -> None:
        self.session, self._token = message["session"], message["resume"]
        if self._is_away:
            self._is_away = False
            self._sequence, self._position = 0, message["received"]

    async def _report(self) -> None:
        while self._reports:
            await asyncio.sleep(0.1)
            await self._tell({"type": "played", "samples": self._played()})

    def _played(self) -> int:
        return self._received - round(max(0.0, self.speaker.ends_at - self.now()) * self.rate)

    async def come_back(self) -> None:
        """After `vanish`: go on with the call where the ear is."""
        self._is_away = True
        self._resume = {"played": self._played()}
        self.speaker.clear(self.now())
        await self.hang_up()
        self.is_over.clear()
        await self.__aenter__()

    async def type(self, text: str) -> None:
        self.first_sound = 0.0
        await self._tell({"type": "text", "text": text})

    async def until(self, kind: str, seconds: float = 10.0, **wanted: Any) -> dict[str, Any]:
        """Wait for a message of this type with these values."""
        async with asyncio.timeout(seconds):
            while True:
                for message in self.told:
                    if message["type"] == kind and all(message.get(key) == value for key, value in wanted.items()):
                        return message
                self._stirred.clear()
                await self._stirred.wait()

    async def _goodbye(self) -> None:
        self._reporting.cancel()
        await self._socket.close()
