"""The turn machine, read as stories. Times are seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import turns
from mesh.turns import (
    Announce,
    Answer,
    Discard,
    Failed,
    Floor,
    Heard,
    Hold,
    Interim,
    Interrupt,
    PlayoutStarted,
    Release,
    ReplyOver,
    Say,
    SpeechEnded,
    SpeechStarted,
    StartTurn,
    Tick,
    Turns,
    Typed,
    play,
)


def utterance(n: int, start: float, end: float, text: str) -> tuple[turns.Event, ...]:
    return SpeechStarted(start, n), SpeechEnded(end, n, end - start), Heard(end + 0.1, n, text)


ASKED = play(Turns(), *utterance(1, 0, 1, "hello"))[0]
ANSWERING = play(ASKED, PlayoutStarted(1.5, 1))[0]


def test_a_caller_who_stops_is_answered() -> None:
    state, done = play(Turns(), *utterance(1, 0, 1, "hello"))
    assert done == [StartTurn(1), Answer(1, 1, "hello", "speech", (1,))]
    assert state.floor is Floor.THINKING


def test_nothing_is_answered_before_the_transcript() -> None:
    _, done = play(Turns(), SpeechStarted(0, 1), SpeechEnded(1, 1))
    assert done == [StartTurn(1)]


def test_a_played_reply_leaves_the_floor() -> None:
    state, done = play(ANSWERING, ReplyOver(3, 1))
    assert (state.floor, done) == (Floor.NOBODY, [])


def test_each_turn_has_its_own_number() -> None:
    _, done = play(ANSWERING, ReplyOver(3, 1), *utterance(2, 4, 5, "and you"))
    assert done == [StartTurn(2), Answer(2, 2, "and you", "speech", (2,))]


def test_two_utterances_before_a_transcript_are_one_turn() -> None:
    story = (SpeechStarted(0, 1), SpeechEnded(1, 1), SpeechStarted(1.2, 2), Heard(1.3, 1, "I want"))
    _, done = play(Turns(), *story, SpeechEnded(2, 2), Heard(2.1, 2, "to book"))
    assert done == [StartTurn(1), Answer(1, 1, "I want to book", "speech", (1, 2))]


def test_an_utterance_while_thinking_joins_the_turn() -> None:
    state, done = play(ASKED, *utterance(2, 1.4, 2, "I mean goodbye"))
    assert done == [Hold(), Discard(1, 1, "the caller went on"), Answer(1, 2, "hello I mean goodbye", "speech", (2,))]
    assert state.floor is Floor.THINKING


def test_a_cough_while_thinking_only_holds() -> None:
    state, done = play(ASKED, *utterance(2, 1.4, 1.6, ""))
    assert done == [Hold(), Release()]
    assert (state.floor, state.generation) == (Floor.THINKING, 1)


@pytest.mark.parametrize("text", ["", "mhm"])
def test_a_listening_noise_is_of_no_turn(text: str) -> None:
    state, _ = play(ANSWERING, *utterance(2, 2, 2.2, text), ReplyOver(3, 1))
    assert play(state, *utterance(3, 4, 5, "and now"))[1][-1] == Answer(2, 2, "and now", "speech", (3,))


def test_speech_silences_the_agent_before_words() -> None:
    state, done = play(ANSWERING, SpeechStarted(2, 2), Tick(2.3))
    assert done == [Hold()]
    assert turns.deadline(state) is None


def test_words_interrupt_the_agent() -> None:
    state, done = play(ANSWERING, SpeechStarted(2, 2), Tick(2.3), Interim(2.5, 2, "wait"))
    assert done == [Hold(), Interrupt(1, 1), StartTurn(2)]
    _, done = play(state, SpeechEnded(3, 2), Heard(3.1, 2, "wait a moment"))
    assert done == [Answer(2, 2, "wait a moment", "speech", (2,))]


def test_a_late_interim_changes_nothing() -> None:
    state, done = play(ASKED, Interim(1.2, 1, "hello"))
    assert (state, done) == (ASKED, [])


def test_a_short_stop_interrupts_when_understood() -> None:
    _, done = play(ANSWERING, *utterance(2, 2, 2.2, "stop"))
    assert done == [Interrupt(1, 1), StartTurn(2), Answer(2, 2, "stop", "speech", (2,))]


def test_a_short_cough_does_not_stop_the_agent() -> None:
    state, done = play(ANSWERING, SpeechStarted(2, 2), SpeechEnded(2.2, 2, 0.2), Tick(2.4), Heard(2.5, 2, ""))
    assert done == []
    assert state.floor is Floor.AGENT


@pytest.mark.parametrize("word", ["mhm", "Okay.", "uh-huh", "Yeah, right."])
def test_a_listening_noise_does_not_stop_the_agent(word: str) -> None:
    state, done = play(ANSWERING, SpeechStarted(2, 2), Tick(2.3), SpeechEnded(2.4, 2, 0.4), Heard(2.5, 2, word))
    assert done == [Hold(), Release()]
    assert state.floor is Floor.AGENT


def test_long_speech_without_words_still_interrupts() -> None:
    state, done = play(ANSWERING, SpeechStarted(2, 2), Tick(2.3), SpeechEnded(3.5, 2, 1.5), Heard(3.6, 2, ""))
    assert done == [Hold(), Interrupt(1, 1), StartTurn(2), Discard(2, 0, "nothing was understood", utterances=(2,))]
    assert state.floor is Floor.NOBODY


def test_what_was_not_understood_is_said_so() -> None:
    state = Turns(not_understood="Pardon?")
    state, done = play(state, *utterance(1, 0, 1, ""))
    assert done == [StartTurn(1), Discard(1, 0, "nothing was understood", utterances=(1,)), Announce(1, 1, "Pardon?")]


def test_a_noise_is_not_answered() -> None:
    state, done = play(Turns(not_understood="Pardon?"), *utterance(1, 0, 0.2, ""))
    assert done == [StartTurn(1), Discard(1, 0, "nothing was understood", utterances=(1,))]
    assert state.floor is Floor.NOBODY


SORRY = "Sorry."
APOLOGETIC = Turns(apology=SORRY)
NOT_ANSWERED = play(APOLOGETIC, *utterance(1, 0, 1, "hello"), Failed(2, 1, "llm"))[0]


def test_a_reply_that_failed_is_apologised_for() -> None:
    assert play(NOT_ANSWERED, ReplyOver(2, 1))[1] == [Announce(1, 2, SORRY, "llm")]


def test_half_a_reply_is_heard_before_the_apology() -> None:
    state, done = play(APOLOGETIC, *utterance(1, 0, 1, "hello"), PlayoutStarted(1.5, 1), Failed(2, 1, "tts"))
    assert done[-1] == Answer(1, 1, "hello", "speech", (1,))
    assert play(state, ReplyOver(3, 1))[1] == [Announce(1, 2, SORRY, "tts")]


def test_an_unrecognised_caller_gets_an_apology() -> None:
    _, done = play(APOLOGETIC, SpeechStarted(0, 1), SpeechEnded(0.4, 1, 0.4), Heard(0.5, 1, "", failed=True))
    assert done == [StartTurn(1), Discard(1, 0, "no recogniser answered", "stt", (1,)), Announce(1, 1, SORRY, "stt")]


def test_an_unrecognised_turn_has_failed_without_an_apology() -> None:
    _, done = play(Turns(), SpeechStarted(0, 1), SpeechEnded(0.4, 1, 0.4), Heard(0.5, 1, "", failed=True))
    assert done == [StartTurn(1), Discard(1, 0, "no recogniser answered", "stt", (1,))]


def test_what_was_recognised_is_answered() -> None:
    story = (SpeechStarted(0, 1), SpeechEnded(1, 1), SpeechStarted(1.2, 2), Heard(1.3, 1, "", failed=True))
    state, done = play(APOLOGETIC, *story, SpeechEnded(2, 2), Heard(2.1, 2, "to book"))
    assert done == [StartTurn(1), Answer(1, 1, "to book", "speech", (1, 2))]
    assert play(state, ReplyOver(3, 1))[1] == []


def test_an_apology_that_fails_is_the_last() -> None:
    state, done = play(NOT_ANSWERED, ReplyOver(2, 1), Failed(3, 2, "tts"), ReplyOver(3, 2))
    assert (done, state.floor) == ([Announce(1, 2, SORRY, "llm")], Floor.NOBODY)


def test_each_turn_has_its_own_apology() -> None:
    story = (ReplyOver(2, 1), ReplyOver(3, 2), *utterance(2, 4, 5, "again"), Failed(6, 3, "llm"), ReplyOver(6, 3))
    assert play(NOT_ANSWERED, *story)[1][-1] == Announce(2, 4, SORRY, "llm")


def test_an_apology_comes_before_announcements() -> None:
    _, done = play(NOT_ANSWERED, Say(2, "One minute left"), ReplyOver(2, 1), ReplyOver(3, 2))
    assert done == [Announce(1, 2, SORRY, "llm"), Announce(1, 3, "One minute left")]


@pytest.mark.parametrize("text", ["hello?", "mhm"])
def test_a_caller_who_goes_on_needs_no_apology(text: str) -> None:
    state, done = play(NOT_ANSWERED, SpeechStarted(2, 2), ReplyOver(2, 1), SpeechEnded(3, 2), Heard(3.1, 2, text))
    assert done[-1] == Answer(2, 2, text, "speech", (2,))
    assert state.failed is None


def test_without_an_apology_nothing_is_said() -> None:
    state, done = play(ASKED, Failed(2, 1, "llm"), ReplyOver(2, 1))
    assert (done, state.floor) == ([], Floor.NOBODY)


def test_typed_text_is_answered_at_once() -> None:
    _, done = play(Turns(), Typed(0, "hello"))
    assert done == [StartTurn(1), Answer(1, 1, "hello", "typed")]


def test_typed_text_interrupts_the_agent() -> None:
    _, done = play(ANSWERING, Typed(2, "stop"))
    assert done == [Interrupt(1, 1), StartTurn(2), Answer(2, 2, "stop", "typed")]


def test_a_greeting_is_said_first() -> None:
    state, done = play(Turns(), Say(0, "Welcome"), PlayoutStarted(0.1, 1))
    assert done == [Announce(0, 1, "Welcome")]
    assert state.floor is Floor.AGENT


def test_a_caller_may_interrupt_the_greeting() -> None:
    _, done = play(Turns(), Say(0, "Welcome"), PlayoutStarted(0.1, 1), *utterance(1, 0.5, 0.7, "hello"))
    assert done[-3:] == [Interrupt(0, 1), StartTurn(1), Answer(1, 2, "hello", "speech", (1,))]


def test_words_before_the_greeting_was_heard_replace_it() -> None:
    _, done = play(Turns(), Say(0, "Welcome"), *utterance(1, 0.1, 0.7, "hello"))
    assert done[-3:] == [Discard(0, 1, "the caller spoke"), StartTurn(1), Answer(1, 2, "hello", "speech", (1,))]


def test_announcements_wait_for_the_floor() -> None:
    _, done = play(ANSWERING, Say(2, "One minute left"), ReplyOver(3, 1))
    assert done == [Announce(1, 2, "One minute left")]


def test_speech_at_the_end_of_a_reply_is_a_new_turn() -> None:
    _, done = play(ANSWERING, SpeechStarted(2, 2), ReplyOver(2.1, 1), SpeechEnded(3, 2), Heard(3.1, 2, "next"))
    assert done == [StartTurn(2), Answer(2, 2, "next", "speech", (2,))]


def test_an_old_reply_changes_nothing() -> None:
    state, done = play(ASKED, ReplyOver(2, 0), PlayoutStarted(2, 7))
    assert (state, done) == (ASKED, [])


EVENTS = st.one_of(
    st.builds(SpeechStarted, st.just(0.0), st.integers(1, 3)),
    st.builds(SpeechEnded, st.just(0.0), st.integers(1, 3), st.sampled_from([0.1, 2.0])),
    st.builds(Heard, st.just(0.0), st.integers(1, 3), st.sampled_from(["", "mhm", "words"]), st.booleans()),
    st.builds(Interim, st.just(0.0), st.integers(1, 3), st.sampled_from(["", "mhm", "words"])),
    st.builds(Typed, st.just(0.0), st.sampled_from(["", "typed"])),
    st.builds(Say, st.just(0.0), st.just("announce")),
    st.builds(PlayoutStarted, st.just(0.0), st.integers(0, 4)),
    st.builds(ReplyOver, st.just(0.0), st.integers(0, 4)),
    st.builds(Failed, st.just(0.0), st.integers(0, 4), st.sampled_from(["llm", "tts"])),
    st.builds(Tick, st.just(9.0)),
)


@given(st.lists(EVENTS, max_size=40))
def test_generations_only_grow_and_end_once(story: list[turns.Event]) -> None:
    _, done = play(Turns(), *story)
    begun = [action.generation for action in done if isinstance(action, Answer | Announce)]
    ended = [action.generation for action in done if isinstance(action, Discard | Interrupt) and action.generation]
    assert begun == sorted(set(begun))
    assert len(ended) == len(set(ended)) and set(ended) <= set(begun)


@given(st.lists(EVENTS, max_size=60))
def test_nobody_hears_two_apologies_in_a_turn(story: list[turns.Event]) -> None:
    _, done = play(APOLOGETIC, *story)
    apologies = [action.turn for action in done if isinstance(action, Announce) and action.failed]
    assert len(apologies) == len(set(apologies))
