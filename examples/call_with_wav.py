"""Call the demo agent with a WAV file (16-bit mono), print what both sides say, save the agent's answer as a WAV.

python examples/call_with_wav.py question.wav answer.wav [http://localhost:8084]    MESHAG_API_KEY, where one is needed
"""

import asyncio
import contextlib
import itertools
import json
import os
import struct
import sys
import urllib.request
import wave

import websockets

HEADER = struct.Struct("<BBHIQ")  # kind (1 is audio), version, flags, sequence, position in samples
QUIET = 6.0  # seconds without a sound from the agent, after which we hang up


def create_session(api: str) -> str:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("MESHAG_API_KEY"):
        headers["X-API-Key"] = key
    body = json.dumps({"agent": "demo", "provider": "websocket"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{api}/sessions", body, headers)) as answer:
        session = json.load(answer)
    return f"{session['room_url']}/{session['meeting_token']}"


async def speak(socket: websockets.ClientConnection, pcm: bytes, rate: int) -> None:
    """A microphone never stops: 20 ms every 20 ms, and silence when the file is over."""
    clock, size = asyncio.get_running_loop(), rate // 50 * 2
    started = clock.time()
    with contextlib.suppress(websockets.ConnectionClosed):
        for sequence in itertools.count():
            piece = pcm[sequence * size : (sequence + 1) * size].ljust(size, b"\0")
            await socket.send(HEADER.pack(1, 1, 0, sequence, sequence * size // 2) + piece)
            await asyncio.sleep(started + (sequence + 1) / 50 - clock.time())


async def call(question: wave.Wave_read, answer: wave.Wave_write, api: str = "http://localhost:8084") -> None:
    clock, rate, pcm = asyncio.get_running_loop(), question.getframerate(), question.readframes(question.getnframes())
    answer.setparams((1, 2, rate, 0, "NONE", ""))
    async with websockets.connect(create_session(api), compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "version": 1, "rate": rate}))
        print(await socket.recv())  # welcome
        microphone = asyncio.create_task(speak(socket, pcm, rate))
        try:
            async with asyncio.timeout(question.getnframes() / rate + QUIET) as patience:
                async for frame in socket:
                    if isinstance(frame, bytes):
                        answer.writeframes(frame[HEADER.size :])
                        patience.reschedule(max(patience.when() or 0, clock.time() + QUIET))
                    else:
                        print(frame)
        except TimeoutError:
            await socket.send('{"type": "bye"}')
        microphone.cancel()


if __name__ == "__main__":
    with wave.open(sys.argv[1], "rb") as question, wave.open(sys.argv[2], "wb") as answer:
        asyncio.run(call(question, answer, *sys.argv[3:]))
