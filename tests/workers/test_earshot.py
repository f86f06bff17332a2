"""Audio that waits to be judged: which of it is passed on, and where it was."""

from collections.abc import Iterable

from mesh.audio import Chunk
from workers.earshot import LARGEST_GAP, Earshot

RATE = 8000


def pcm(*samples: int) -> bytes:
    return b"".join(sample.to_bytes(2, "little") for sample in samples)


def heard(*chunks: tuple[int, bytes]) -> Earshot:
    earshot = Earshot(RATE)
    for position, samples in chunks:
        earshot.hear(Chunk(rate=RATE, epoch=1, sequence=1, position=position, samples=samples))
    return earshot


def joined(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pieces)


def test_only_what_is_judged_goes_on() -> None:
    earshot = heard((0, pcm(1, 2)), (2, pcm(3, 4)), (4, pcm(5, 6)))
    assert joined(earshot.take(5)) == pcm(1, 2, 3, 4)
    assert joined(earshot.take()) == pcm(5, 6)


def test_an_utterance_begins_within_a_piece() -> None:
    earshot = heard((0, pcm(1, 2)), (2, pcm(3, 4)))
    assert joined(earshot.take(4, since=1)) == pcm(2, 3, 4)


def test_a_piece_is_forgotten_when_all_of_it_is_past() -> None:
    earshot = heard((0, pcm(1, 2)), (2, pcm(3, 4)))
    earshot.forget(3)
    assert joined(earshot.take()) == pcm(3, 4)


def test_a_gap_is_silence_and_nothing_comes_twice() -> None:
    earshot = heard((10, pcm(1, 2)), (14, pcm(3, 4)), (15, pcm(4, 5)))
    assert joined(earshot.take()) == pcm(1, 2, 0, 0, 3, 4, 5)
    assert earshot.wire(0) == 10 and earshot.wire(6) == 16


def test_a_long_gap_starts_the_wire_anew_for_what_comes_after() -> None:
    later = int(LARGEST_GAP * RATE) + 10
    earshot = heard((0, pcm(1, 2)), (later, pcm(3, 4)))
    assert joined(earshot.take()) == pcm(1, 2, 3, 4)
    assert [earshot.wire(position) for position in (0, 1, 2, 3)] == [0, 1, later, later + 1]
