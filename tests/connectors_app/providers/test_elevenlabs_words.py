"""ElevenLabs tells where words end: whoever goes on says exactly the words that were not heard."""

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from connectors_app.asking import Deadlines
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.voice import Spoken
from connectors_app.elevenlabs_api import ElevenLabsOptions, Message, Said, read_message, read_piece
from connectors_app.speaking import Speaking
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.fakes import Told, chain_of, never_out
from tests.connectors_app.turns import made, made_with, speech_of
from tests.providers.accounts import account
from tests.providers.backstage import CHUNK_MS
from tests.providers.elevenlabs import ELEVENLABS_SPEAK, ELEVENLABS_STREAM, ELEVENLABS_TIMED, RACHEL
from tests.providers.routes import Route
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.tones import encode_words, words

RATE = 8000
CHUNK = RATE * CHUNK_MS // 1000
TEXT = "Your flight to Oslo leaves at 9, from gate B4; please be there."
PATIENT = Deadlines(first_audio=5, stall=5)
WAYS = pytest.mark.parametrize(
    ("transport", "route"), [("websocket", ELEVENLABS_SPEAK), ("http", ELEVENLABS_TIMED)], ids=["websocket", "http"]
)


@asynccontextmanager
async def voice(environ: dict[str, str], **options: Any) -> AsyncIterator[Any]:
    async with made_with(Role.TTS, "elevenlabs", {"voice": RACHEL, **options}, environ) as one:
        yield one


@pytest.fixture
async def stand_ins() -> AsyncIterator[StandIns]:
    """Whose voices can be told by word."""
    async with StandIns(utterances=(QUESTION,), ms_per_char=30, by_word=True) as servers:
        yield servers


async def heard(voices: list[Any], told: Told) -> bytes:
    chain = chain_of(*voices, breakers=never_out())
    async with Speaking(chain, RATE, PATIENT) as speaking, aclosing(speaking.speak(TEXT, told)) as pieces:
        return b"".join([piece async for piece in pieces])


