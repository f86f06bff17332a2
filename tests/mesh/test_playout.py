"""Playout, read as stories. One second is 1000 samples, so a time in milliseconds is a place; `now` is passed in."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.playout import LEAD, STALL, TRUST, Piece, Playout, Spoken

RATE = 1000


def pcm(samples: int, first: int = 1) -> bytes:
    """Samples that tell where they are from: 1, 2, 3, …"""
    return b"".join((number % 30_000).to_bytes(2, "little") for number in range(first, first + samples))


def sent(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.pcm for piece in pieces)


def playing(*lengths: int, text: str = "one two three four", marks: bool = False) -> Playout:
    """A whole reply whose sentences have so many samples."""
    playout = Playout(RATE, marks=marks)
    playout.begin(1)
    for number, samples in enumerate(lengths):
        playout.text(number, text)
        playout.audio(number, 0, pcm(samples, 1000 * number + 1), end=True)
    playout.finish(len(lengths), 0)
    return playout


def play_until(playout: Playout, now: float) -> list[Piece]:
    """Everything that is sent until then, looked at when it asks to be."""
    pieces = []
    at = 0.0
    while at <= now:
        pieces += playout.due(at)
        at = max(at + 0.001, playout.next_due(at) or now + 1)
    return pieces + playout.due(now)


def whole(sentence: int, samples: int, text: str = "one two three four") -> Spoken:
    return Spoken(sentence, samples, text, done=True)


# -- what is sent ----------------------------------------------------------------------------------------


def test_nothing_is_due_at_first() -> None:
    playout = Playout(RATE)
    assert (playout.due(0), playout.next_due(0), playout.is_over()) == ([], None, False)


def test_the_first_piece_goes_as_it_comes() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(20), end=False)
    assert playout.due(0) == [Piece(pcm(20), first=True)]


def test_playout_runs_a_little_ahead() -> None:
    playout = playing(2000)
    assert len(sent(playout.due(0))) // 2 == LEAD * RATE
    assert playout.next_due(0) == pytest.approx(0)
    assert [len(sent(playout.due(0.05))) // 2, playout.due(0.05)] == [100, []]


def test_everything_is_sent_once_in_order() -> None:
    assert sent(play_until(playing(700, 50, 900), 9)) == pcm(700) + pcm(50, 1001) + pcm(900, 2001)


def test_a_later_sentence_waits_for_the_earlier() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.text(1, "two")
    playout.audio(0, 0, pcm(50), end=False)
    assert sent(playout.due(0)) == pcm(50)
    playout.audio(0, 50, b"", end=True)
    playout.audio(1, 0, pcm(50, 1001), end=True)
    assert sent(playout.due(0)) == pcm(50, 1001)


def test_the_next_sentence_ends_the_one_before() -> None:
    """Its end mark was lost: a voice speaks in order."""
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(50), end=False)
    playout.audio(2, 0, pcm(50, 2001), end=True)
    assert sent(playout.due(0)) == pcm(50) + pcm(50, 2001)
    assert playout.progress(1) == [whole(0, 50, ""), whole(2, 50, "")]


def test_a_last_end_mark_is_not_waited_for_for_ever() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(100), end=False)
    playout.finish(1, 0)
    playout.due(0)
    assert not playout.progress(1)
    assert playout.next_due(1) == pytest.approx(0.1 + STALL)
    assert (playout.progress(0.1 + STALL), playout.is_over()) == ([whole(0, 100, "")], True)


def test_a_reply_waits_for_a_voice_however_long() -> None:
    playout = playing(100)
    playout.finish(2, 0)
    playout.voice(None)
    playout.due(0)
    playout.progress(100)
    assert not playout.is_over()
    playout.voice(100)
    assert playout.next_due(100) == 100 + STALL


def test_what_was_heard_is_not_kept() -> None:
    playout = playing(100, 500)
    playout.due(0)
    playout.progress(0.1)
    assert playout.kept == 2 * 500


def test_a_failed_sentence_is_passed_over() -> None:
    playout = playing(50)
    playout.fail(1)
    playout.audio(2, 0, pcm(50, 2001), end=True)
    assert sent(playout.due(0)) == pcm(50) + pcm(50, 2001)


def test_a_gap_is_silence_of_its_length() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    assert playout.audio(0, 0, pcm(10), end=False) == 0
    assert playout.audio(0, 30, pcm(10, 31), end=True) == 20
    assert sent(playout.due(0)) == pcm(10) + bytes(40) + pcm(10, 31)


def test_a_repeat_is_not_played_again() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    assert [playout.audio(0, 0, pcm(10), end=False), playout.audio(0, 0, pcm(10), end=False)] == [0, -1]
    assert [playout.audio(0, 10, b"", end=True), playout.audio(0, 10, pcm(10, 11), end=False)] == [0, -1]
    assert sent(playout.due(0)) == pcm(10)


def test_a_new_generation_drops_the_old() -> None:
    playout = playing(2000)
    playout.due(0)
    playout.begin(2)
    assert (playout.due(0), playout.progress(9), playout.is_over(), playout.given) == ([], [], False, 300)
    playout.audio(0, 0, pcm(10), end=True)
    assert playout.due(9) == [Piece(pcm(10), first=True)]


# -- what was heard, by the clock ------------------------------------------------------------------------


def test_a_sentence_is_heard_when_its_time_is_over() -> None:
    playout = playing(100, 100)
    playout.due(0)
    assert playout.progress(0.09) == []
    assert playout.progress(0.1) == [whole(0, 100)]
    assert playout.progress(0.2) == [whole(1, 100)]
    assert playout.progress(9) == []


def test_the_clock_stops_when_nothing_comes() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(100), end=False)
    playout.due(0)
    playout.due(5)
    playout.audio(0, 100, pcm(100, 101), end=True)
    playout.due(5)
    assert (playout.progress(5.09), playout.progress(5.1)) == ([], [whole(0, 200, "")])


def test_a_reply_is_over_once() -> None:
    playout = playing(100)
    playout.due(0)
    assert [playout.is_over(), playout.progress(0.1), playout.is_over(), playout.is_over()] == [
        False,
        [whole(0, 100)],
        True,
        False,
    ]


def test_a_reply_is_not_over_before_its_count_is_known() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(10), end=True)
    playout.due(0)
    playout.progress(1)
    assert not playout.is_over()
    playout.finish(1, 0)
    assert playout.is_over()


def test_a_reply_without_sentences_is_over_at_once() -> None:
    assert playing().is_over()


def test_a_reply_whose_every_sentence_failed_is_over() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.fail(0)
    playout.finish(1, 0)
    assert (playout.progress(0), playout.is_over()) == ([], True)


def test_a_reply_with_a_missing_sentence_is_not_over() -> None:
    playout = playing(100)
    playout.finish(2, 0)
    playout.due(0)
    playout.progress(9)
    assert not playout.is_over()
    assert playout.unfinished() == 1


def test_it_says_when_to_look_again() -> None:
    playout = playing(400)
    playout.due(0)
    assert playout.next_due(0.0) == pytest.approx(0.0)
    playout.due(0.01)
    assert playout.next_due(0.01) == pytest.approx(0.4)  # all is sent: when it has been heard
    assert playout.next_due(0.5) is None


# -- what was heard, by marks ----------------------------------------------------------------------------


def test_each_sentence_asks_for_a_mark() -> None:
    marks = [piece.mark for piece in play_until(playing(150, 50, marks=True), 1)]
    assert marks == [None, 1, 2]


def test_with_marks_the_clock_is_not_believed() -> None:
    playout = playing(100, 100, marks=True)
    playout.due(0)
    assert playout.progress(1) == []
    playout.marked(1)
    assert playout.progress(1) == [whole(0, 100)]
    playout.marked(2)
    assert (playout.progress(1), playout.is_over()) == ([whole(1, 100)], True)


def test_a_mark_covers_what_was_sent_before() -> None:
    playout = playing(50, 50, 50, marks=True)
    playout.due(0)
    playout.marked(2)
    assert playout.progress(0.01) == [whole(0, 50), whole(1, 50)]
    playout.marked(1)
    playout.marked(99)
    assert playout.progress(0.01) == []


def test_a_lost_mark_is_waited_for_and_then_forgotten() -> None:
    playout = playing(100, marks=True)
    playout.due(0)
    assert playout.next_due(0.05) == pytest.approx(0.1 + TRUST)
    assert playout.progress(0.09 + TRUST) == []
    assert playout.progress(0.1 + TRUST) == [whole(0, 100)]
    assert playout.is_over()


def test_a_lost_mark_is_looked_for_again() -> None:
    """Also when something else has woken the call after the audio's end."""
    playout = playing(100, marks=True)
    playout.due(0)
    assert playout.next_due(0.5) == pytest.approx(0.1 + TRUST)
    assert playout.next_due(0.2 + TRUST) is None


