"""One turn through Pipecat, with its own ServiceSwitcher for each role. Runs with Pipecat's Python, not ours.

Reads what `bench.peers.beside` writes to its input, and prints JSON lines: what was heard, when, and what it remembers.
The caller's turn begins and ends by hand, where a detector of voice would say so; audio comes and goes by hand as well.
"""

# mypy: ignore-errors

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from loguru import logger
from pipecat.frames.frames import (
    InputAudioRawFrame,
    OutputAudioRawFrame,
    StartFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.llm_switcher import LLMSwitcher
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyFailover
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

FRAME_MS = 20
AHEAD_SECONDS = 0.2
"""What a sound device takes before it plays."""
QUIET_SECONDS = 15.0
"""After so long without audio a reply is over: Pipecat does not tell."""


def tell(**fact: Any) -> None:
    print(json.dumps(fact), flush=True)


# -- providers -------------------------------------------------------------------------------------------

Provider = dict[str, str]
"""Its name, its key, and the address of its API."""


def recogniser(one: Provider) -> Any:
    if one["name"] == "openai":
        return OpenAISTTService(api_key=one["key"], base_url=f"{one['url']}/v1")
    return DeepgramSTTService(api_key=one["key"], base_url=one["url"])


def model(one: Provider) -> Any:
    if one["name"] == "openai":
        return OpenAILLMService(api_key=one["key"], base_url=f"{one['url']}/v1")
    return AnthropicLLMService(api_key=one["key"], client=AsyncAnthropic(api_key=one["key"], base_url=one["url"]))


def voice(one: Provider) -> Any:
    if one["name"] == "openai":
        return OpenAITTSService(api_key=one["key"], base_url=f"{one['url']}/v1")
    return ElevenLabsTTSService(
        api_key=one["key"],
        url=one["url"].replace("http", "ws", 1),
        settings=ElevenLabsTTSService.Settings(voice=one["voice"]),
    )


def chain(make: Callable[[Provider], Any], names: list[Provider]) -> list[Any]:
    return [make(one) for one in names]


# -- ears and mouth --------------------------------------------------------------------------------------


class Microphone(BaseInputTransport):
    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def ask(self, pcm: bytes, rate: int) -> float:
        """The question at the speed of speech; when its last word was over."""
        size = rate * FRAME_MS // 1000 * 2
        pcm += bytes(-len(pcm) % size)
        await self.push_frame(VADUserStartedSpeakingFrame())
        began = time.monotonic()
        for start in range(0, len(pcm), size):
            await asyncio.sleep(max(0.0, began + start / 2 / rate - time.monotonic()))
            await self.push_frame(InputAudioRawFrame(pcm[start : start + size], rate, 1))
        await self.push_frame(VADUserStoppedSpeakingFrame())
        return time.monotonic()

    async def be_silent(self, rate: int) -> None:
        """As a microphone goes on when nobody speaks."""
        silence = bytes(rate * FRAME_MS // 1000 * 2)
        while True:
            await asyncio.sleep(FRAME_MS / 1000)
            await self.push_frame(InputAudioRawFrame(silence, rate, 1))


class Ear(BaseOutputTransport):
    """Tells what arrives, as fast as a sound device takes it."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self._played_until = 0.0
        self._wrote = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = time.monotonic()
        tell(at=now, rate=frame.sample_rate, pcm=base64.b64encode(frame.audio).decode())
        self._played_until = max(self._played_until, now) + len(frame.audio) / 2 / frame.sample_rate
        self._wrote.set()
        await asyncio.sleep(max(0.0, self._played_until - AHEAD_SECONDS - now))
        return True

    async def until_quiet(self) -> None:
        """From the first audio until no more comes."""
        await self._wrote.wait()
        with suppress(TimeoutError):
            while True:
                self._wrote.clear()
                await asyncio.wait_for(self._wrote.wait(), QUIET_SECONDS)


# -- the turn --------------------------------------------------------------------------------------------


async def play(order: dict[str, Any], question: bytes) -> None:
    chains, rate = order["chains"], order["rate"]
    params = TransportParams(audio_in_enabled=True, audio_out_enabled=True, audio_out_auto_silence=False)
    microphone, ear = Microphone(params), Ear(params)
    context = LLMContext()
    by_hand = UserTurnStrategies(
        start=[VADUserTurnStartStrategy()], stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.0)]
    )
    caller, agent = LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams(user_turn_strategies=by_hand))
    hearing = ServiceSwitcher(chain(recogniser, chains["stt"]), ServiceSwitcherStrategyFailover)
    thinking = LLMSwitcher(chain(model, chains["llm"]), ServiceSwitcherStrategyFailover)
    speaking = ServiceSwitcher(chain(voice, chains["tts"]), ServiceSwitcherStrategyFailover)
    worker = PipelineWorker(
        Pipeline([microphone, hearing, caller, thinking, speaking, ear, agent]),
        params=PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=24_000),
    )
    started = asyncio.Event()

    async def began(worker: PipelineWorker, frame: Any) -> None:
        started.set()

    async def switched(strategy: ServiceSwitcherStrategyFailover, service: Any) -> None:
        tell(note=f"switched to {service}")

    async def failed(worker: PipelineWorker, frame: Any) -> None:
        tell(note=f"{frame.processor}: {frame.error}"[:300])

    worker.add_event_handler("on_pipeline_started", began)
    worker.add_event_handler("on_pipeline_error", failed)
    for switcher in (hearing, thinking, speaking):
        switcher.strategy.add_event_handler("on_service_switched", switched)
    opening = time.monotonic()
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    tell(open=time.monotonic() - opening)
    await asyncio.sleep(0.5)  # a session is open before its caller speaks
    tell(spoken=await microphone.ask(question, rate))
    silence = asyncio.create_task(microphone.be_silent(rate))
    try:
        async with asyncio.timeout(order["limit"]):
            await ear.until_quiet()
    except TimeoutError:
        tell(limit=order["limit"])
    tell(history=[[one["role"], one["content"]] for one in context.get_messages()])
    silence.cancel()
    await runner.cancel()
    await running


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    tell(version=f"pipecat-ai {version('pipecat-ai')}")
    asked = json.loads(sys.stdin.read())
    asyncio.run(play(asked, Path(asked["question"]).read_bytes()))
