"""The voice of the stand-ins carries its text through a telephone, and every loss is noticed."""

import numpy as np
import pytest

from tests.providers import tones
from tests.providers.ulaw import from_ulaw, to_ulaw
from tests.speech import resample

REPLY = "The harbour opens at nine. Boats leave every hour! Would you like a ticket for the ferry?"
SENTENCE = "Boats leave every hour."
FRAME = 320
"""Bytes of 20 ms at 8 kHz."""


def by_telephone(pcm: bytes, rate: int) -> bytes:
    return from_ulaw(to_ulaw(resample(pcm, rate, 8000)))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 48_000])
def test_a_reply_survives_the_telephone(rate: int) -> None:
    heard = tones.decode(bytes(1234) + by_telephone(tones.encode(REPLY, rate), rate) + bytes(800), 8000)
    assert tones.is_exact(REPLY, heard)
    assert [one.hash for one in heard] == [tones.text_hash(sentence) for sentence in tones.sentences(REPLY)]


def test_a_sentence_lasts_as_long_as_speech() -> None:
    (heard,) = tones.decode(tones.encode(SENTENCE, 8000, ms_per_char=60), 8000)
    assert heard.samples == pytest.approx(len(SENTENCE) * 0.060 * 8000, abs=160)


def test_streaming_finds_the_same() -> None:
    pcm = tones.encode(REPLY, 8000)
    decoder = tones.Decoder(8000)
    streamed = [heard for at in range(0, len(pcm), FRAME) for heard in decoder.feed(pcm[at : at + FRAME])]
    assert streamed == tones.decode(pcm, 8000)


@pytest.mark.parametrize("frame", [1, 5, 20, 40, 60])
def test_a_lost_frame_is_noticed(frame: int) -> None:
    pcm = tones.encode(SENTENCE, 8000)
    heard = tones.decode(pcm[: frame * FRAME] + pcm[(frame + 1) * FRAME :], 8000)
    assert not tones.is_exact(SENTENCE, heard)


@pytest.mark.parametrize("frame", [1, 5, 20, 40, 60])
def test_a_doubled_frame_is_noticed(frame: int) -> None:
    pcm = tones.encode(SENTENCE, 8000)
    heard = tones.decode(pcm[: frame * FRAME] + pcm[(frame - 1) * FRAME :], 8000)
    assert not tones.is_exact(SENTENCE, heard)


@pytest.mark.parametrize("sample", [170, 1111, 4000, 9999])
def test_a_pause_is_bridged_and_counted(sample: int) -> None:
    pcm = tones.encode(SENTENCE, 8000)
    (heard,) = tones.decode(pcm[: 2 * sample] + bytes(2 * 800) + pcm[2 * sample :], 8000)
    assert heard.complete
    assert heard.gap == pytest.approx(800, abs=40)


def test_a_cut_sentence_is_incomplete() -> None:
    pcm = tones.encode(SENTENCE, 8000)
    (heard,) = tones.decode(pcm[: len(pcm) // 2], 8000)
    assert (heard.hash, heard.complete) == (tones.text_hash(SENTENCE), False)


def test_a_cut_sentence_does_not_hide_the_next() -> None:
    pcm = tones.encode(SENTENCE, 8000)
    cut, whole = tones.decode(pcm[: len(pcm) // 4 * 2] + pcm, 8000)
    assert (cut.complete, whole.complete) == (False, True)


def test_a_sentence_without_its_head_is_noticed() -> None:
    pcm = tones.encode(SENTENCE, 8000)
    (heard,) = tones.decode(pcm[20 * FRAME :], 8000)
    assert (heard.hash, heard.complete) == (0, False)


@pytest.mark.parametrize("wrong", [(0, 0, 1, 2), (0, 2), (0, 2, 1), (0, 1)])
def test_wrong_order_is_not_exact(wrong: tuple[int, ...]) -> None:
    pieces = tones.sentences(REPLY)
    pcm = b"".join(tones.encode(pieces[place], 8000) for place in wrong)
    assert not tones.is_exact(REPLY, tones.decode(pcm, 8000))


def test_any_cut_into_pieces_is_exact() -> None:
    words = REPLY.split()
    pcm = tones.encode(" ".join(words[:2]), 8000) + tones.encode(" ".join(words[2:]), 8000)
    assert tones.is_exact(REPLY, tones.decode(pcm, 8000))


def test_noise_says_nothing() -> None:
    noise = np.random.default_rng(1).normal(0, 2000, 16_000).astype("<i2").tobytes()
    assert tones.decode(noise + bytes(16_000), 8000) == []


def test_noise_under_the_voice_is_endured() -> None:
    voice = np.frombuffer(tones.encode(REPLY, 8000), "<i2")
    noisy = voice + np.random.default_rng(2).normal(0, 500, len(voice))
    assert tones.is_exact(REPLY, tones.decode(noisy.astype("<i2").tobytes(), 8000))