# -- what was heard, by reports --------------------------------------------------------------------------


def test_reports_tell_the_place_of_the_ear() -> None:
    playout = playing(100, 100)
    playout.reported(0)
    playout.due(0)
    assert playout.progress(9) == []
    playout.reported(99)
    assert playout.progress(9) == []
    playout.reported(100)
    assert playout.progress(9) == [whole(0, 100)]
    playout.reported(50)  # late: the ear does not go back
    playout.reported(900)  # more than was sent
    assert (playout.progress(9), playout.is_over()) == ([whole(1, 100)], True)


def test_reports_count_everything_ever_given() -> None:
    playout = playing(200)
    playout.due(0)
    playout.reported(200)
    playout.begin(2)
    playout.audio(0, 0, pcm(100), end=True)
    playout.due(1)
    playout.reported(250)
    assert playout.progress(9) == []
    playout.reported(300)
    assert playout.progress(9) == [whole(0, 100, "")]


# -- held and released -----------------------------------------------------------------------------------


def test_nothing_is_due_while_held() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.hold(0.1)
    assert (playout.due(5), playout.next_due(5), playout.progress(5), playout.is_over()) == ([], None, [], False)


def test_a_released_reply_goes_on_where_the_ear_was() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.hold(0.1)
    playout.release()
    assert sent(playout.due(5)).startswith(pcm(300, 101))
    play_until(playout, 6.5)
    assert playout.progress(7) == [whole(0, 1000)]


