"""What the language model is told, from stories of canonical events: what was heard, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.events import (
    Event,
    Interrupted,
    Played,
    ReplyDone,
    ReplyFailed,
    ReplySentence,
    SessionEnded,
    Stored,
    TurnDiscarded,
    TurnEnded,
)
from mesh.history import History
from mesh.subjects import Stage


def stored(event: Event | None, stage: Stage = Stage.SESSION) -> Stored:
    kind = event.type() if event else "some.later"
    return Stored(sequence=1, subject="", id="", session="s", stage=stage, epoch=1, at=0.0, type=kind, event=event)


def told(*story: Event | None) -> History:
    history = History()
    for event in story:
        is_models = isinstance(event, ReplySentence | ReplyDone | ReplyFailed)
        history.fold(stored(event, Stage.LLM if is_models else Stage.SESSION))
    return history


def lines(*story: Event | None) -> list[tuple[str, str]]:
    return [(line.role, line.text) for line in told(*story).lines()]


def asked(text: str, turn: int = 1, generation: int = 1) -> TurnEnded:
    return TurnEnded(turn=turn, generation=generation, text=text, cause="speech", revision="r1")


def says(text: str, sentence: int = 0, generation: int = 1) -> ReplySentence:
    return ReplySentence(turn=1, generation=generation, sentence=sentence, text=text)


def played(text: str, sentence: int = 0, generation: int = 1) -> Played:
    return Played(turn=1, generation=generation, sentence=sentence, samples=9, rate=8000, text=text)


def interrupted(heard: str, sentence: int = 0, generation: int = 1) -> Interrupted:
    return Interrupted(turn=1, generation=generation, sentence=sentence, samples=9, rate=8000, heard=heard)


def done(sentences: int, generation: int = 1) -> ReplyDone:
    return ReplyDone(turn=1, generation=generation, sentences=sentences)


def test_the_question_is_the_last_line() -> None:
    assert lines(asked("hello")) == [("user", "hello")]


def test_what_was_not_heard_is_not_history() -> None:
    assert lines(asked("hello"), says("Hi."), says("How are you?", 1), done(2), played("Hi.")) == [
        ("user", "hello"),
        ("assistant", "Hi."),
    ]


def test_heard_sentences_are_one_line() -> None:
    story = (asked("hello"), done(2), played("Hi."), played("How are you?", 1), asked("fine", 2, 2))
    assert lines(*story) == [("user", "hello"), ("assistant", "Hi. How are you?"), ("user", "fine")]


def test_an_interrupted_sentence_counts_as_heard() -> None:
    story = (asked("hello"), played("Hi."), interrupted("How", 1), asked("stop", 2, 2))
    assert lines(*story) == [("user", "hello"), ("assistant", "Hi. How"), ("user", "stop")]


def test_an_interruption_before_a_word_leaves_no_line() -> None:
    assert lines(asked("hello"), interrupted(""), asked("stop", 2, 2)) == [("user", "hello stop")]


def test_a_turn_that_goes_on_is_told_once() -> None:
    story = (asked("I want"), TurnDiscarded(turn=1, generation=1), asked("I want to book", 1, 2))
    assert lines(*story) == [("user", "I want to book")]


def test_a_turn_that_went_on_stands_after_what_was_heard() -> None:
    """The caller's words come after the greeting that was played while they were spoken."""
    story = (asked("I", 1, 1), played("Welcome.", generation=2), asked("I want", 1, 3))
    assert lines(*story) == [("assistant", "Welcome."), ("user", "I want")]


def test_a_greeting_is_the_first_line() -> None:
    greeting = ReplySentence(turn=0, generation=1, sentence=0, text="Welcome.")
    history = History()
    for event in (greeting, played("Welcome."), asked("hello", 1, 2)):
        history.fold(stored(event))
    assert [(line.role, line.text) for line in history.lines()] == [("assistant", "Welcome."), ("user", "hello")]


def test_unknown_and_other_events_change_nothing() -> None:
    assert lines(asked("hello"), None, SessionEnded(reason="hangup")) == [("user", "hello")]


# -- what is left to answer ------------------------------------------------------------------------------


def test_a_takeover_goes_on_after_the_committed_sentences() -> None:
    pending = told(asked("hello", 3, 4), says("Hi.", 0, 4), says("How are you?", 1, 4), says("old", 0, 3)).pending
    assert pending and pending.is_open
    assert (pending.turn, pending.generation, pending.text) == (3, 4, "hello")
    assert pending.committed == ["Hi.", "How are you?"]


def test_a_takeover_is_told_nothing_twice() -> None:
    history = told(asked("hello"), says("Hi."), says("How are you?", 1), played("Hi."))
    assert [line.text for line in history.lines()] == ["hello"]
    assert history.pending and history.pending.committed == ["Hi.", "How are you?"]


def test_only_the_models_sentences_are_committed() -> None:
    history = told(asked("hello"))
    history.fold(stored(says("announced"), Stage.SESSION))
    assert history.pending and history.pending.committed == []


def test_an_answered_turn_is_closed() -> None:
    for end in (
        done(1),
        ReplyFailed(turn=1, generation=1, sentences=0, detail="nobody"),
        interrupted("Hi"),
        TurnDiscarded(turn=1, generation=1),
    ):
        pending = told(asked("hello"), end).pending
        assert pending and not pending.is_open


def test_the_end_of_an_older_generation_closes_nothing() -> None:
    discarded = TurnDiscarded(turn=2, generation=0, reason="nothing was understood")
    pending = told(asked("hello"), asked("again", 1, 2), done(0), interrupted("x"), discarded).pending
    assert pending and pending.is_open and pending.generation == 2


EVENTS = st.one_of(
    st.builds(asked, st.sampled_from(["a", "b"]), st.integers(1, 3), st.integers(1, 4)),
    st.builds(says, st.just("s"), st.integers(0, 2), st.integers(1, 4)),
    st.builds(played, st.sampled_from(["p", "q"]), st.integers(0, 2), st.integers(1, 4)),
    st.builds(interrupted, st.sampled_from(["", "i"]), st.integers(0, 2), st.integers(1, 4)),
    st.builds(done, st.integers(0, 2), st.integers(1, 4)),
)


@given(st.lists(EVENTS, max_size=20))
def test_lines_alternate_and_are_not_empty(story: list[Event]) -> None:
    roles = [role for role, text in lines(*story) if text]
    assert len(roles) == len(lines(*story))
    assert all(one != next_ for one, next_ in zip(roles, roles[1:], strict=False))


@given(st.lists(EVENTS, max_size=20))
def test_the_words_of_every_turn_are_told_once(story: list[Event]) -> None:
    last = {event.turn: event.text for event in story if isinstance(event, TurnEnded)}
    words = " ".join(text for role, text in lines(*story) if role == "user").split()
    assert sorted(words) == sorted(last.values())


def failed(sentences: int, generation: int = 1) -> ReplyFailed:
    return ReplyFailed(turn=1, generation=generation, sentences=sentences, detail="nobody")


def test_an_apology_answers_the_question_before() -> None:
    story = (asked("hello"), failed(0), played("Sorry.", generation=2), asked("hello?", 2, 3))
    assert lines(*story) == [("user", "hello"), ("assistant", "Sorry."), ("user", "hello?")]


def test_an_apology_follows_what_was_heard_of_the_reply() -> None:
    said = (
        says("It is nine."),
        says("Your flight", 1),
        failed(1),
        played("It is nine."),
        interrupted("So", generation=2),
    )
    assert lines(asked("hello"), *said, asked("what?", 2, 3))[1] == ("assistant", "It is nine. So")
