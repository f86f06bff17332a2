"""Speaks lines with espeak-ng; run as a process of its own, so that the GPL library is never part of one of ours.

Reads one JSON line: {"library", "data", "voice", "words_per_minute", "texts"}. Writes the rate (4 bytes), then for each
text its length (4 bytes) and its samples, all little-endian, s16le mono.
"""

import ctypes
import json
import struct
import sys

SYNCHRONOUS = 2
UTF8 = 1
RATE_PARAMETER = 1

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    espeak = ctypes.CDLL(order["library"])
    heard = bytearray()

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count:
            heard.extend(ctypes.string_at(samples, count * 2))
        return 0

    callback = Callback(collect)
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, order["data"].encode(), 0)
    if rate <= 0:
        raise SystemExit("espeak-ng did not start")
    espeak.espeak_SetSynthCallback(callback)
    espeak.espeak_SetVoiceByName(order["voice"].encode())
    espeak.espeak_SetParameter(RATE_PARAMETER, order["words_per_minute"], 0)
    sys.stdout.buffer.write(struct.pack("<I", rate))
    for text in order["texts"]:
        heard.clear()
        line = text.encode() + b"\0"
        espeak.espeak_Synth(line, len(line), 0, 0, 0, UTF8, None, None)
        espeak.espeak_Synchronize()
        sys.stdout.buffer.write(struct.pack("<I", len(heard)) + heard)


if __name__ == "__main__":
    main()
