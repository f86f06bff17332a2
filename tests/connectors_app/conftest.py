"""Stand-ins for every provider with a wire, and the environment that points at them."""

from collections.abc import AsyncIterator

import pytest

from tests import speech
from tests.providers.standins import StandIns
from tests.settings import LOCAL_MODELS

QUESTION = speech.UTTERANCES[0]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine on which the tests run."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def stand_ins() -> AsyncIterator[StandIns]:
    async with StandIns(utterances=(QUESTION,), ms_per_char=30) as servers:
        yield servers


@pytest.fixture
def environ(stand_ins: StandIns) -> dict[str, str]:
    env = stand_ins.env
    return {**env, **LOCAL_MODELS, "CUSTOM_BASE_URL": env["OPENAI_BASE_URL"], "CUSTOM_API_KEY": "stand-in-custom"}


@pytest.fixture
def question() -> bytes:
    """What a caller asks, at 8 kHz."""
    return speech.speak(QUESTION, 8000)
