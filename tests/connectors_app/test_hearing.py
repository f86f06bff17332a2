"""One recogniser at one utterance: what it gets, and that its deadlines are ours."""

import asyncio

import pytest

from connectors_app.asking import Deadlines
from connectors_app.base.errors import ErrorKind
from connectors_app.base.recognizer import Recognition, Recognizer, Transcript
from connectors_app.hearing import Connection, Hearing, Utterance
from connectors_app.opening import Opening
from tests.connectors_app.fakes import NEVER, ScriptedRecognition, ScriptedRecognizer, failing

PCM = b"\x01\x00" * 160


class Clinging(ScriptedRecognizer):
    """Is not to be interrupted before `let_go` is set."""

    def open(self, rate: int, on_interim: object) -> Recognition:
        self.let_go = asyncio.Event()
        return ClingingRecognition(self)


class ClingingRecognition(ScriptedRecognition):
    async def finish(self) -> Transcript:
        assert isinstance(self.by, Clinging)
        while not self.by.let_go.is_set():
            try:
                await self.by.let_go.wait()
            except asyncio.CancelledError:
                self.by.asked.append("cancelled")
        return Transcript("too late")


async def hear(recognizer: Recognizer, utterance: Utterance, **deadlines: float) -> Hearing:
    """To its end."""
    over = asyncio.Event()
    connections: Opening[Recognizer, Connection] = Opening(lambda one: Connection(one, 8000))
    hearing = Hearing(
        recognizer,
        utterance,
        connections,
        Deadlines(**{"transcript": 5.0, "stall": 5.0, **deadlines}),
        on_text=lambda hearing, text: None,
        on_end=lambda hearing: over.set(),
    )
    hearing.finish()
    async with asyncio.timeout(4):
        await over.wait()
    return hearing


def spoken(pieces: int, kept_seconds: float = 60) -> Utterance:
    utterance = Utterance(8000, kept_seconds)
    for _ in range(pieces):
        utterance.add(PCM)
    return utterance


async def test_a_transcript_ends_it() -> None:
    hearing = await hear(ScriptedRecognizer("first", None, None, "hello"), spoken(1))
    assert hearing.answer == Transcript("hello") and hearing.error is None and not hearing.is_waited_for
    assert hearing.take_bill() == 20 and hearing.take_bill() == 0


@pytest.mark.parametrize("fault", [failing(ErrorKind.SERVER), KeyError("a fault in the provider's own code")])
async def test_a_failure_ends_it(fault: Exception) -> None:
    hearing = await hear(ScriptedRecognizer("first", None, None, fault), spoken(1))
    assert hearing.answer is None and hearing.error and hearing.take_bill() == 20


async def test_its_deadline_ends_it() -> None:
    hearing = await hear(ScriptedRecognizer("first", None, None, NEVER), spoken(1), transcript=0.01)
    assert hearing.error and hearing.error.message == "no transcript within 0.01 s"


async def test_who_clings_is_over_in_time() -> None:
    """What it says afterwards is nothing any more."""
    recognizer = Clinging("first")
    hearing = await hear(recognizer, spoken(1), transcript=0.01)
    assert hearing.error and hearing.error.kind is ErrorKind.TIMEOUT
    recognizer.let_go.set()
    await hearing.task
    assert recognizer.asked == ["cancelled"] and hearing.answer is None


class Steady(ScriptedRecognizer):
    """Takes a piece in half the time that it lasts."""

    def open(self, rate: int, on_interim: object) -> Recognition:
        return SteadyRecognition(self)


class SteadyRecognition(ScriptedRecognition):
    async def send(self, pcm: bytes) -> None:
        await asyncio.sleep(0.01)


async def test_each_piece_has_its_own_time() -> None:
    """As where audio came in one breath: all of it takes longer than one piece may, and than the transcript may."""
    pieces = 60
    hearing = await hear(Steady("first", None, "hello"), spoken(pieces), stall=0.5, transcript=0.5)
    assert hearing.answer == Transcript("hello") and hearing.take_bill() == 20 * pieces


# -- utterances ------------------------------------------------------------------------------------------


def test_an_utterance_is_heard_from_its_beginning() -> None:
    utterance = spoken(3)
    assert [utterance.next(place) for place in range(4)] == [(PCM, 1), (PCM, 2), (PCM, 3), None]
    assert utterance.seconds == 0.06 and not utterance.dropped


def test_what_somebody_has_not_got_has_a_length() -> None:
    assert [spoken(3).seconds_from(place) for place in (0, 2, 3)] == [0.06, 0.02, 0]


def test_who_is_far_behind_goes_on_with_what_is_kept() -> None:
    utterance = spoken(3, kept_seconds=0.04)
    assert utterance.next(0) == (PCM, 2) and utterance.dropped == len(PCM) and utterance.seconds == 0.06


def test_what_nobody_will_get_is_forgotten() -> None:
    utterance = spoken(3)
    utterance.forget()
    assert utterance.next(0) is None and utterance.length == 3 * len(PCM)
