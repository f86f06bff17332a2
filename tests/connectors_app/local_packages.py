"""Stand-ins for packages that MeshAG does not install: what the providers use of their documented interfaces.

Checked against faster-whisper 1.2.1 and vosk 0.3.45, which test_local_models.py uses where they and models are there.
A model is a folder with files `model` and `graph` in it; what it is asked is written down beside them.
"""

from pathlib import Path

from tests.settings import LOCAL_MODELS

FASTER_WHISPER = """
import json, time, types
from pathlib import Path

class WhisperModel:
    supported_languages = ["en", "de"]

    def __init__(self, model_size_or_path, device="auto", device_index=0, compute_type="default", cpu_threads=0,
                 num_workers=1, download_root=None, local_files_only=False):
        self.folder = Path(model_size_or_path)
        if not (self.folder / "model").is_file():
            raise RuntimeError("Unable to open file 'model.bin' in model")
        self.loaded = {"device": device, "compute_type": compute_type, "cpu_threads": cpu_threads}

    def transcribe(self, audio, language=None, task="transcribe", beam_size=5, temperature=0.0,
                   no_speech_threshold=0.6, condition_on_previous_text=True, initial_prompt=None,
                   without_timestamps=False, vad_filter=False, hotwords=None):
        asked = {**self.loaded, "language": language, "beam_size": beam_size, "temperature": temperature,
                 "initial_prompt": initial_prompt, "hotwords": hotwords, "vad_filter": vad_filter,
                 "no_speech_threshold": no_speech_threshold, "samples": len(audio), "type": str(audio.dtype),
                 "without_timestamps": without_timestamps}
        (self.folder / "asked").write_text(json.dumps(asked))
        if initial_prompt == "Slowly.":
            time.sleep(0.1)
        if initial_prompt == "Fail.":
            raise ValueError("that is not possible")
        loud = float(abs(audio).max()) > 0.01
        texts = [" Hello", " there."] if loud else []
        segments = (types.SimpleNamespace(text=text, avg_logprob=-0.1) for text in texts)
        return segments, types.SimpleNamespace(language=language or "en", language_probability=0.9)
"""

VOSK = '''
import json
from pathlib import Path

def SetLogLevel(level):
    pass

class Model:
    def __init__(self, model_path=None, model_name=None, lang=None):
        if not (Path(model_path) / "model").is_file():
            raise Exception("Failed to create a model")
        self.folder = Path(model_path)

    def vosk_model_find_word(self, word):
        known = ["öffne", "die", "tür", "word", "[noise]"]
        return known.index(word) if word in known else -1

class KaldiRecognizer:
    """A word for each tenth of a second that is not silent, noise if it is loud; a silent one ends a segment."""
    def __init__(self, *args):
        model, self.rate = args[:2]
        if not (model.folder / "graph").is_file():
            raise Exception("Failed to create a recognizer")
        (model.folder / "asked").write_text(args[2] if len(args) > 2 else "")
        self.words = []

    def SetWords(self, enable_words):
        pass

    def AcceptWaveform(self, data):
        if any(data):
            self.words.append("[noise]" if data[1] == 0x7f else "word")
            return 0
        return 1 if self.words else 0

    def PartialResult(self):
        return json.dumps({"partial": " ".join(self.words)})

    def Result(self):
        words, self.words = self.words, []
        if not words:
            return json.dumps({"text": ""})
        result = [{"conf": 0.8, "start": 0.0, "end": 0.1, "word": word} for word in words]
        return json.dumps({"text": " ".join(words), "result": result})

    def FinalResult(self):
        return self.Result()
'''


def local_voices() -> list[str]:
    """Real ones of Piper, where somebody lends them to the tests."""
    return sorted(path.stem for path in Path(LOCAL_MODELS.get("MESHAG_PIPER_VOICES") or "/dev/null").glob("*.onnx"))


def install(folder: Path, name: str, source: str) -> None:
    (folder / f"{name}.py").write_text(source)


def a_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("model", "graph"):
        (folder / name).touch()
    return folder
