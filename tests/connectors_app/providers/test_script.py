"""Booking an appointment with the scripted model, told as conversations."""

import pytest

from connectors_app.base.connector import Credentials
from connectors_app.base.language_model import Finished, Message, Said
from connectors_app.providers.offline import jsgf
from connectors_app.providers.offline.appointment import GRAMMAR, Heard, Intent, answer, understand
from connectors_app.providers.script import Script, ScriptOptions


async def replied(*messages: Message, delay_ms: int = 0) -> list[Said]:
    model = Script(ScriptOptions(delay_ms=delay_ms), Credentials())
    return [item async for item in model.reply(messages)]


async def said_after(*texts: str) -> str:
    """The answer to the last of the caller's texts."""
    *tokens, end = await replied(Message("system", "Book."), *(Message("user", text) for text in texts))
    assert isinstance(end, Finished)
    return "".join(map(str, tokens))


async def test_a_booking_from_hello_to_goodbye() -> None:
    story = [
        ("good morning", "Would you like to book"),
        ("yes please", "Which day"),
        ("on saturday", "closed on Saturday. Which day"),
        ("on monday please", "what time"),
        ("at ten o'clock", "Monday at ten o'clock. Is that right?"),
        ("no on friday", "Friday at ten o'clock. Is that right?"),
        ("no that is wrong", "another day or another time"),
        ("how about ten thirty in the morning", "Friday at ten thirty. Is that right?"),
        ("yes that is right", "on Friday at ten thirty is booked"),
        ("no thank you", "Goodbye"),
    ]
    for turn in range(len(story)):
        assert story[turn][1] in await said_after(*(text for text, _ in story[: turn + 1]))


async def test_one_sentence_can_say_everything() -> None:
    text = "i would like to book an appointment at two thirty in the afternoon on thursday"
    assert "That is Thursday at two thirty. Is that right?" in await said_after(text)


async def test_starting_over_forgets_the_day() -> None:
    assert "Which day" in await said_after("on monday", "start over")
    assert "Which day" in await said_after("on monday", "start over", "at ten o'clock")


async def test_the_question_comes_again_when_nothing_was_understood() -> None:
    assert await said_after("on monday", "purple elephants") == (
        "Sorry, I did not understand that. " + (await said_after("on monday")).removeprefix("Good. ")
    )


async def test_it_says_that_it_is_no_ai() -> None:
    assert "not an AI" in await said_after("what can you do")
    assert "not an AI" in Script.label


async def test_a_changed_appointment_is_confirmed_again() -> None:
    booked = ("on monday at ten o'clock", "yes that is right")
    assert "Tuesday at ten o'clock. Is that right?" in await said_after(*booked, "no make it on tuesday")


@pytest.mark.parametrize("last", ["thank you goodbye", "bye"])
async def test_an_unfinished_booking_is_not_kept(last: str) -> None:
    assert await said_after("on monday", last) == "Nothing is booked. Thank you for calling. Goodbye."


async def test_an_opening_without_words_asks_the_question() -> None:
    assert answer([]) == "Hello. Would you like to book an appointment?"


def test_everything_that_can_be_said_is_understood() -> None:
    grammar = jsgf.parse(GRAMMAR.read_text())
    for intent in set(Intent) - {Intent.NOTHING}:
        assert {understand(sentence).intent for sentence in grammar.sentences(intent)} == {intent}


def test_every_day_and_time_is_kept() -> None:
    grammar = jsgf.parse(GRAMMAR.read_text())
    for time in (*grammar.sentences("morning"), *grammar.sentences("afternoon")):
        for day in grammar.sentences("day"):
            assert understand(f"on {day} at {time}") == Heard(Intent.WHEN, day, time)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("Monday at 2 pm.", Heard(Intent.WHEN, "monday", "two o'clock")),
        ("10:30 a.m. works", Heard(Intent.WHEN, "", "ten thirty")),
        ("Monday, no, Tuesday!", Heard(Intent.WHEN, "tuesday")),
        ("I'd like an appointment at 14:00", Heard(Intent.BOOK, "", "two o'clock")),
        ("That's not right.", Heard(Intent.NO)),
        ("Yes, thank you very much", Heard(Intent.YES)),
        ("hello, I want to cancel", Heard(Intent.CANCEL)),
        ("at 14:15", Heard(Intent.NOTHING)),
        ("", Heard(Intent.NOTHING)),
    ],
)
def test_written_text_is_understood_loosely(text: str, heard: Heard) -> None:
    assert understand(text) == heard


async def test_words_come_one_by_one() -> None:
    *words, end = await replied(Message("user", "on monday"), delay_ms=1)
    assert len(words) > 5 and all(str(word).strip().count(" ") == 0 for word in words)
    assert end == Finished()


async def test_a_broken_off_answer_goes_on() -> None:
    whole = await said_after("on monday")
    first = whole[: whole.index(".") + 1]
    *rest, _ = await replied(Message("user", "on monday"), Message("assistant", first))
    assert f"{first} {''.join(map(str, rest))}" == whole
