"""Callers' sentences: distinct, whole, the same at every rate, and kept once they are spoken."""

from pathlib import Path

import numpy as np
import pytest

from tests import speech


def test_no_utterance_begins_another() -> None:
    plain = [text.lower() for text in speech.UTTERANCES]
    assert len(set(plain)) == 40
    assert not any(one != other and one.startswith(other.rstrip(".?")) for one in plain for other in plain)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
def test_an_utterance_lasts_as_long_at_any_rate(rate: int) -> None:
    seconds = {text: len(pcm) / 2 / rate for text, pcm in speech.speak_all(rate=rate).items()}
    assert all(1 < one < 4 for one in seconds.values())
    assert seconds[speech.UTTERANCES[0]] == pytest.approx(len(speech.speak(speech.UTTERANCES[0])) / 16_000, abs=0.01)


def test_speech_is_loud_enough() -> None:
    loudest = np.abs(np.frombuffer(speech.speak(speech.UTTERANCES[0]), "<i2").astype(int)).max()
    assert 5_000 < loudest <= 32_767


def test_what_was_spoken_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = speech.speak("This sentence is spoken once.")
    monkeypatch.setattr(speech, "_PROGRAM", Path("/nowhere"))
    assert speech.speak("This sentence is spoken once.") == first
