"""Audio chunks as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.audio import HEADER_SIZE, MAX_RATE, VERSION, BadChunk, Chunk, decode

NUMBERS = st.integers(0, 2**32 - 1)
CHUNKS = st.builds(
    Chunk,
    rate=st.integers(1, MAX_RATE),
    epoch=NUMBERS,
    sequence=NUMBERS,
    position=st.integers(0, 2**64 - 1),
    samples=st.binary(max_size=200).map(lambda data: data[: len(data) // 2 * 2]),
    turn=NUMBERS,
    generation=NUMBERS,
    sentence=NUMBERS,
    end=st.booleans(),
)


def encoded(*, end: bool = False) -> bytes:
    return Chunk(rate=8000, epoch=1, sequence=2, position=3, samples=b"\1\0\2\0", end=end).encode()


@given(CHUNKS)
def test_a_chunk_comes_back_as_it_was(chunk: Chunk) -> None:
    assert decode(chunk.encode()) == chunk


def test_the_header_has_32_bytes() -> None:
    """docs/messages.md says so, and every reader cuts there."""
    assert HEADER_SIZE == 32
    assert encoded()[HEADER_SIZE:] == b"\1\0\2\0"


def test_numbers_are_little_endian() -> None:
    assert encoded()[:8] == bytes([VERSION, 0]) + (8000).to_bytes(2, "little") + (1).to_bytes(4, "little")


def test_an_end_mark_may_have_no_samples() -> None:
    chunk = decode(Chunk(rate=8000, epoch=1, sequence=1, position=160, end=True).encode())
    assert chunk.end and chunk.count == 0 and chunk.position == 160


def test_count_is_in_samples() -> None:
    assert decode(encoded()).count == 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "at least 32 bytes"),
        (encoded()[: HEADER_SIZE - 1], "has 31"),
        (bytes([VERSION + 1]) + encoded()[1:], "version 2 is not understood"),
        (encoded() + b"\0", "whole 16-bit samples"),
        (encoded()[:2] + b"\0\0" + encoded()[4:], "not 0"),
        (encoded()[:2] + b"\xff\xff" + encoded()[4:], "not 65535"),
    ],
)
def test_bad_bytes_are_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadChunk, match=why):
        decode(data)


def test_unknown_flags_are_ignored() -> None:
    """A later version may set more of them."""
    data = encoded(end=True)
    assert decode(bytes([VERSION, data[1] | 0x80]) + data[2:]) == decode(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_chunk_or_refused(data: bytes) -> None:
    try:
        assert decode(data).count == (len(data) - HEADER_SIZE) // 2
    except BadChunk as error:
        assert str(error)
