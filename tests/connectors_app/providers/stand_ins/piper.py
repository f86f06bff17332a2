"""Stands in for the module `piper` of piper-tts 1.x: the same names, and tones in place of a voice."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.providers import tones


@dataclass
class SynthesisConfig:
    speaker_id: int | None = None
    length_scale: float | None = None
    noise_scale: float | None = None
    noise_w_scale: float | None = None
    normalize_audio: bool = True
    volume: float = 1.0


@dataclass
class PiperConfig:
    num_speakers: int
    sample_rate: int


@dataclass
class AudioChunk:
    sample_rate: int
    sample_width: int
    sample_channels: int
    audio_int16_bytes: bytes


@dataclass
class PiperVoice:
    config: PiperConfig

    @staticmethod
    def load(model_path: str | Path, config_path: str | Path | None = None, use_cuda: bool = False) -> "PiperVoice":
        if "slowly" in Path(model_path).name:
            time.sleep(0.2)
        Path(f"{model_path}.loaded").touch()
        config = json.loads(Path(config_path or f"{model_path}.json").read_text())
        if not Path(model_path).read_bytes():
            raise RuntimeError("INVALID_PROTOBUF")
        return PiperVoice(PiperConfig(config["num_speakers"], config["audio"]["sample_rate"]))

    def synthesize(self, text: str, syn_config: SynthesisConfig | None = None) -> Iterable[AudioChunk]:
        """A chunk a sentence. “Slowly” takes its time before each further one."""
        wanted = syn_config or SynthesisConfig()
        for place, sentence in enumerate(tones.sentences(text)):
            if place and "Slowly" in text:
                time.sleep(0.05)
            pcm = tones.encode(sentence, self.config.sample_rate, 20 * (wanted.length_scale or 1))
            yield AudioChunk(self.config.sample_rate, 2, 1, pcm)
