"""The process that holds Piper: a GPL library, which is therefore never loaded into a process of ours.

Run with the parent's process id and the folder of the voices. A request is JSON; the answer is the voice's rate, then
its samples, a sentence at a time as Piper makes them. A request without text loads the voice.
"""

import json
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors_app.providers.offline.pipe import Kind, Pipe

RATE = struct.Struct("<I")
VOICES = 4
"""That are kept, each some 60 MB."""
_PIECE_SECONDS = 0.25


class Refused(Exception):
    """Said to whoever chose the voice."""


class Voices:
    """Those that were used last."""

    def __init__(self, folder: Path) -> None:
        self._piper = import_module("piper")
        self._folder = folder
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def of(self, name: str) -> Any:
        voice = self._kept.pop(name, None) or self._load(name)
        self._kept[name] = voice
        if len(self._kept) > VOICES:
            self._kept.popitem(last=False)
        return voice

    def _load(self, name: str) -> Any:
        model = self._folder / f"{name}.onnx"
        missing = next((path for path in (model, Path(f"{model}.json")) if not path.is_file()), None)
        if missing:
            raise Refused(f"Piper's voice “{name}” is not complete: {missing.name} is missing beside the other voices")
        return self._piper.PiperVoice.load(model)

    def chunks(self, request: dict[str, Any]) -> Any:
        voice = self.of(request["voice"])
        config = self._piper.SynthesisConfig(**request["config"])
        if (config.speaker_id or 0) >= max(voice.config.num_speakers, 1):
            raise Refused(
                f"Piper's voice “{request['voice']}” has {voice.config.num_speakers} speakers, counted from 0"
            )
        return voice.config.sample_rate, voice.synthesize(request["text"], config) if request["text"] else ()


def speak(pipe: Pipe, voices: Voices, number: int, request: dict[str, Any]) -> None:
    rate, chunks = voices.chunks(request)
    pipe.send(Kind.PART, number, RATE.pack(rate))
    for pcm in pieces(rate, chunks):
        if pipe.is_cancelled(number):
            break
        pipe.send(Kind.PART, number, pcm)
    pipe.send(Kind.DONE, number)


def pieces(rate: int, chunks: Iterable[Any]) -> Iterator[bytes]:
    size = 2 * round(rate * _PIECE_SECONDS)
    for chunk in chunks:
        pcm = chunk.audio_int16_bytes
        for start in range(0, len(pcm), size):
            yield pcm[start : start + size]


def main() -> None:
    parent, folder = sys.argv[1:]
    pipe = Pipe(int(parent))
    voices = Voices(Path(folder))
    for number, request in pipe.requests():
        asked = json.loads(request)
        try:
            speak(pipe, voices, number, asked)
        except Refused as refusal:
            pipe.send(Kind.FAILED, number, str(refusal).encode())
        except Exception as error:  # noqa: BLE001
            why = f"Piper cannot speak with the voice “{asked['voice']}” ({type(error).__name__})"
            pipe.send(Kind.FAILED, number, why.encode())


if __name__ == "__main__":
    main()
