"""The process that holds a Vosk model: hears the utterances of many callers, each as it comes.

Run with the parent's process id and the model's folder. A request is what to do, the utterance's number, the bytes of
it that were sent before, and samples at 16 kHz, or for BEGIN a list of phrases as JSON; the answer is JSON.
"""

import json
import struct
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any

from connectors_app.providers.offline.model_program import Answering, Refused, serve

MODEL_RATE = 16_000
REQUEST = struct.Struct("<BII")
LOST = b'{"lost":true}'
"""The process is another one than that which heard the beginning."""
UNKNOWN = "[unk]"
"""In a grammar: anything else. Not every model has it."""
GRAPH = "HCLr.fst"
"""Only models with this file take a grammar; others would hear anything without a word."""
_MISSING = -1


class Do(IntEnum):
    BEGIN = 0
    HEAR = 1
    FINISH = 2
    DROP = 3


class Utterance:
    def __init__(self, model: Any, *grammar: str) -> None:
        from vosk import KaldiRecognizer

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
        heard = [word for segment in self._segments for word in segment.get("result", ())]
        sure = [word["conf"] for word in heard if "conf" in word and is_word(word["word"])]
        return {"text": self._text(), "confidence": sum(sure) / len(sure) if sure else None}

    def _text(self, rest: str = "") -> str:
        texts = [*(segment.get("text", "") for segment in self._segments), rest]
        return " ".join(word for text in texts for word in text.split() if is_word(word))


class Utterances:
    """Those that have begun and are neither finished nor dropped."""

    def __init__(self, model: Any, takes_phrases: bool) -> None:
        self._model = model
        self._takes_phrases = takes_phrases
        self._open: dict[int, Utterance] = {}

    def answer(self, request: bytes) -> bytes:
        do, number, before = REQUEST.unpack_from(request)
        body = request[REQUEST.size :]
        if do == Do.BEGIN:
            self._open[number] = Utterance(self._model, *self._grammar(json.loads(body)))
            return b"{}"
        utterance = self._open.pop(number, None)
        if do == Do.DROP:
            return b"{}"
        if utterance is None or utterance.heard != before:
            return LOST
        if do == Do.FINISH:
            return json.dumps(utterance.finish()).encode()
        answer = json.dumps(utterance.hear(body)).encode()
        self._open[number] = utterance
        return answer

    def _grammar(self, phrases: list[str]) -> Iterable[str]:
        """In letters as they are: Vosk does not read JSON's escapes."""
        if not phrases:
            return ()
        if not self._takes_phrases:
            raise Refused(f"the model takes no phrases: take a small one, with a file {GRAPH}")
        known = [" ".join(self._known(word) for word in phrase.split()) for phrase in phrases]
        more = [UNKNOWN] if self._has(UNKNOWN) else []
        return (json.dumps([*known, *more], ensure_ascii=False),)

    def _known(self, word: str) -> str:
        """As the model writes it. Vosk would leave out one that it does not know."""
        for written in (word, word.lower()):
            if self._has(written):
                return written
        raise Refused(f"the model does not know the word “{word}” of `phrases`")

    def _has(self, word: str) -> bool:
        return bool(self._model.vosk_model_find_word(word) != _MISSING)


def is_word(heard: str) -> bool:
    """Not a mark, such as that of a word outside the grammar, or of noise."""
    return not (heard.startswith(("[", "<")) and heard.endswith(("]", ">")))


def load(folder: str) -> Answering:
    from vosk import Model, SetLogLevel

    SetLogLevel(-1)
    model = Model(folder)
    Utterance(model)  # some of a model's files are read only then
    return Utterances(model, takes_phrases=any(Path(folder).rglob(GRAPH))).answer


if __name__ == "__main__":
    serve(load)
