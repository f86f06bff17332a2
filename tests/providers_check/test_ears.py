"""Ears know the callers' sentences through a telephone, and nothing else."""

import numpy as np
import pytest

from tests.providers.ears import Ears
from tests.providers.ulaw import from_ulaw, to_ulaw
from tests.speech import UTTERANCES, speak, speak_all


@pytest.fixture(scope="module")
def ears() -> Ears:
    return Ears(speak_all(rate=8000), 8000)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
@pytest.mark.parametrize("lost_ms", [0, 100, 300])
def test_every_utterance_is_known(ears: Ears, rate: int, lost_ms: int) -> None:
    spoken = speak_all(rate=rate)
    heard = {text: ears.recognise(pcm[rate * lost_ms // 1000 * 2 :], rate) for text, pcm in spoken.items()}
    assert heard == {text: text for text in UTTERANCES}


def test_a_telephone_does_not_disturb(ears: Ears) -> None:
    heard = [
        ears.recognise(bytes(4321 * 2) + from_ulaw(to_ulaw(pcm)) + bytes(999), 8000) for pcm in by_phone().values()
    ]
    assert heard == list(UTTERANCES)


def by_phone() -> dict[str, bytes]:
    """Quiet callers on a noisy line."""
    noise = np.random.default_rng(3)
    return {
        text: (np.frombuffer(pcm, "<i2") * 0.3 + noise.normal(0, 20, len(pcm) // 2)).astype("<i2").tobytes()
        for text, pcm in speak_all(rate=8000).items()
    }


@pytest.mark.parametrize(
    "text", ["The quick brown fox jumps over the lazy dog.", "I would like to buy a new car for my wife.", "Tomorrow."]
)
def test_a_strange_sentence_is_not_guessed(ears: Ears, text: str) -> None:
    assert ears.recognise(speak(text, 16_000), 16_000) == ""


@pytest.mark.parametrize("pcm", [b"", b"\0", bytes(16_000), np.full(8000, 9000, "<i2").tobytes()])
def test_no_speech_is_no_text(ears: Ears, pcm: bytes) -> None:
    assert ears.recognise(pcm, 8000) == ""


def test_noise_is_no_text(ears: Ears) -> None:
    noise = np.random.default_rng(4).normal(0, 3000, 24_000).astype("<i2").tobytes()
    assert ears.recognise(noise, 8000) == ""


def test_two_utterances_are_both_heard(ears: Ears) -> None:
    first, second = UTTERANCES[5], UTTERANCES[17]
    pcm = speak(first, 8000) + bytes(3200) + speak(second, 8000)
    assert ears.recognise(pcm, 8000) == f"{first} {second}"


@pytest.mark.parametrize("place", range(0, 40, 7))
def test_halves_join_to_the_whole(ears: Ears, place: int) -> None:
    pcm = speak(UTTERANCES[place], 8000)
    middle = len(pcm) // 4 * 2
    halves = ears.recognise(pcm[:middle], 8000), ears.recognise(pcm[middle:], 8000)
    assert " ".join(halves) == UTTERANCES[place]


def test_a_beginning_is_a_prefix(ears: Ears) -> None:
    text = UTTERANCES[7]
    pcm = speak(text, 8000)
    heard = [ears.recognise(pcm[: ms * 16], 8000) for ms in range(400, 2000, 400)]
    assert all(text.startswith(one) for one in heard)
    assert heard == sorted(set(heard), key=len)
