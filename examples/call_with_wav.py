"""Call the demo agent with a WAV file (16-bit mono), print what both sides say, save what was heard of the agent.

    python examples/call_with_wav.py [question.wav [answer.wav [http://localhost:8084]]]

Reads examples/question.wav and writes answer.wav when not told otherwise. MESHAG_API_KEY, where a key is needed.
"""

import asyncio
import contextlib
import itertools
import json
import os
import struct
import sys
import urllib.error
import urllib.request
import wave
from pathlib import Path

import websockets

HEADER = struct.Struct("<BBHIQ")  # kind (1 is audio), version, flags, sequence, position in samples
QUIET = 6.0  # seconds without a sound from the agent, after which we hang up


def create_session(api: str) -> str:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("MESHAG_API_KEY"):
        headers["X-API-Key"] = key
    body = json.dumps({"agent": "demo", "provider": "websocket"}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{api}/sessions", body, headers)) as answer:
            session = json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{api} refuses: {error.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"nothing answers at {api} ({error.reason}); is `make up` running?")
    return f"{session['room_url']}/{session['meeting_token']}"


async def speak(socket: websockets.ClientConnection, pcm: bytes, rate: int, begin: asyncio.Event) -> None:
    """A microphone never stops: 20 ms every 20 ms; silence until it is our turn, and after the file."""
    clock, size = asyncio.get_running_loop(), rate // 50 * 2
    started, said = clock.time(), 0
    with contextlib.suppress(websockets.ConnectionClosed):
        for sequence in itertools.count():
            piece = b""
            if begin.is_set():
                piece, said = pcm[said : said + size], said + size
            await socket.send(HEADER.pack(1, 1, 0, sequence, sequence * size // 2) + piece.ljust(size, b"\0"))
            await asyncio.sleep(started + (sequence + 1) / 50 - clock.time())


async def call(question: wave.Wave_read, api: str) -> bytes:
    """What was heard of the agent: what it sent, without what it took back by `clear` before we had played it."""
    clock, rate, pcm = asyncio.get_running_loop(), question.getframerate(), question.readframes(question.getnframes())
    heard, played_at, begin = bytearray(), 0.0, asyncio.Event()
    async with websockets.connect(create_session(api), compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "version": 1, "rate": rate}))
        microphone = asyncio.create_task(speak(socket, pcm, rate, begin))
        try:
            async with asyncio.timeout(question.getnframes() / rate + QUIET) as patience:
                async for frame in socket:
                    if isinstance(frame, bytes):
                        heard += frame[HEADER.size :]
                        played_at = max(played_at, clock.time()) + (len(frame) - HEADER.size) / 2 / rate
                        patience.reschedule(max(patience.when() or 0, played_at + QUIET))
                        continue
                    print(frame)
                    message = json.loads(frame)
                    if message == {"type": "state", "state": "listening"}:
                        begin.set()  # the greeting, if there is one, is over
                    elif message["type"] == "clear":
                        unheard = round(max(0.0, played_at - clock.time()) * rate)
                        del heard[len(heard) - 2 * unheard :]
                        played_at = clock.time()
        except TimeoutError:
            await socket.send('{"type": "bye"}')
        microphone.cancel()
    return bytes(heard)


def main(question: str = "", answer: str = "answer.wav", api: str = "http://localhost:8084") -> None:
    with wave.open(question or str(Path(__file__).with_name("question.wav")), "rb") as file:
        rate = file.getframerate()
        if (file.getnchannels(), file.getsampwidth()) != (1, 2) or rate not in (8000, 16_000, 24_000, 48_000):
            sys.exit("the question must be 16-bit mono at 8000, 16000, 24000 or 48000 Hz")
        heard = asyncio.run(call(file, api))
    with wave.open(answer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(heard)
    print(f"{len(heard) / 2 / rate:.1f} s of the agent are in {answer}")


if __name__ == "__main__":
    main(*sys.argv[1:])
