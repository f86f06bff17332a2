"""The process that holds a Vosk model: hears the utterances of many callers, each as it comes.

Run with the parent's process id and the model's folder. A request is what to do, the utterance's number, the bytes of
it that were sent before, and samples at 16 kHz, or for BEGIN a list of phrases as JSON; the answer is JSON. An empty
request asks whether the model is there.
"""

import json
import struct
import sys
from enum import IntEnum
from typing import Any

from connectors_app.providers.offline.pipe import Kind, Pipe

MODEL_RATE = 16_000
REQUEST = struct.Struct("<BII")
LOST = b'{"lost":true}'
"""The process is another one than that which heard the beginning."""


class Do(IntEnum):
    BEGIN = 0
    HEAR = 1
    FINISH = 2
    DROP = 3


class Utterance:
    def __init__(self, model: Any, phrases: list[str]) -> None:
        from vosk import KaldiRecognizer

        grammar = (json.dumps([*phrases, "[unk]"]),) if phrases else ()
        self._recognizer: Any = KaldiRecognizer(model, MODEL_RATE, *grammar)
        self._recognizer.SetWords(True)
        self._segments: list[dict[str, Any]] = []
        self.heard = 0

    def hear(self, samples: bytes) -> dict[str, Any]:
        self.heard += len(samples)
        if self._recognizer.AcceptWaveform(samples):
            self._segments.append(json.loads(self._recognizer.Result()))
            return {"text": self._text()}
        return {"text": self._text(json.loads(self._recognizer.PartialResult()).get("partial", ""))}

    def finish(self) -> dict[str, Any]:
        self._segments.append(json.loads(self._recognizer.FinalResult()))
        sure = [word["conf"] for segment in self._segments for word in segment.get("result", ()) if "conf" in word]
        return {"text": self._text(), "confidence": sum(sure) / len(sure) if sure else None}

    def _text(self, rest: str = "") -> str:
        texts = [*(segment.get("text", "") for segment in self._segments), rest]
        return " ".join(text for text in texts if text and text != "[unk]")


class Utterances:
    """Those that have begun and are neither finished nor dropped."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._open: dict[int, Utterance] = {}

    def answer(self, request: bytes) -> bytes:
        if not request:
            return b""
        do, number, before = REQUEST.unpack_from(request)
        body = request[REQUEST.size :]
        if do == Do.BEGIN:
            self._open[number] = Utterance(self._model, json.loads(body))
            return b"{}"
        utterance = self._open.pop(number, None)
        if do == Do.DROP:
            return b"{}"
        if utterance is None or utterance.heard != before:
            return LOST
        if do == Do.FINISH:
            return json.dumps(utterance.finish()).encode()
        self._open[number] = utterance
        return json.dumps(utterance.hear(body)).encode()


def main() -> None:
    pipe = Pipe(int(sys.argv[1]))
    why = b""
    utterances = Utterances(None)
    try:
        from vosk import Model, SetLogLevel

        SetLogLevel(-1)
        utterances = Utterances(Model(sys.argv[2]))
    except Exception as error:  # noqa: BLE001
        why = f"the model cannot be loaded ({type(error).__name__}: {error})"[:300].encode()
    for number, request in pipe.requests():
        if why:
            pipe.send(Kind.FAILED, number, why)
        else:
            pipe.send(Kind.DONE, number, utterances.answer(request))


if __name__ == "__main__":
    main()
