"""The Azure Speech stand-in, asked by HTTP as its REST interface is described."""

import aiohttp
import pytest

from tests.providers import tones
from tests.providers.azure import AZURE_SPEECH
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.ulaw import from_ulaw

TEXT = "The ferry leaves at ten & arrives at noon."
SSML = (
    '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="en-US">'
    '<voice name="en-US-JennyNeural">The ferry leaves at ten &amp; arrives at noon.</voice></speak>'
)


async def speak(
    standins: StandIns, ssml: str = SSML, wanted: str = "raw-16khz-16bit-mono-pcm", key: str = "key"
) -> tuple[int, bytes]:
    headers = {
        "Ocp-Apim-Subscription-Key": key,
        "Content-Type": "application/ssml+xml",
        "X-Microsoft-OutputFormat": wanted,
    }
    async with (
        aiohttp.ClientSession(standins.url, headers=headers) as session,
        session.post("/cognitiveservices/v1", data=ssml.encode()) as response,
    ):
        return response.status, await response.read()


async def test_ssml_is_spoken(standins: StandIns) -> None:
    status, pcm = await speak(standins)
    assert status == 200 and tones.is_exact(TEXT, tones.decode(pcm, 16_000))
    assert standins.requests_to(AZURE_SPEECH)[0].body == SSML


async def test_ulaw_is_spoken(standins: StandIns) -> None:
    _, data = await speak(standins, wanted="raw-8khz-8bit-mono-mulaw")
    assert tones.is_exact(TEXT, tones.decode(from_ulaw(data), 8000))


@pytest.mark.parametrize("ssml", ["plain words", "<speak/>", SSML.replace("Jenny", "Nobody")])
async def test_wrong_ssml_is_refused(standins: StandIns, ssml: str) -> None:
    assert (await speak(standins, ssml))[0] == 400


async def test_an_unknown_format_is_refused(standins: StandIns) -> None:
    assert (await speak(standins, wanted="audio-16khz-32kbitrate-mono-mp3"))[0] == 400


async def test_a_revoked_key_is_refused(standins: StandIns) -> None:
    assert (await speak(standins, key="revoked"))[0] == 401


async def test_speech_can_be_refused(standins: StandIns) -> None:
    standins.steer(AZURE_SPEECH, Behaviour(fault=Fault.REFUSE, status=429))
    assert (await speak(standins))[0] == 429
