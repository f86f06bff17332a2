"""The process that holds PocketSphinx: recognises whole utterances, each by the grammar that comes with it.

Run with the parent's process id. A request is the rate of the wire, the length of the grammar, the grammar in JSGF and
the utterance's samples at MODEL_RATE; the answer is the sentence, or nothing where none was understood.

A sentence is understood when it is a whole one of the grammar and when the audio really sounds like it: the score of
each frame is relative to the best sound of the model, and speech from outside the grammar fits its words badly.
"""

import math
import struct
import sys
import tempfile
from collections import OrderedDict
from typing import Any

from connectors_app.providers.offline import jsgf
from connectors_app.providers.offline.dictionary import entries, model_folder
from connectors_app.providers.offline.pipe import Kind, Pipe

MODEL_RATE = 16_000
REQUEST = struct.Struct("<II")
GRAMMARS = 8
"""Decoders that are kept, each for one grammar: 6 MB apiece with a dictionary of its own words."""
WORDS_FIT = -3.8
NARROW_WORDS_FIT = -4.2
"""A frame's mean score over all words, as a natural logarithm, below which the sentence is a guess. A wire of less than
MODEL_RATE has less of what tells consonants apart, and fits worse."""
WORST_WORD_FITS = -9.75


class Ear:
    """One grammar and its decoder."""

    def __init__(self, grammar: str) -> None:
        from pocketsphinx import Decoder

        parsed = jsgf.parse(grammar)
        self._sentences = parsed.expression(parsed.public)
        with tempfile.NamedTemporaryFile("w", suffix=".dict") as dictionary:
            dictionary.writelines(entries(parsed.words()))
            dictionary.flush()
            self._decoder: Any = Decoder(
                hmm=str(model_folder() / "en-us"), dict=dictionary.name, lm=None, loglevel="FATAL", wip=0.2
            )
        self._decoder.add_jsgf_string("grammar", parsed.text())
        self._decoder.activate_search("grammar")

    def understand(self, samples: bytes, words_fit: float) -> str:
        """With the whole utterance at hand its mean spectrum is known, which the recognition is better for.

        The decoder would keep the noise of the last utterance in mind, which was another caller's.
        """
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        sentence = best.hypstr if best else ""
        return sentence if self._sentences.fullmatch(sentence + " ") and self._fits(words_fit) else ""

    def _fits(self, words_fit: float) -> bool:
        words = [part for part in self._decoder.seg() if not part.word.startswith(("<", "[", "("))]
        frames: list[int] = [part.end_frame - part.start_frame + 1 for part in words]
        scores: list[float] = [math.log(max(part.ascore, sys.float_info.min)) for part in words]
        worst = min(score / count for score, count in zip(scores, frames, strict=True))
        mean = sum(scores) / sum(frames)
        return mean > words_fit and worst > WORST_WORD_FITS


class Ears:
    """The grammars that were used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Ear] = OrderedDict()

    def understand(self, request: bytes) -> str:
        rate, length = REQUEST.unpack_from(request)
        samples = REQUEST.size + length
        ear = self._of(request[REQUEST.size : samples].decode())
        return ear.understand(request[samples:], WORDS_FIT if rate >= MODEL_RATE else NARROW_WORDS_FIT)

    def _of(self, grammar: str) -> Ear:
        ear = self._kept.pop(grammar, None) or Ear(grammar)
        self._kept[grammar] = ear
        if len(self._kept) > GRAMMARS:
            self._kept.popitem(last=False)
        return ear


def main() -> None:
    pipe = Pipe(int(sys.argv[1]))
    ears = Ears()
    for number, request in pipe.requests():
        pipe.send(Kind.DONE, number, ears.understand(request).encode())


if __name__ == "__main__":
    main()
