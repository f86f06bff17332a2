"""Spoken callers: sentences as s16le mono PCM at any rate, synthesised by espeak-ng and kept on disk."""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import espeakng_loader
import numpy as np
import soxr

VOICE = "en-us"
WORDS_PER_MINUTE = 165
_PROGRAM = Path(__file__).with_name("espeak_process.py")

UTTERANCES = (
    "What time do you open tomorrow morning?",
    "I would like to book a table for four people.",
    "Can you tell me where my order is?",
    "My account number is five seven two nine.",
    "Please cancel the appointment on Friday.",
    "How much does the annual subscription cost?",
    "I need to speak with somebody about my invoice.",
    "Do you have parking near the building?",
    "The delivery arrived with a broken window.",
    "Could you repeat the last part again please?",
    "I forgot the password of my email account.",
    "Is the swimming pool closed during the holidays?",
    "We are looking for a hotel close to the airport.",
    "Yes that sounds perfect to me.",
    "No thank you that will be everything.",
    "My daughter has had a fever since yesterday evening.",
    "Which bus goes to the central station?",
    "I want to change the address of my delivery.",
    "Does the red jacket come in a larger size?",
    "Please tell me a long story about the sea.",
    "The internet has been down since nine this morning.",
    "Can I pay with a credit card at the restaurant?",
    "I would like to renew my driving licence.",
    "How many rooms does the apartment have?",
    "Send the receipt to my office please.",
    "There is water coming out of the washing machine.",
    "What is the weather going to be like on Sunday?",
    "I am calling about the job in the newspaper.",
    "Could somebody pick me up at half past six?",
    "The doctor said I should call again this week.",
    "Are dogs allowed inside the museum?",
    "Please put me through to the sales department.",
    "I bought a telephone here three weeks ago.",
    "Our meeting has moved to Wednesday afternoon.",
    "When will the next train to the mountains leave?",
    "Everything on the bill looks wrong to me.",
    "Do I need a visa for a short visit?",
    "My name is Alexandra and I live in the old town.",
    "You charged me twice for the same ticket.",
    "Is there a vegetarian menu for the children?",
)
"""What callers say: 40 sentences of one clause each, none the beginning of another."""


def speak(text: str, rate: int = 8000) -> bytes:
    """One sentence as s16le mono; a repeated question is answered from the disk."""
    return speak_all((text,), rate)[text]


def speak_all(texts: Iterable[str] = UTTERANCES, rate: int = 8000) -> dict[str, bytes]:
    """Many sentences; those that are not on the disk yet share one process."""
    files = {text: _cached(text, rate) for text in texts}
    missing = [text for text, file in files.items() if not file.exists()]
    if missing:
        for text, pcm in zip(missing, _synthesise(missing, rate), strict=True):
            _keep(files[text], pcm)
    return {text: file.read_bytes() for text, file in files.items()}


def _cached(text: str, rate: int) -> Path:
    folder = Path(tempfile.gettempdir()) / f"meshag-speech-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(f"{VOICE} {WORDS_PER_MINUTE} {rate} {text}".encode()).hexdigest()[:32]
    return folder / f"{name}.s16le"


def _keep(file: Path, pcm: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as unfinished:
        unfinished.write(pcm)
    Path(unfinished.name).replace(file)


def _synthesise(texts: list[str], rate: int) -> Iterator[bytes]:
    order = {
        "library": espeakng_loader.get_library_path(),
        "data": espeakng_loader.get_data_path(),
        "voice": VOICE,
        "words_per_minute": WORDS_PER_MINUTE,
        "texts": texts,
    }
    spoken = subprocess.run(
        [sys.executable, "-I", str(_PROGRAM)], input=json.dumps(order).encode() + b"\n", capture_output=True, check=True
    ).stdout
    stream = io.BytesIO(spoken)
    (own_rate,) = struct.unpack("<I", stream.read(4))
    for _ in texts:
        (size,) = struct.unpack("<I", stream.read(4))
        yield resample(stream.read(size), own_rate, rate)


def resample(pcm: bytes, source: int, target: int) -> bytes:
    """s16le mono at another rate."""
    if source == target:
        return pcm
    return np.asarray(soxr.resample(np.frombuffer(pcm, "<i2"), source, target)).astype("<i2").tobytes()
