"""A recogniser that is silent, and the next one that is asked beside it before the first has failed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from connectors_app import hearing
from connectors_app.asking import Deadlines
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.recognizer import Recognition, Transcript
from connectors_app.breaker import Breakers
from connectors_app.pool import AllFailed
from connectors_app.recognizing import Heard, Recognizing
from tests.connectors_app.fakes import ScriptedRecognition, ScriptedRecognizer, Told, chain_of, failing

PCM = b"\x01\x00" * 160
PATIENT = Deadlines(transcript=5, stall=5, silence=5, beside=0.01)
"""So far apart that only what a test is about comes in its time."""
VOICED = 0.5
LONG = 1.0


class Ears(ScriptedRecognizer):
    """Takes what it is sent while it `takes`, and gives the transcripts that a test gives it."""

    def __init__(self, slug: str, *answers: str, tells: bool = False) -> None:
        super().__init__(slug)
        self.tells_as_it_hears = tells  # type: ignore[misc]
        self.answers: asyncio.Queue[str | Exception] = asyncio.Queue()
        for answer in answers:
            self.answers.put_nowait(answer)
        self.confidence: float | None = None
        self.takes = asyncio.Event()
        self.takes.set()
        self.was_asked = asyncio.Event()
        self.was_heard = asyncio.Event()
        self.opened: list[Attentive] = []

    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        self.opened.append(recognition := Attentive(self, on_interim))
        return recognition

    def says(self, text: str) -> None:
        self.opened[-1].on_interim(text)


class Attentive(ScriptedRecognition):
    def __init__(self, by: Ears, on_interim: Callable[[str], None]) -> None:
        super().__init__(by)
        self.ears = by
        self.on_interim = on_interim
        self.is_closed = False

    async def send(self, pcm: bytes) -> None:
        await self.ears.takes.wait()
        self.heard += pcm

    async def finish(self) -> Transcript:
        self.ears.asked.append(self.heard)
        self.ears.was_asked.set()
        answer = await self.ears.answers.get()
        self.ears.was_heard.set()
        if isinstance(answer, Exception):
            raise answer
        return Transcript(answer, confidence=self.ears.confidence)

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def telling_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "TELLING_SECONDS", 0.0)


@asynccontextmanager
async def session(
    told: Told,
    *recognizers: Ears,
    deadlines: Deadlines = PATIENT,
    breakers: Breakers | None = None,
    on_interim: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[Recognizing]:
    """Its first utterance has begun."""
    chain = chain_of(*recognizers, breakers=breakers)
    async with asyncio.timeout(10), Recognizing(chain, 8000, deadlines, told, on_interim) as recognition:
        await recognition.begin()
        await recognition.send(PCM)
        yield recognition


async def speak_until(recognition: Recognizing, claim: Callable[[], bool]) -> None:
    while not claim():
        await recognition.send(PCM)


def finish(recognition: Recognizing, voiced: float = VOICED) -> asyncio.Task[Heard]:
    return asyncio.create_task(recognition.finish(voiced))


def heard(text: str, provider: str) -> Heard:
    return Heard(Transcript(text), provider)


# -- while the caller speaks -----------------------------------------------------------------------------


async def test_the_next_hears_beside_a_silent_one(told: Told) -> None:
    first, second = Ears("first", tells=True), Ears("second", "hello")
    async with session(told, first, second) as recognition:
        await speak_until(recognition, second.began.is_set)
        await recognition.send(PCM)
        assert await recognition.finish(VOICED) == heard("hello", "second")
    assert second.asked == first.asked and len(second.asked[0]) > 2 * len(PCM)
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and told.switches == [("first", "second")]
    assert told.usage["first", "audio_ms"] == told.usage["second", "audio_ms"] == len(second.asked[0]) // 16


async def test_one_that_takes_no_audio_is_silent(told: Told) -> None:
    first, second = Ears("first"), Ears("second", "hello")
    first.takes.clear()
    async with session(told, first, second) as recognition:
        await speak_until(recognition, second.began.is_set)
        assert await recognition.finish(VOICED) == heard("hello", "second")
    assert ("first", "audio_ms") not in told.usage and told.failures == [("first", ErrorKind.TIMEOUT)]


async def test_one_that_tells_once_a_second_is_not_silent(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each long utterance would be paid twice where all is well."""
    monkeypatch.setattr(hearing, "TELLING_SECONDS", 5.0)
    first, second = Ears("first", tells=True), Ears("second")
    async with session(told, first, second) as recognition:
        since = recognition._at_work[0].since
        await speak_until(recognition, lambda: time.monotonic() > since + 2 * PATIENT.beside)
        await recognition.send(PCM)
        assert not second.opened
        monkeypatch.setattr(hearing, "TELLING_SECONDS", 0.0)
        await speak_until(recognition, second.began.is_set)


async def test_one_that_need_not_tell_is_not_silent(told: Told) -> None:
    first, second = Ears("first"), Ears("second")
    async with session(told, first, second, deadlines=replace(PATIENT, beside=0.001)) as recognition:
        for _ in range(200):
            await recognition.send(PCM)
        assert not second.opened