def test_a_sentence_that_was_heard_is_not_said_again() -> None:
    playout = playing(100, 500)
    playout.due(0)
    assert playout.progress(0.1) == [whole(0, 100)]
    playout.hold(0.15)
    playout.release()
    assert sent(playout.due(5)).startswith(pcm(300, 1051))


def test_marks_from_before_a_hold_do_not_count() -> None:
    playout = playing(100, 100, marks=True)
    playout.due(0)
    playout.hold(0.05)
    playout.release()
    playout.marked(2)
    assert playout.progress(5) == []
    marks = [piece.mark for piece in playout.due(5) if piece.mark]
    playout.marked(marks[-1])
    assert playout.progress(5.01) == [whole(0, 100), whole(1, 100)]


def test_a_returned_ear_tells_where_it_was() -> None:
    playout = playing(1000)
    playout.reported(0)
    playout.due(0)
    playout.leave(0.2)
    playout.come_back(played=150, marks=False)
    assert sent(playout.due(9)).startswith(pcm(300, 151))


def test_a_reply_that_comes_while_nobody_is_there_waits() -> None:
    playout = playing(200)
    playout.leave(0)
    playout.begin(2)
    playout.audio(0, 0, pcm(100), end=True)
    playout.finish(1, 0)
    assert (playout.due(9), playout.next_due(9), playout.progress(9), playout.is_over()) == ([], None, [], False)
    playout.come_back(marks=False)
    assert sent(playout.due(10)) == pcm(100)


def test_a_held_reply_is_held_also_on_another_wire() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.hold(0.1)
    playout.leave(0.2)
    playout.come_back(marks=False)
    assert playout.due(1) == []
    playout.release()
    assert sent(playout.due(1)).startswith(pcm(300, 101))


def test_a_released_reply_waits_for_a_wire() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.leave(0.1)
    playout.hold(0.2)
    playout.release()
    assert playout.due(1) == []
    playout.come_back(marks=False)
    assert sent(playout.due(1)).startswith(pcm(300, 101))


def test_a_returned_ear_does_not_go_behind_what_was_reported() -> None:
    playout = playing(100, 500)
    playout.due(0)
    playout.progress(0.1)
    playout.leave(0.15)
    playout.come_back(played=50, marks=False)
    assert sent(playout.due(9)).startswith(pcm(300, 1001))