@WAYS
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.SHORT])
async def test_a_break_at_any_chunk_loses_and_doubles_no_word(
    transport: str, route: Route, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    """Short is an answer that is said to be whole; the tail of its last letter alone is not missed."""
    chunks = len(encode_words(TEXT, RATE, 30)) // 2 // CHUNK - (fault is Fault.SHORT)
    async with voice(environ, transport=transport) as first, made(Role.TTS, "azure", environ) as second:
        for after in range(1, chunks):
            stand_ins.steer(route, Behaviour(fault=fault, after=after))
            found = account(TEXT, words(await heard([first, second], told := Told()), RATE))
            assert found.is_exact, f"{fault} after {after} of {chunks} chunks: {found}"
            assert told.failures == [("elevenlabs", ErrorKind.BROKEN)]


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_a_whole_sentence_is_marked_to_its_end(transport: str, environ: dict[str, str]) -> None:
    async with voice(environ, transport=transport) as one, one.open(RATE) as speech:
        pieces = [piece async for piece in speech.speak(TEXT)]
    marks = [piece for piece in pieces if isinstance(piece, Spoken)]
    pcm = b"".join(piece for piece in pieces if not isinstance(piece, Spoken))
    assert account(TEXT, words(pcm, RATE)).is_exact
    assert {mark.characters for mark in marks} == _ends(TEXT)
    assert marks[-1] == Spoken(len(TEXT), len(pcm) // 2)


def _ends(text: str) -> set[int]:
    """Of all words that have a letter or digit."""
    ends, at = set(), 0
    for word in text.split(" "):
        at += len(word) + 1
        if any(map(str.isalnum, word)):
            ends.add(at - 1)
    return ends


# -- messages --------------------------------------------------------------------------------------------


def chunk(audio: bytes, chars: str, starts: list[int], lasts: int, **more: Any) -> Message:
    times = {"charStartTimesMs": starts, "charDurationsMs": [lasts] * len(chars)}
    return read_message(json_of({"audio": b64(audio), "alignment": {"chars": list(chars), **times}, **more}))


def json_of(value: object) -> bytes:
    return msgspec.json.encode(value)


def b64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def marks_of(said: Said, message: Message) -> list[Spoken]:
    return [piece for piece in said.take_message(message) if isinstance(piece, Spoken)]


def test_times_on_the_socket_begin_anew_with_each_chunk() -> None:
    said = Said("One two.", RATE)
    assert marks_of(said, chunk(bytes(3200), "One t", [0, 50, 100, 150, 180], 20)) == [Spoken(3, 960)]
    assert marks_of(said, chunk(bytes(3200), "wo.", [0, 100, 180], 20)) == [Spoken(8, 3200)]


def test_times_over_http_go_on() -> None:
    said = Said("One two.", RATE)
    for chars, ends, found in (
        ("One ", [0.1, 0.2, 0.3, 0.4], Spoken(3, 2400)),
        ("two.", [0.5, 0.6, 0.7, 0.8], Spoken(8, 6400)),
    ):
        times = {"character_start_times_seconds": ends, "character_end_times_seconds": ends}
        line = {"audio_base64": b64(bytes(6400)), "alignment": {"characters": list(chars), **times}}
        assert next(said.take_piece(read_piece(json_of(line)))) == found


def test_a_chunk_may_end_within_a_sample() -> None:
    said = Said("One two.", RATE)
    pieces = [*said.take_message(chunk(b"\1\2\3", "", [], 0)), *said.take_message(chunk(b"\4\5", "", [], 0))]
    assert pieces == [b"\1\2", b"\3\4"] and said.samples == 2


def test_a_chunk_without_times_moves_the_next() -> None:
    said = Said("One two.", RATE)
    assert marks_of(said, read_message(json_of({"audio": b64(bytes(1600)), "alignment": None}))) == []
    nothing = {"chars": None, "charStartTimesMs": None, "charDurationsMs": None}
    assert marks_of(said, read_message(json_of({"audio": None, "alignment": nothing}))) == []
    assert marks_of(said, chunk(bytes(1600), "One", [0, 20, 40], 20)) == [Spoken(3, 800 + 480)]


def test_numbers_written_out_are_no_marks() -> None:
    said = Said("At 9 from B4.", RATE)
    assert marks_of(said, chunk(bytes(8000), "At nine from", [40 * place for place in range(12)], 40)) == [
        Spoken(2, 640)
    ]
    assert marks_of(said, read_message(json_of({"isFinal": True, "audio": None}))) == [Spoken(13, 4000)]


# -- options ---------------------------------------------------------------------------------------------


async def test_without_alignment_there_are_samples_only(environ: dict[str, str], stand_ins: StandIns) -> None:
    async with voice(environ, transport="http", sync_alignment=False) as one, one.open(RATE) as speech:
        pieces = [piece async for piece in speech.speak(TEXT)]
    assert account(TEXT, words(b"".join(pieces), RATE)).is_exact
    assert len(stand_ins.requests_to(ELEVENLABS_STREAM)) == 1


async def test_a_request_says_all_that_was_chosen(environ: dict[str, str], stand_ins: StandIns) -> None:
    chosen = {"model": "eleven_v3", "stability": 0.5, "seed": 1, "language": "de", "apply_text_normalization": "on"}
    options = {**chosen, "pronunciation_dictionary_locators": ["names:v2"], "enable_logging": False}
    async with voice(environ, transport="http", **options) as one:
        await speech_of(one, RATE)
    (request,) = stand_ins.requests_to(ELEVENLABS_TIMED)
    assert request.query == {"output_format": "pcm_8000", "enable_logging": "false"}
    assert request.body == {
        "text": "Good morning to you.",
        "model_id": "eleven_v3",
        "voice_settings": {"stability": 0.5},
        "pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "names", "version_id": "v2"}],
        "language_code": "de",
        "seed": 1,
        "apply_text_normalization": "on",
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"model": "eleven_v3"}, "set `transport` to http"),
        ({"model": "eleven_v4_turbo"}, "set `transport` to http"),
        ({"transport": "http", "enable_ssml_parsing": True}, "needs the transport websocket"),
        ({"pronunciation_dictionary_locators": ["names"]}, "an id, a colon and a version's id"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ElevenLabsOptions(**options)


async def test_a_wrong_name_is_told_when_warm(environ: dict[str, str]) -> None:
    async with voice(environ, voice="Rachell") as one:
        with pytest.raises(ProviderError, match="no voice named “Rachell”; near to it: Rachel"):
            await one.warm()
