"""The process that holds a Whisper model by faster-whisper: writes down whole utterances, one after the other.

Run with the parent's process id, the model's folder, device, type of computation and number of threads. A request is
the length of its options, the options as JSON and samples at 16 kHz; the answer is JSON. An empty request asks whether
the model is there.
"""

import json
import math
import struct
import sys
from typing import Any

from connectors_app.providers.offline.pipe import Kind, Pipe

REQUEST = struct.Struct("<I")


def load(folder: str, device: str, compute_type: str, threads: str) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(
        folder, device=device, compute_type=compute_type, cpu_threads=int(threads), local_files_only=True
    )


def write_down(model: Any, request: bytes) -> bytes:
    import numpy as np

    (length,) = REQUEST.unpack_from(request)
    options = json.loads(request[REQUEST.size : REQUEST.size + length])
    samples = np.frombuffer(request[REQUEST.size + length :], "<i2").astype(np.float32) / 32768
    found, info = model.transcribe(samples, condition_on_previous_text=False, without_timestamps=True, **options)
    segments = list(found)
    sure = [segment.avg_logprob for segment in segments]
    told = {
        "text": "".join(segment.text for segment in segments).strip(),
        "language": info.language,
        "confidence": math.exp(sum(sure) / len(sure)) if sure else None,
    }
    return json.dumps(told).encode()


def main() -> None:
    pipe = Pipe(int(sys.argv[1]))
    model: Any = None
    why = b""
    try:
        model = load(*sys.argv[2:])
    except Exception as error:  # noqa: BLE001
        why = f"the model cannot be loaded ({type(error).__name__}: {error})"[:300].encode()
    for number, request in pipe.requests():
        if why:
            pipe.send(Kind.FAILED, number, why)
        else:
            pipe.send(Kind.DONE, number, write_down(model, request) if request else b"")


if __name__ == "__main__":
    main()