async def test_one_that_speaks_again_stays_at_work(told: Told) -> None:
    first, second = Ears("first", "hello", tells=True), Ears("second")
    async with session(told, first, second) as recognition:
        await speak_until(recognition, second.began.is_set)
        first.says("hell")
        assert await recognition.finish(VOICED) == heard("hello", "first")
    assert not second.asked and not told.failures and second.opened[0].is_closed
    assert told.usage.keys() == {("first", "audio_ms"), ("second", "audio_ms")}


async def test_when_the_first_fails_the_second_has_heard_all(told: Told) -> None:
    first, second = Ears("first", tells=True), Ears("second", "hello")
    async with session(told, first, second, deadlines=replace(PATIENT, silence=0.02)) as recognition:
        await speak_until(recognition, lambda: bool(told.failures))
        assert await recognition.finish(VOICED) == heard("hello", "second")
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and not first.asked and first.opened[0].is_closed


async def test_no_third_is_asked_beside_two(told: Told) -> None:
    first, second, third = Ears("first", tells=True), Ears("second", tells=True), Ears("third")
    async with session(told, first, second, third, deadlines=replace(PATIENT, silence=0.05)) as recognition:
        await speak_until(recognition, lambda: bool(third.opened))
        assert ("first", ErrorKind.TIMEOUT) in told.failures


async def test_a_third_comes_when_the_second_fails(told: Told) -> None:
    first, second, third = Ears("first", tells=True), Ears("second"), Ears("third", "hello")
    async with session(told, first, second, third) as recognition:
        await speak_until(recognition, second.began.is_set)
        second.answers.put_nowait(failing(ErrorKind.SERVER))
        assert await recognition.finish(VOICED) == heard("hello", "third")
    assert told.failures == [("second", ErrorKind.SERVER), ("first", ErrorKind.TIMEOUT)]


@pytest.mark.parametrize("beside", [0.05, 0.06])
async def test_it_is_off_from_the_transcripts_deadline_on(beside: float, told: Told) -> None:
    first, second = Ears("first", tells=True), Ears("second", "hello")
    off = replace(PATIENT, transcript=0.05, beside=beside)
    async with session(told, first, second, deadlines=off) as recognition:
        for _ in range(200):
            await recognition.send(PCM)
        asking = finish(recognition)
        await first.was_asked.wait()
        assert not second.opened
        assert await asking == heard("hello", "second")


async def test_without_a_next_nothing_changes(told: Told) -> None:
    first = Ears("first", "hello", tells=True)
    async with session(told, first) as recognition:
        for _ in range(200):
            await recognition.send(PCM)
        assert await recognition.finish(VOICED) == heard("hello", "first")
    assert len(first.opened) == 1 and not told.failures


# -- when the caller is silent ---------------------------------------------------------------------------


async def test_a_late_transcript_is_asked_of_the_next(told: Told) -> None:
    first, second = Ears("first"), Ears("second", "hello")
    async with session(told, first, second) as recognition:
        assert await recognition.finish(VOICED) == heard("hello", "second")
    assert second.asked == first.asked == [PCM]
    assert told.failures == [("first", ErrorKind.TIMEOUT)] and told.switches == [("first", "second")]


async def test_who_is_first_of_two_counts(told: Told) -> None:
    first, second = Ears("first"), Ears("second")
    async with session(told, first, second) as recognition:
        asking = finish(recognition)
        await second.was_asked.wait()
        first.answers.put_nowait("hello")
        assert await asking == heard("hello", "first")
    assert not told.failures and not told.switches


async def test_nothing_does_not_overtake(told: Told) -> None:
    first, second = Ears("first"), Ears("second", "")
    async with session(told, first, second) as recognition:
        asking = finish(recognition)
        await second.was_heard.wait()
        first.answers.put_nowait("hello")
        assert await asking == heard("hello", "first")


async def test_nothing_counts_when_the_first_has_failed(told: Told) -> None:
    first, second = Ears("first"), Ears("second", "")
    async with session(told, first, second) as recognition:
        asking = finish(recognition)
        await second.was_asked.wait()
        first.answers.put_nowait(failing(ErrorKind.SERVER))
        assert await asking == heard("", "second")


async def test_both_may_fail(told: Told) -> None:
    first, second = Ears("first"), Ears("second")
    async with session(told, first, second) as recognition:
        asking = finish(recognition)
        await second.was_asked.wait()
        for ears in (first, second):
            ears.answers.put_nowait(failing(ErrorKind.SERVER))
        with pytest.raises(AllFailed):
            await asking
    assert told.failures == [("first", ErrorKind.SERVER), ("second", ErrorKind.SERVER)]


async def test_doubt_waits_for_the_one_beside(told: Told) -> None:
    first, second, third = Ears("first"), Ears("second"), Ears("third")
    async with session(told, first, second, third) as recognition:
        asking = finish(recognition, LONG)
        await second.was_asked.wait()
        first.answers.put_nowait("")
        second.answers.put_nowait("hello")
        assert await asking == heard("hello", "second")
    assert told.failures == [("first", ErrorKind.EMPTY)] and not third.opened


