"""Stand-ins for the tests of the stand-ins, and the real SDKs as their clients."""

from collections.abc import AsyncIterator

import anthropic
import httpx
import openai
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from elevenlabs.client import AsyncElevenLabs

from tests.providers.standins import StandIns


@pytest.fixture
async def standins() -> AsyncIterator[StandIns]:
    async with StandIns() as running:
        yield running


@pytest.fixture
async def openai_client(standins: StandIns) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{standins.url}/v1", api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(standins: StandIns) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=standins.url, api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Two SDKs never close a client of their own."""
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def deepgram_client(standins: StandIns, http: httpx.AsyncClient) -> AsyncDeepgramClient:
    socket = standins.url.replace("http", "ws")
    here = DeepgramClientEnvironment(base=standins.url, production=socket, agent=socket, agent_rest=standins.url)
    return AsyncDeepgramClient(api_key="key", environment=here, httpx_client=http)


@pytest.fixture
def elevenlabs_client(standins: StandIns, http: httpx.AsyncClient) -> AsyncElevenLabs:
    return AsyncElevenLabs(base_url=standins.url, api_key="key", httpx_client=http)
