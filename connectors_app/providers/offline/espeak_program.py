"""The process that holds espeak-ng: a GPL library, which is therefore never loaded into a process of ours.

Run with the parent's process id, the path of the library and that of its data.
"""

import ctypes
import struct
import sys
from pathlib import Path

from connectors_app.providers.offline.pipe import Kind, Pipe

NATIVE_RATE = 22_050
REQUEST = struct.Struct("<HBB")
"""Words per minute, pitch, length of the voice's name; the name and the text follow."""

_SYNCHRONOUS = 2
_PIECE_MS = 60
_OK = 0
_CHARACTER = 1
_UTF8 = 1
_RATE, _PITCH = 1, 3
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Voice(ctypes.Structure):
    """espeak_VOICE, of which only the language is asked for."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("private_byte", ctypes.c_ubyte),
        ("private_score", ctypes.c_int),
        ("private_pointer", ctypes.c_void_p),
    ]


class Synthesizer:
    def __init__(self, pipe: Pipe, library: str, data: str) -> None:
        self._pipe = pipe
        self._variants = Path(data, "voices", "!v")
        self._number = 0
        self._voice = b""
        self._espeak = ctypes.CDLL(library)
        self._espeak.espeak_Synth.argtypes = (
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
        self._espeak.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        if self._espeak.espeak_Initialize(_SYNCHRONOUS, _PIECE_MS, data.encode(), 0) != NATIVE_RATE:
            raise SystemExit("espeak-ng does not start: its data is missing or of another version")
        self._callback = _Callback(self._take)
        self._espeak.espeak_SetSynthCallback(self._callback)

    def speak(self, number: int, request: bytes) -> None:
        words_per_minute, pitch, length = REQUEST.unpack_from(request)
        voice, text = request[REQUEST.size : REQUEST.size + length], request[REQUEST.size + length :] + b"\0"
        if not self._use(voice):
            self._pipe.send(Kind.FAILED, number, f"espeak-ng has no voice “{voice.decode()}”".encode())
            return
        self._number = number
        self._espeak.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._espeak.espeak_SetParameter(_PITCH, pitch, 0)
        self._espeak.espeak_Synth(text, len(text), 0, _CHARACTER, 0, _UTF8, None, None)
        self._pipe.send(Kind.DONE, number)

    def _use(self, voice: bytes) -> bool:
        """By name, else by language; an unknown variant would be ignored without a word."""
        if voice == self._voice:
            return True
        language, plus, variant = voice.partition(b"+")
        found = not plus or Path(self._variants, variant.decode()).is_file()
        if found and self._espeak.espeak_SetVoiceByName(voice) != _OK:
            by_language = _Voice(languages=language)
            found = self._espeak.espeak_SetVoiceByProperties(ctypes.byref(by_language)) == _OK
            name = self._espeak.espeak_GetCurrentVoice().contents.identifier
            found = found and self._espeak.espeak_SetVoiceByName(name.rpartition(b"/")[2] + plus + variant) == _OK
        self._voice = voice if found else b""
        return found

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count:
            self._pipe.send(Kind.PART, self._number, ctypes.string_at(samples, count * 2))
        return int(self._pipe.is_cancelled(self._number))


def main() -> None:
    parent, library, data = sys.argv[1:]
    pipe = Pipe(int(parent))
    synthesizer = Synthesizer(pipe, library, data)
    for number, request in pipe.requests():
        synthesizer.speak(number, request)


if __name__ == "__main__":
    main()
