import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.media import mulaw

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

EVERY_CODE = bytes(range(256))
samples = st.lists(st.integers(-32_768, 32_767), max_size=320).map(lambda values: np.array(values, "<i2"))


def test_decoding_agrees_with_the_standard_library() -> None:
    assert mulaw.decode(EVERY_CODE) == audioop.ulaw2lin(EVERY_CODE, 2)


def test_every_code_survives_the_round_trip() -> None:
    returned = bytearray(mulaw.encode(mulaw.decode(EVERY_CODE)))
    assert returned[0x7F] == 0xFF, "minus zero becomes zero"
    returned[0x7F] = 0x7F
    assert bytes(returned) == EVERY_CODE


@given(samples)
def test_no_sample_moves_more_than_its_step(pcm: np.ndarray) -> None:
    heard = np.frombuffer(mulaw.decode(mulaw.encode(pcm.tobytes())), "<i2").astype(int)
    step = np.maximum(8, (np.abs(pcm.astype(int)) + 0x84) >> 5)
    assert (np.abs(heard - pcm) <= np.maximum(step, np.abs(pcm.astype(int)) - 32_124)).all()


@given(samples)
def test_encoding_keeps_the_sign(pcm: np.ndarray) -> None:
    heard = np.frombuffer(mulaw.decode(mulaw.encode(pcm.tobytes())), "<i2")
    assert (heard.astype(int) * pcm.astype(int) >= 0).all()
