"""Language models in order: deadlines, fallback also in the middle of a reply, and cancellation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest

from connectors_app.answering import Piece, Sentence, Withdrawn
from connectors_app.answering import answer as ask
from connectors_app.asking import Deadlines
from connectors_app.base.errors import ErrorKind
from connectors_app.base.language_model import Finished, Message, Said, Tool, ToolCall
from connectors_app.breaker import Breakers, Rules
from connectors_app.pool import AllFailed, Attempt, Chain
from tests.connectors_app.fakes import HASTY, NEVER, ScriptedModel, Told, chain_of, failing

HELLO = (Message("user", "Hello?"),)
DONE = Finished("stop", 3, 2)


@pytest.fixture
def told() -> Told:
    return Told()


async def pieces_of(
    chain: Chain[Any], told: Told, said: Sequence[str] = (), deadlines: Deadlines = HASTY
) -> list[Piece]:
    async with aclosing(ask(chain, HELLO, deadlines, told, said=said)) as pieces:
        return [piece async for piece in pieces]


async def answer(chain: Chain[Any], told: Told) -> list[Piece]:
    """Without the sentences, which say the text again."""
    return [piece for piece in await pieces_of(chain, told) if not isinstance(piece, Sentence)]


async def sentences(chain: Chain[Any], told: Told, said: Sequence[str] = ()) -> list[str]:
    return [piece.text for piece in await pieces_of(chain, told, said) if isinstance(piece, Sentence)]


async def test_the_primary_answers_alone(told: Told) -> None:
    second = ScriptedModel("second", "no", DONE)
    assert await answer(chain_of(ScriptedModel("first", "Hi ", "you", DONE), second), told) == ["Hi ", "you", DONE]
    assert not second.asked and not told.failures and not told.switches
    assert told.usage == {("first", "input_tokens"): 3, ("first", "output_tokens"): 2}


async def test_a_broken_answer_is_paid_by_estimate(told: Told) -> None:
    with pytest.raises(AllFailed):
        await answer(chain_of(ScriptedModel("first", "Good morning", failing(ErrorKind.BROKEN))), told)
    assert told.usage == {("first", "input_tokens"): 2, ("first", "output_tokens"): 3}
    assert told.estimates == set(told.usage)


async def test_a_cancelled_answer_is_paid_by_estimate(told: Told) -> None:
    async with aclosing(ask(chain_of(ScriptedModel("first", "Good morning", DONE)), HELLO, HASTY, told)) as items:
        await anext(items)
    assert told.usage == {("first", "input_tokens"): 2, ("first", "output_tokens"): 3}


async def test_every_attempt_that_was_heard_is_paid(told: Told) -> None:
    first, second = ScriptedModel("first", NEVER), ScriptedModel("second", failing(ErrorKind.AUTH))
    await answer(chain_of(first, second, ScriptedModel("third", "Hi", DONE)), told)
    assert {provider for provider, unit in told.usage if told.usage[provider, unit]} == {"first", "third"}


@pytest.mark.accepts("M48")
@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_a_failed_provider_is_followed_by_the_next(kind: ErrorKind, told: Told) -> None:
    chain = chain_of(ScriptedModel("first", failing(kind)), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", kind)] and told.switches == [("first", "second")]


@pytest.mark.accepts("M48")
async def test_fallbacks_are_asked_in_order(told: Told) -> None:
    error = failing(ErrorKind.SERVER)
    chain = chain_of(*(ScriptedModel(slug, error) for slug in "abc"), ScriptedModel("d", "Hi", DONE))
    await answer(chain, told)
    assert [provider for provider, _ in told.failures] == ["a", "b", "c"] and told.switches == [("a", "d")]


@pytest.mark.accepts("M48")
async def test_silence_until_the_deadline_is_a_failure(told: Told) -> None:
    first = ScriptedModel("first", NEVER)
    assert await answer(chain_of(first, ScriptedModel("second", "Hi", DONE)), told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and first.closed.is_set()


async def test_an_answer_without_text_is_a_failure(told: Told) -> None:
    chain = chain_of(ScriptedModel("first", DONE), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.EMPTY)]


async def test_a_fault_in_a_provider_is_a_failure(told: Told) -> None:
    chain = chain_of(ScriptedModel("first", KeyError("choices")), ScriptedModel("second", "Hi", DONE))
    assert await answer(chain, told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.BROKEN)]


class Closing(ScriptedModel):
    """Takes its time to close, and fails at it."""

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        try:
            async for item in self.play(messages):
                yield item
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            raise failing(ErrorKind.BROKEN)


async def test_closing_slowly_holds_nobody_up(told: Told) -> None:
    first, second = Closing("first", NEVER), ScriptedModel("second", "Hi", DONE)
    async with asyncio.timeout(0.5):
        assert await answer(chain_of(first, second), told) == ["Hi", DONE]
    assert told.failures == [("first", ErrorKind.TIMEOUT)]


async def test_a_failed_closing_spoils_no_reply(told: Told) -> None:
    second = ScriptedModel("second", "And more.", DONE)
    async with asyncio.timeout(0.5):
        assert await answer(chain_of(Closing("first", "Hi", DONE), second), told) == ["Hi", DONE]
    assert not second.asked and not told.failures


STORY = ["It is nine.", "Your flight leaves at ten.", "The gate is B4."]
BREAKS = [(failing(ErrorKind.BROKEN), ErrorKind.BROKEN), (NEVER, ErrorKind.TIMEOUT), (KeyError("x"), ErrorKind.BROKEN)]


def tokens(text: str) -> list[str]:
    return [f"{word} " for word in text.split()]


@pytest.mark.parametrize(("fault", "kind"), BREAKS)
@pytest.mark.parametrize("cut", [1, 3, 5, 9, 11])
@pytest.mark.parametrize("begin", [0, 1, 2])
async def test_the_next_goes_on_in_the_middle(begin: int, cut: int, fault: object, kind: ErrorKind, told: Told) -> None:
    first = ScriptedModel("first", *tokens(" ".join(STORY))[:cut], fault)
    stand = [sentence for sentence in STORY if sentence + " " in " ".join(tokens(" ".join(STORY))[:cut])]
    second = ScriptedModel("second", *tokens(" ".join(STORY[min(begin, len(stand)) :])), DONE)
    assert await sentences(chain_of(first, second), told) == STORY
    assert told.failures == [("first", kind)] and told.switches == [("first", "second")]


@pytest.mark.parametrize("cut", [1, 3, 5, 9, 11])
@pytest.mark.parametrize("begin", [0, 1, 2])
async def test_what_is_shown_is_what_stands(begin: int, cut: int, told: Told) -> None:
    first = ScriptedModel("first", *tokens(" ".join(STORY))[:cut], failing(ErrorKind.BROKEN))
    second = ScriptedModel("second", *tokens(" ".join(STORY[begin:])), DONE)
    shown = ""
    for piece in await pieces_of(chain_of(first, second), told):
        match piece:
            case str():
                shown += piece
            case Sentence(text=text):
                assert shown.lstrip().startswith(text)
                shown = shown.lstrip().removeprefix(text)
            case Withdrawn():
                shown = ""
    assert not shown.strip()


async def test_the_next_is_told_what_stands(told: Told) -> None:
    first = ScriptedModel("first", *tokens("It is nine. Your flight"), failing(ErrorKind.BROKEN))
    second = ScriptedModel("second", "And more.", DONE)
    pieces = await pieces_of(chain_of(first, second), told)
    assert second.asked == [[*HELLO, Message("assistant", "It is nine.")]]
    assert [piece for piece in pieces if not isinstance(piece, str)] == [
        Sentence("It is nine."),
        Withdrawn(),
        Sentence("And more."),
        DONE,
    ]


async def test_an_end_without_its_mark_is_a_break(told: Told) -> None:
    second = ScriptedModel("second", "It is nine.", DONE)
    assert await sentences(chain_of(ScriptedModel("first", "It is "), second), told) == ["It is nine."]
    assert told.failures == [("first", ErrorKind.BROKEN)]


async def test_nothing_more_to_say_ends_a_reply(told: Told) -> None:
    first = ScriptedModel("first", "It is nine.\n", failing(ErrorKind.BROKEN))
    assert await sentences(chain_of(first, ScriptedModel("second", DONE)), told) == ["It is nine."]


async def test_the_only_provider_is_asked_once_more(told: Told) -> None:
    model = ScriptedModel("first", "It is nine. ", failing(ErrorKind.BROKEN))
    with pytest.raises(AllFailed):
        await sentences(chain_of(model), told)
    assert len(model.asked) == 2


async def test_after_a_takeover_the_rest_is_said(told: Told) -> None:
    model = ScriptedModel("first", *tokens(" ".join(STORY)), DONE)
    assert await sentences(chain_of(model), told, said=STORY[:2]) == STORY[2:]


class Trickling(ScriptedModel):
    async def play(self, asked: Any) -> AsyncIterator[Any]:
        async for item in super().play(asked):
            await asyncio.sleep(0.01)
            yield item


PATIENT = replace(HASTY, first_token=5, stall=0.2)
SLOW = [*["a "] * 60, DONE]


async def test_a_model_that_trickles_is_left(told: Told) -> None:
    """No pause is too long, but it is slower than speech."""
    chain = chain_of(Trickling("first", *SLOW), ScriptedModel("second", "Hi.", DONE))
    assert Sentence("Hi.") in await pieces_of(chain, told, deadlines=PATIENT)
    assert told.failures == [("first", ErrorKind.TIMEOUT)]


async def test_a_long_sentence_is_heard_out(told: Told) -> None:
    """It takes longer than a usual one, at a usual pace."""
    first = Trickling("first", *["and so on and on with many words "] * 12, DONE)
    await pieces_of(chain_of(first, ScriptedModel("second", "no", DONE)), told, deadlines=PATIENT)
    assert not told.failures


async def test_a_slow_model_is_heard_out_when_it_is_the_only_one(told: Told) -> None:
    await pieces_of(chain_of(Trickling("first", *SLOW)), told, deadlines=PATIENT)
    assert not told.failures


async def test_one_slow_model_is_enough(told: Told) -> None:
    """The next are no faster, but to begin once more would make the reply later still."""
    await pieces_of(chain_of(*(Trickling(slug, *SLOW) for slug in "abc")), told, deadlines=PATIENT)
    assert told.failures == [("a", ErrorKind.TIMEOUT)]


async def test_who_has_failed_hurries_nobody(told: Told) -> None:
    broken = ScriptedModel("first", "It ", failing(ErrorKind.BROKEN))
    await pieces_of(chain_of(broken, Trickling("second", *SLOW)), told, deadlines=PATIENT)
    assert told.failures == [("first", ErrorKind.BROKEN)]


async def test_calls_of_a_broken_attempt_are_forgotten(told: Told) -> None:
    call, other = ToolCall("1", "book", {"day": "Monday"}), ToolCall("2", "book", {"day": "Monday"})
    first = ScriptedModel("first", call, failing(ErrorKind.BROKEN))
    pieces = await pieces_of(chain_of(first, ScriptedModel("second", other, Finished("tools"))), told)
    assert pieces == [other, Finished("tools")]


async def test_a_call_that_comes_in_parts_is_waited_for(told: Told) -> None:
    """Longer than for a first token, and without a word."""
    call = ToolCall("1", "book", {"day": "Monday"})
    first = Trickling("first", *[""] * 60, call, Finished("tools"))
    pieces = await pieces_of(chain_of(first, ScriptedModel("second", "no", DONE)), told, deadlines=PATIENT)
    assert pieces == [call, Finished("tools")] and not told.failures


async def test_all_failures_are_told_together(told: Told) -> None:
    skipped = [Attempt("unset", failing(ErrorKind.UNCONFIGURED))]
    chain = chain_of(ScriptedModel("first", failing(ErrorKind.AUTH)), ScriptedModel("second", NEVER), skipped=skipped)
    with pytest.raises(AllFailed) as caught:
        await answer(chain, told)
    assert [a.error.kind for a in caught.value.attempts] == ["unconfigured", "auth", "timeout"]
    assert "second: no first token within 0.05 s" in str(caught.value)


async def test_closing_an_answer_cancels_only_it(told: Told) -> None:
    model = ScriptedModel("first", "Hi ", NEVER)
    async with aclosing(ask(chain_of(model), HELLO, Deadlines(), told)) as items:
        assert await anext(items) == "Hi "
    assert model.closed.is_set() and not told.failures


async def test_cancelling_a_waiting_answer_closes_it(told: Told) -> None:
    model = ScriptedModel("first", NEVER)
    task = asyncio.create_task(anext(ask(chain_of(model), HELLO, Deadlines(), told)))
    async with asyncio.timeout(1):
        await model.began.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() and model.closed.is_set() and not told.failures


# -- resting ---


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_refused_key_is_asked_last_for_a_while(told: Told) -> None:
    clock = Clock()
    first = ScriptedModel("first", failing(ErrorKind.AUTH))
    chain = chain_of(first, ScriptedModel("second", "Hi", DONE), breakers=Breakers(Rules(rest=0, patience=5), clock))
    await answer(chain, told)
    await answer(chain, told)
    assert len(first.asked) == 1 and told.switches == [("first", "second")]
    clock.now += 6
    await answer(chain, told)
    assert len(first.asked) == 2


@pytest.mark.parametrize("pieces", [["Hi."], ["Hi ", "there."]])
async def test_a_reply_is_one_success(pieces: list[str], told: Told) -> None:
    chain = chain_of(model := ScriptedModel("first", *pieces, DONE))
    await answer(chain, told)
    assert len(chain._breakers[model]._attempts) == 1


async def test_a_mended_provider_is_first_again(told: Told) -> None:
    clock = Clock()
    first = ScriptedModel("first", failing(ErrorKind.REFUSED))
    chain = chain_of(first, ScriptedModel("second", "Hi", DONE), breakers=Breakers(Rules(rest=0, patience=5), clock))
    await answer(chain, told)
    first.script, clock.now = ("Hi", DONE), clock.now + 6
    await answer(chain, told)
    assert told.switches == [("first", "second"), ("second", "first")] and chain.order()[0] is first