def test_a_held_ear_went_on_since_its_report() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.reported(50)
    playout.hold(0.1)
    playout.release()
    assert sent(playout.due(9)).startswith(pcm(300, 101))


def test_a_report_that_is_old_is_not_trusted_far() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.reported(50)
    playout.hold(0.29)
    playout.release()
    assert sent(playout.due(9)).startswith(pcm(300, 201))


def test_a_returned_ear_knows_better_than_the_clock() -> None:
    playout = playing(1000)
    playout.due(0)
    playout.reported(50)
    playout.leave(0.2)
    playout.come_back(played=80, marks=True)
    assert sent(playout.due(9)).startswith(pcm(300, 81))


def test_another_wire_may_have_marks() -> None:
    playout = playing(200)
    playout.leave(0)
    playout.come_back(marks=True)
    assert [piece.mark for piece in playout.due(0)] == [None, 1]


def test_reports_after_a_release_count_from_there() -> None:
    playout = playing(1000)
    playout.reported(0)
    playout.due(0)
    playout.reported(100)
    playout.hold(0.1)
    playout.release()
    playout.due(1)  # 300 samples were given before, 300 from place 100 on since
    playout.reported(250)  # of the cleared ones
    assert playout.interrupt(1) == Spoken(0, 100, "", done=False)
    playout.reported(550)
    heard = playout.interrupt(1)
    assert heard and heard.samples == 350


# -- interrupted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "text"),
    [(0.01, ""), (0.2, "one"), (0.4, "one two"), (0.74, "one two three"), (0.99, "one two three"), (1.0, None)],
)
def test_an_interrupted_text_is_cut_at_a_word(at: float, text: str | None) -> None:
    playout = playing(1000)
    play_until(playout, at)
    playout.progress(at)
    heard = playout.interrupt(at)
    assert (heard and heard.text) == text


def test_an_interruption_tells_the_sentence_of_the_ear() -> None:
    playout = playing(100, 400)
    play_until(playout, 0.3)
    assert playout.progress(0.3) == [whole(0, 100)]
    assert playout.interrupt(0.3) == Spoken(1, 200, "one two", done=False)


def test_an_interruption_before_the_first_sample_heard_nothing() -> None:
    assert playing(100).interrupt(0) is None


def test_of_an_unfinished_sentence_the_length_is_guessed() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.text(0, "a" * 9 + " " + "b" * 10)  # takes 1.3 s
    playout.audio(0, 0, pcm(300), end=False)
    playout.due(0)
    assert playout.interrupt(0.3) == Spoken(0, 300, "", done=False)
    playout.audio(0, 300, pcm(400, 301), end=False)
    play_until(playout, 1.0)
    heard = playout.interrupt(1.5)
    assert heard and (heard.samples, heard.text) == (700, "a" * 9)


# -- another voice takes over ----------------------------------------------------------------------------


def test_a_voice_begins_with_the_first_sentence() -> None:
    assert Playout(RATE).resume_at() == 0


def test_a_complete_sentence_is_not_made_again() -> None:
    playout = playing(100, 100)
    assert playout.resume_at() == 2


def test_a_barely_begun_sentence_is_made_again() -> None:
    playout = playing(50)
    playout.audio(1, 0, pcm(100, 1001), end=False)
    playout.finish(2, 0)
    playout.due(0)
    assert playout.resume_at() == 1
    playout.audio(1, 0, pcm(200, 2001), end=True)
    assert sent(play_until(playout, 5)) == pcm(200, 2001)
    assert playout.progress(9) == [whole(0, 50), Spoken(1, 200, "", done=True)]
    assert playout.is_over()


def test_a_sentence_half_said_is_not_begun_again() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.audio(0, 0, pcm(500), end=False)
    play_until(playout, 0.3)
    assert playout.resume_at() == 1
    assert playout.audio(0, 0, pcm(900), end=True) == -1
    playout.audio(1, 0, pcm(100, 1001), end=True)
    playout.finish(2, 0)
    assert sent(play_until(playout, 5)).endswith(pcm(100, 1001))
    assert len(playout.progress(9)) == 2 and playout.is_over()


