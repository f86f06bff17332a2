"""Azure's voices: what is asked in SSML, by which name, and audio in whole samples."""

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.providers.azure import AzureOptions, AzureVoice
from tests.connectors_app.turns import made_with, speech_of
from tests.providers.azure import AZURE_SPEECH, AZURE_VOICES
from tests.providers.standins import StandIns

ALL = {
    "voice": "en-US-JennyNeural",
    "rate": 1.2,
    "pitch": 5,
    "volume": 80,
    "style": "cheerful",
    "styledegree": 1.5,
    "role": "OlderAdultMale",
    "language": "de-DE",
    "lexicon": "https://example.com/names.xml",
    "effect": "eq_telecomhp8k",
}


def document(**options: Any) -> list[tuple[str, dict[str, str]]]:
    """The elements of a request, outermost first, without their namespaces."""
    root = ET.fromstring(AzureOptions(**options).ssml("Hello.", "en-US-JennyNeural"))
    return [(_bare(one.tag), {_bare(name): value for name, value in one.items()}) for one in root.iter()]


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def test_every_option_has_its_place() -> None:
    assert document(**ALL) == [
        ("speak", {"version": "1.0", "lang": "en-US"}),
        ("voice", {"name": "en-US-JennyNeural", "effect": "eq_telecomhp8k"}),
        ("lexicon", {"uri": "https://example.com/names.xml"}),
        ("lang", {"lang": "de-DE"}),
        ("express-as", {"style": "cheerful", "styledegree": "1.5", "role": "OlderAdultMale"}),
        ("prosody", {"rate": "1.2", "pitch": "+5%", "volume": "80"}),
    ]


def test_without_options_only_the_voice_is_named() -> None:
    assert [tag for tag, _ in document()] == ["speak", "voice"]


@pytest.mark.parametrize("style", ["cheerful", "narration-professional", "sports_commentary_excited"])
def test_every_styles_name_is_one(style: str) -> None:
    assert ("express-as", {"style": style}) in document(style=style)


def test_control_characters_are_not_sent() -> None:
    assert "Hello." in AzureOptions().ssml("Hel\x00\x1blo.", "en-US-JennyNeural")


@pytest.mark.parametrize(
    "options",
    [{"rate": 0.4}, {"pitch": 51}, {"volume": 101}, {"style": "a b"}, {"styledegree": 3, "style": "sad"}]
    + [{"styledegree": 1}, {"lexicon": "http://example.com"}, {"effect": "eq"}, {"language": "german"}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        AzureOptions(**options)


async def test_every_option_is_accepted(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "azure", ALL, environ) as voice:
        assert (await speech_of(voice))[0]


async def test_a_short_name_is_looked_up_once(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "azure", {"voice": "sonia"}, environ) as voice:
        await voice.warm()
        await speech_of(voice)
        await speech_of(voice)
    assert len(stand_ins.requests_to(AZURE_VOICES)) == 1
    assert 'name="en-GB-SoniaNeural"' in stand_ins.requests_to(AZURE_SPEECH)[0].body


async def test_a_full_name_needs_no_look(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with made_with(Role.TTS, "azure", {}, environ) as voice:
        await speech_of(voice)
    assert not stand_ins.requests_to(AZURE_VOICES)


@pytest.mark.parametrize("wrong", ["en-US-JenyNeural", "Jeny"])
async def test_a_wrong_name_is_told_when_warm(wrong: str, environ: dict[str, str]) -> None:
    async with made_with(Role.TTS, "azure", {"voice": wrong}, environ) as voice:
        with pytest.raises(ProviderError, match=f"“{wrong}”; near to it: en-US-JennyNeural") as caught:
            await voice.warm()
    assert caught.value.kind is ErrorKind.REQUEST


@pytest.fixture
async def crooked() -> AsyncIterator[str]:
    """A server whose pieces end in the middle of samples, and whose last sample is half a one."""

    async def speak(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"\x01", b"\x02\x03\x04\x05", b"\x06\x07"):
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_post("/cognitiveservices/v1", speak)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


async def test_samples_are_whole(crooked: str) -> None:
    environ = {"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_REGION": "westeurope", "AZURE_SPEECH_BASE_URL": crooked}
    async with made_with(Role.TTS, "azure", {}, environ) as voice, voice.open(8000) as speech:
        pieces = [piece async for piece in speech.speak("Hello.")]
    assert all(len(piece) % 2 == 0 for piece in pieces) and b"".join(pieces) == b"\x01\x02\x03\x04\x05\x06"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("westeurope", "westeurope.tts.speech.microsoft.com"),
        ("chinaeast2", "chinaeast2.tts.speech.azure.cn"),
        ("usgovvirginia", "usgovvirginia.tts.speech.azure.us"),
    ],
)
def test_the_region_makes_the_address(region: str, host: str) -> None:
    found = AzureVoice.credentials_from({"AZURE_SPEECH_KEY": "k", "AZURE_SPEECH_REGION": region})
    assert found.base_url == f"https://{host}"
