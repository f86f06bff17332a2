"""One turn through LiveKit Agents, with its own FallbackAdapter for each role. Runs with LiveKit's Python, not ours.

Reads what `bench.peers.beside` writes to its input, and prints JSON lines: what was heard, when, and what it remembers.
The turn ends by hand, as for push-to-talk; there is no room, so audio comes and goes by hand as well.
"""

# mypy: ignore-errors

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, inference, llm, stt, tts
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import anthropic, deepgram, elevenlabs, openai

FRAME_MS = 20


def tell(**fact: Any) -> None:
    print(json.dumps(fact), flush=True)


# -- providers -------------------------------------------------------------------------------------------

Provider = dict[str, str]
"""Its name, its key, and the address of its API."""


def recogniser(one: Provider, web: aiohttp.ClientSession) -> Any:
    if one["name"] == "openai":
        return openai.STT(base_url=f"{one['url']}/v1", api_key=one["key"])
    return deepgram.STT(base_url=f"{one['url']}/v1/listen", api_key=one["key"], http_session=web)


def model(one: Provider, web: aiohttp.ClientSession) -> Any:
    if one["name"] == "openai":
        return openai.LLM(base_url=f"{one['url']}/v1", api_key=one["key"])
    return anthropic.LLM(base_url=one["url"], api_key=one["key"])


def voice(one: Provider, web: aiohttp.ClientSession) -> Any:
    """In PCM, which is what the stand-ins speak."""
    if one["name"] == "openai":
        return openai.TTS(model="tts-1", base_url=f"{one['url']}/v1", api_key=one["key"], response_format="pcm")
    return elevenlabs.TTS(
        voice_id=one["voice"],
        encoding="pcm_24000",
        base_url=f"{one['url']}/v1",
        api_key=one["key"],
        http_session=web,
    )


def chain(make: Callable[[Provider, aiohttp.ClientSession], Any], names: list[Provider], web: Any) -> list[Any]:
    return [make(one, web) for one in names]


# -- ears and mouth --------------------------------------------------------------------------------------


class Microphone(AudioInput):
    def __init__(self) -> None:
        super().__init__(label="question")
        self.frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await self.frames.get()
        self.frames.task_done()
        return frame


class Ear(AudioOutput):
    """Tells what arrives at once, and that it was played when it would have been."""

    def __init__(self) -> None:
        super().__init__(label="ear", capabilities=AudioOutputCapabilities(pause=False))
        self._seconds = 0.0
        self._played_until = 0.0
        self._ends: set[asyncio.Task[None]] = set()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        now = time.monotonic()
        if not self._seconds:
            self.on_playback_started(created_at=time.time())
        self._seconds += frame.duration
        self._played_until = max(self._played_until, now) + frame.duration
        tell(at=now, rate=frame.sample_rate, pcm=base64.b64encode(bytes(frame.data)).decode())

    def flush(self) -> None:
        super().flush()
        if self._seconds:
            end = asyncio.create_task(self._end(self._seconds))
            self._ends.add(end)
            end.add_done_callback(self._ends.discard)
        self._seconds = 0.0

    async def _end(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, self._played_until - time.monotonic()))
        self.on_playback_finished(playback_position=seconds, interrupted=False)

    def clear_buffer(self) -> None:
        raise RuntimeError("nobody interrupts in this turn")


# -- the turn --------------------------------------------------------------------------------------------


async def ask(microphone: Microphone, pcm: bytes, rate: int) -> float:
    """The question at the speed of speech; when its last word was over."""
    size = rate * FRAME_MS // 1000 * 2
    pcm += bytes(-len(pcm) % size)
    began = time.monotonic()
    for start in range(0, len(pcm), size):
        await asyncio.sleep(max(0.0, began + start / 2 / rate - time.monotonic()))
        frame = rtc.AudioFrame(pcm[start : start + size], rate, 1, size // 2)
        microphone.frames.put_nowait(frame)
    await microphone.frames.join()
    return time.monotonic()


async def play(order: dict[str, Any], question: bytes, web: aiohttp.ClientSession) -> None:
    chains = order["chains"]
    session: AgentSession[None] = AgentSession(
        stt=stt.FallbackAdapter(chain(recogniser, chains["stt"], web), vad=inference.VAD()),
        llm=llm.FallbackAdapter(chain(model, chains["llm"], web)),
        tts=tts.FallbackAdapter(chain(voice, chains["tts"], web)),
        turn_handling={"turn_detection": "manual"},
    )
    for role, adapter in (("stt", session.stt), ("llm", session.llm), ("tts", session.tts)):
        adapter.on(f"{role}_availability_changed", lambda event, role=role: tell(note=availability(role, event)))
    spoken, closed = asyncio.Event(), asyncio.Event()
    speeches: list[Any] = []
    session.on("speech_created", lambda event: (speeches.append(event.speech_handle), spoken.set()))
    session.on("error", lambda event: tell(note=str(event.error.error)))
    session.on("close", lambda event: closed.set())
    microphone = Microphone()
    session.input.audio = microphone
    session.output.audio = Ear()
    began = time.monotonic()
    await session.start(Agent(instructions="You answer questions."), record=False)
    tell(open=time.monotonic() - began)
    await asyncio.sleep(0.5)  # a session is open before its caller speaks
    tell(spoken=await ask(microphone, question, order["rate"]))
    session.input.set_audio_enabled(False)
    session.commit_user_turn()
    try:
        async with asyncio.timeout(order["limit"]):
            await until_said(spoken, closed, speeches)
    except TimeoutError:
        tell(limit=order["limit"])
    tell(history=[[item.role, item.text_content] for item in session.history.items if item.type == "message"])


def availability(role: str, event: Any) -> str:
    return f"{getattr(event, role).label} is {'available' if event.available else 'not available'}"


async def until_said(spoken: asyncio.Event, closed: asyncio.Event, speeches: list[Any]) -> None:
    """Until all that LiveKit began to say was played, or it gave its session up."""
    ends = asyncio.create_task(closed.wait())
    await asyncio.wait([asyncio.create_task(spoken.wait()), ends], return_when=asyncio.FIRST_COMPLETED)
    for speech in speeches:  # grows while it is walked through
        played = asyncio.ensure_future(speech.wait_for_playout())
        await asyncio.wait([played, ends], return_when=asyncio.FIRST_COMPLETED)


async def main(order: dict[str, Any], question: bytes) -> None:
    async with aiohttp.ClientSession() as web:
        await play(order, question, web)


if __name__ == "__main__":
    tell(version=f"livekit-agents {version('livekit-agents')}")
    asked = json.loads(sys.stdin.read())
    asyncio.run(main(asked, Path(asked["question"]).read_bytes()))