def test_unsent_audio_of_the_lost_voice_is_dropped() -> None:
    """Two renditions never splice: what the lost voice made of the next sentence is made anew."""
    playout = playing(1000)
    playout.audio(1, 0, pcm(100, 1001), end=False)
    playout.due(0)
    assert playout.resume_at() == 1
    playout.audio(1, 0, pcm(100, 5001), end=True)
    assert sent(play_until(playout, 5)).endswith(pcm(100, 5001))


def test_reports_after_a_takeover_count_the_new_voice() -> None:
    playout = Playout(RATE)
    playout.begin(1)
    playout.reported(0)
    playout.audio(0, 0, pcm(200), end=False)
    playout.due(0)
    assert playout.resume_at() == 0
    playout.audio(0, 0, pcm(300, 2001), end=True)
    play_until(playout, 1)
    playout.reported(499)  # 200 of the lost voice, 299 of the new one
    assert playout.progress(1) == []
    playout.reported(500)
    assert playout.progress(1) == [whole(0, 300, "")]


# -- always ----------------------------------------------------------------------------------------------


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, int, bool]]]:
    """Sentences' lengths, and their chunks in order (sentence, position, samples, end); end marks may be lost."""
    lengths = draw(st.lists(st.integers(0, 400), min_size=1, max_size=5))
    chunks = []
    for number, length in enumerate(lengths):
        cuts = [0, *sorted(draw(st.sets(st.integers(0, length), max_size=4))), length]
        chunks += [(number, start, end - start, False) for start, end in zip(cuts, cuts[1:], strict=False)]
        if number == len(lengths) - 1 or draw(st.booleans()):
            chunks.append((number, length, 0, True))
    return lengths, chunks


@given(deliveries(), st.booleans(), st.data())
def test_however_it_comes_it_is_played_once_and_is_over_once(
    story: tuple[list[int], list[tuple[int, int, int, bool]]], marks: bool, data: st.DataObject
) -> None:
    lengths, chunks = story
    playout = Playout(RATE, marks=marks)
    playout.begin(1)
    now, overs, pieces, spoken = 0.0, 0, list[Piece](), list[Spoken]()

    def look() -> None:
        nonlocal overs
        for piece in playout.due(now):
            pieces.append(piece)
            if piece.mark:
                playout.marked(piece.mark)
        spoken.extend(playout.progress(now))
        overs += playout.is_over()

    for number, position, samples, end in chunks:
        playout.audio(number, position, pcm(samples, 1000 * number + position + 1), end)
        now += data.draw(st.sampled_from([0.0, 0.05, 0.5]))
        look()
    playout.finish(len(lengths), 0)
    for _ in range(40):
        now += 0.1
        look()
    assert sent(pieces) == b"".join(pcm(length, 1000 * number + 1) for number, length in enumerate(lengths))
    assert [(one.sentence, one.samples) for one in spoken] == [
        (n, length) for n, length in enumerate(lengths) if length
    ]
    assert overs == 1
    assert [piece.first for piece in pieces] == [True, *[False] * (len(pieces) - 1)][: len(pieces)]


@given(st.lists(st.integers(10, 300), min_size=1, max_size=4), st.lists(st.integers(1, 200), max_size=6))
def test_holds_lose_and_repeat_nothing_that_was_heard(lengths: list[int], pauses: list[int]) -> None:
    """What the ear has, put together from all the holds, is the reply."""
    playout = playing(*lengths)
    heard, now = bytearray(), 0.0
    for pause in pauses:
        pieces = playout.due(now)
        now += pause / 1000
        samples = min(pause, len(sent(pieces)) // 2)
        heard += sent(pieces)[: 2 * samples]
        playout.progress(now)
        playout.hold(now)
        playout.release()
    for _ in range(40):
        heard += sent(playout.due(now))
        now += 0.1
    assert bytes(heard) == b"".join(pcm(length, 1000 * number + 1) for number, length in enumerate(lengths))


def test_a_reply_can_end_in_the_middle() -> None:
    playout = playing(200)
    playout.audio(1, 0, pcm(100), end=False)
    playout.cut(1, 0)
    playout.finish(3, 0)
    playout.text(2, "five six")
    assert playout.audio(2, 0, pcm(100), end=True) == -1
    assert sent(play_until(playout, 1.0)) == pcm(200) + pcm(100)
    assert [one.sentence for one in playout.progress(2.0)] == [0, 1]
    assert playout.is_over()
