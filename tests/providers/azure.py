"""Azure Speech: SSML to raw samples, and the list of voices."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from aiohttp import web

from connectors_app.base.connector import Role
from tests.providers.backstage import Answer, chunks, enter, json_answer, received, send
from tests.providers.refusals import refusal
from tests.providers.routes import Kind, Provider, Turn
from tests.providers.ulaw import to_ulaw


def complaint(status: int, message: str, param: str | None) -> tuple[object, Mapping[str, str]]:
    """The service sends no body."""
    return "", {}


AZURE = Provider("azure", complaint)
AZURE_SPEECH = AZURE.route("speech", Kind.RAW_VOICE)
AZURE_VOICES = AZURE.route("voices")

PCM_FORMATS = {f"raw-{rate // 1000}khz-16bit-mono-pcm": rate for rate in (8000, 16_000, 24_000, 48_000)}
PCM_FORMATS |= {f"raw-{rate}hz-16bit-mono-pcm": rate for rate in (22_050, 44_100)}
ULAW_FORMAT = "raw-8khz-8bit-mono-mulaw"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
ATTRIBUTES = {
    "speak": {"version", LANGUAGE},
    "voice": {"name", "effect"},
    "lexicon": {"uri"},
    "lang": {LANGUAGE},
    "express-as": {"style", "styledegree", "role"},
    "prosody": {"rate", "pitch", "volume", "contour", "range"},
}
"""What the service's documents may hold."""
VOICES = ("en-US-JennyNeural", "en-US-GuyNeural", "en-GB-SoniaNeural")
TURNS = (
    Turn(
        Role.TTS,
        "azure",
        AZURE_SPEECH,
        values={"voice": {"voice": VOICES[2]}, "styledegree": {"style": "sad", "styledegree": 1.5}},
    ),
)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/cognitiveservices/v1", speak)
    app.router.add_get("/cognitiveservices/voices/list", list_voices)


def environment(url: str) -> dict[str, str]:
    return {"AZURE_SPEECH_KEY": "stand-in-azure", "AZURE_SPEECH_REGION": "westeurope", "AZURE_SPEECH_BASE_URL": url}


def _key(request: web.Request) -> str | None:
    return request.headers.get("Ocp-Apim-Subscription-Key")


async def list_voices(request: web.Request) -> web.StreamResponse:
    async with received(request, AZURE_VOICES, _key(request)) as (backstage, recorded):
        behaviour = await enter(backstage, recorded, "")
        return await send(request, recorded, behaviour, json_answer([_listed(name) for name in VOICES]))


def _listed(name: str) -> dict[str, str]:
    """As the service lists a voice: its names, where it is from and what it is."""
    display_name = name[6:].removesuffix("Neural")
    return {
        "Name": f"Microsoft Server Speech Text to Speech Voice ({name[:5]}, {name[6:]})",
        "DisplayName": display_name,
        "LocalName": display_name,
        "ShortName": name,
        "Gender": "Male" if display_name == "Guy" else "Female",
        "Locale": name[:5],
        "SampleRateHertz": "24000",
        "VoiceType": "Neural",
        "Status": "GA",
    }


async def speak(request: web.Request) -> web.StreamResponse:
    async with received(request, AZURE_SPEECH, _key(request)) as (backstage, recorded):
        recorded.body = await request.text()
        if not request.headers.get("Content-Type", "").startswith("application/ssml+xml"):
            raise refusal(AZURE, 415)
        wanted = request.headers.get("X-Microsoft-OutputFormat", "")
        if wanted != ULAW_FORMAT and wanted not in PCM_FORMATS:
            raise refusal(AZURE, 400)
        text = _spoken_text(recorded.body)
        behaviour = await enter(backstage, recorded, text)
        rate = PCM_FORMATS.get(wanted, 8000)
        pcm = backstage.voice(text, rate, behaviour)
        pieces = chunks(to_ulaw(pcm), rate) if wanted == ULAW_FORMAT else chunks(pcm, rate * 2)
        return await send(request, recorded, behaviour, Answer("audio/basic", pieces))


def _spoken_text(ssml: str) -> str:
    """The text of a document whose root is `speak` and that names a known voice."""
    try:
        root = ET.fromstring(ssml)
    except ET.ParseError:
        raise refusal(AZURE, 400) from None
    voices = [one.get("name") for one in root.iter() if _tag(one) == "voice"]
    if _tag(root) != "speak" or not voices or any(voice not in VOICES for voice in voices):
        raise refusal(AZURE, 400)
    if not all(root.get(name) for name in ("version", LANGUAGE)) or not all(_is_known(one) for one in root.iter()):
        raise refusal(AZURE, 400)
    return " ".join("".join(root.itertext()).split())


def _is_known(element: ET.Element) -> bool:
    """An element of the service's SSML with the attributes that it takes."""
    return set(element.keys()) <= ATTRIBUTES.get(_tag(element), set())


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