# -- who is overtaken ------------------------------------------------------------------------------------


async def overtake(recognition: Recognizing, second: Ears) -> None:
    second.answers.put_nowait("hello")
    assert (await recognition.finish(VOICED)).provider == "second"


async def test_to_be_slow_is_not_to_be_dead(told: Told) -> None:
    """It answers each time, but too late: it goes on being asked first, and its connection serves again."""
    first, second = Ears("first"), Ears("second")
    async with session(told, first, second) as recognition:
        for _ in range(4):
            await overtake(recognition, second)
            first.answers.put_nowait("hello")
            await asyncio.wait([one.task for one in recognition._overtaken])
            await recognition.begin()
            await recognition.send(PCM)
        assert recognition._chain.order()[0] is first and len(first.opened) == 1
    assert told.failures == [("first", ErrorKind.TIMEOUT)] * 4


async def test_the_breaker_learns_of_the_dead(told: Told) -> None:
    first, second, breakers, out = Ears("first"), Ears("second"), Breakers(), asyncio.Event()
    breakers.on_change = lambda breaker: out.set()
    deadlines = replace(PATIENT, transcript=0.1)
    async with session(told, first, second, deadlines=deadlines, breakers=breakers) as recognition:
        for _ in range(3):
            await overtake(recognition, second)
            await recognition.begin()
            await recognition.send(PCM)
        await out.wait()
        assert recognition._chain.order() == [second, first]
    assert told.failures == [("first", ErrorKind.TIMEOUT)] * 3


async def test_the_next_utterance_does_not_wait_for_it(told: Told) -> None:
    """What it still says is of the utterance before, and not shown."""
    first, second, shown = Ears("first"), Ears("second"), list[str]()
    async with session(told, first, second, on_interim=shown.append) as recognition:
        await overtake(recognition, second)
        await recognition.begin()
        await recognition.send(PCM * 2)
        first.opened[0].on_interim("hello")
        first.says("bye")
        for answer in ("hello", "bye"):
            first.answers.put_nowait(answer)
        assert await recognition.finish(VOICED) == heard("bye", "first")
    assert shown == ["bye"] and first.asked == [PCM, PCM * 2]
    assert all(recognition.is_closed for recognition in first.opened) and len(first.opened) == 2


async def test_nothing_is_left_of_a_session(told: Told) -> None:
    first, second = Ears("first"), Ears("second")
    async with session(told, first, second) as recognition:
        await overtake(recognition, second)
        await recognition.begin()
        await recognition.send(PCM)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(recognition.is_closed for ears in (first, second) for recognition in ears.opened)


# -- what the caller's words look like meanwhile ---------------------------------------------------------


async def test_the_one_beside_is_shown_when_it_speaks(told: Told) -> None:
    first, second, shown = Ears("first", tells=True), Ears("second", "hello"), list[str]()
    async with session(told, first, second, on_interim=shown.append) as recognition:
        await speak_until(recognition, second.began.is_set)
        for text in ("he", "hello"):
            second.says(text)
            first.says("H")
        await recognition.finish(VOICED)
    assert shown == ["he", "hello"]


async def test_texts_are_the_firsts_once_it_speaks(told: Told) -> None:
    first, second, shown = Ears("first", "hello", tells=True), Ears("second"), list[str]()
    async with session(told, first, second, on_interim=shown.append) as recognition:
        await speak_until(recognition, second.began.is_set)
        for text in ("he", "hello"):
            first.says(text)
            second.says("H")
        await recognition.finish(VOICED)
    assert shown == ["he", "hello"]


async def test_who_was_not_needed_keeps_its_connection(told: Told) -> None:
    first, second = Ears("first", tells=True), Ears("second")
    async with session(told, first, second) as recognition:
        for _ in range(3):
            second.began.clear()
            await speak_until(recognition, second.began.is_set)
            first.says("he")
            first.answers.put_nowait("hello")
            assert await finish(recognition) == heard("hello", "first")
            await recognition.begin()
            await recognition.send(PCM)
        assert len(second.opened) == 1


async def test_who_wants_no_questions_is_not_asked_beside(told: Told) -> None:
    first, second = Ears("first", tells=True), Ears("second")
    async with session(told, first, second) as recognition:
        refused = ProviderError(ErrorKind.RATE_LIMIT, "asks for fewer requests", retry_after=60)
        recognition._chain.ended(second, refused, time.monotonic())
        await recognition.begin()
        await speak_until(recognition, lambda: recognition._at_work[0].owes_a_sign)
        first.answers.put_nowait("hello")
        assert await finish(recognition) == heard("hello", "first") and not second.began.is_set()


async def test_a_line_that_stood_still_makes_nobody_silent(told: Told) -> None:
    """A pause, and then all of it in one breath: there was no time to say anything of it."""
    first, second = Ears("first", tells=True), Ears("second")
    async with session(told, first, second, deadlines=replace(PATIENT, beside=4)) as recognition:
        first.says("he")
        recognition._at_work[0]._lived_at -= 60
        await recognition.send(PCM * 300)
        assert not recognition._at_work[0].owes_a_sign
