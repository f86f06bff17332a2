"""The process that holds a Whisper model by faster-whisper: writes down whole utterances, one after the other.

Run with the parent's process id, the model's folder, device, type of computation and number of threads. A request is
the length of its options, the options as JSON and samples at 16 kHz; the answer is JSON. One without samples asks
whether the model is there and takes the options.
"""

import json
import math
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

from connectors_app.providers.offline.model_program import Answering, Refused, serve

REQUEST = struct.Struct("<I")
WINDOW = 16_000 * 30
"""Samples that Whisper hears at once. Of more, times say where a window's last word ends; without, words are lost."""
TOKENIZER = "tokenizer.json"
"""Where it is missing, the library asks the network for one."""


def load(folder: str, device: str, compute_type: str, threads: str) -> Answering:
    # Threads that wait for each other would keep the processor busy, and on a busy one take many times as long.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    from faster_whisper import WhisperModel

    if Path(folder, "model.bin").is_file() and not Path(folder, TOKENIZER).is_file():
        raise Refused(f"{TOKENIZER} is missing in its folder")
    model = WhisperModel(
        folder, device=device, compute_type=compute_type, cpu_threads=int(threads), local_files_only=True
    )
    return partial(write_down, model)


def write_down(model: Any, request: bytes) -> bytes:
    import numpy as np

    (length,) = REQUEST.unpack_from(request)
    options = json.loads(request[REQUEST.size : REQUEST.size + length])
    samples = np.frombuffer(request[REQUEST.size + length :], "<i2").astype(np.float32) / 32768
    check_language(model, options.get("language"))
    if not samples.size:
        return b"{}"
    short = samples.size <= WINDOW
    found, info = model.transcribe(samples, condition_on_previous_text=False, without_timestamps=short, **options)
    segments = list(found)
    sure = [segment.avg_logprob for segment in segments]
    told = {
        "text": "".join(segment.text for segment in segments).strip(),
        "language": info.language,
        "confidence": math.exp(sum(sure) / len(sure)) if sure else None,
    }
    return json.dumps(told).encode()


def check_language(model: Any, language: str | None) -> None:
    """A model of English alone would take any language for English."""
    known = model.supported_languages
    if language and language not in known:
        only = f"; it knows {known[0]} only" if len(known) == 1 else ""
        raise Refused(f"the model does not know the language “{language}”{only}")


if __name__ == "__main__":
    serve(load)
