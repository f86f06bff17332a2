"""What goes on in a session at this moment, as a story of messages and events."""

from typing import Any

import msgspec
import pytest

from mesh import events
from mesh.subjects import Stage
from sessions_app.scene import LONGEST_REPLY, MOST_SESSIONS, SILENT_FOR, Phase, Scene, Scenes
from tests.sessions_app.stories import Story, created, ended, final, interrupted, played


def sentence(number: int, text: str, *, generation: int = 1) -> events.ReplySentence:
    return events.ReplySentence(turn=1, generation=generation, sentence=number, text=text)


class Watching:
    """One session's scenes, as the bridge keeps them."""

    def __init__(self) -> None:
        self.story = Story()
        self.scenes = Scenes()

    def tell(self, *happened: events.Event, stage: Stage = Stage.SESSION, epoch: int = 1) -> Scene:
        batch = self.story.tell(*happened, stage=stage, epoch=epoch)
        self.scenes.fold(batch, {"s1": self.story.sequence}, now=0)
        return self.now

    def interim(self, text: str, *, utterance: int = 1, epoch: int = 1) -> Scene:
        self.scenes.hear_interim("s1", _message(utterance=utterance, epoch=epoch, text=text), now=0)
        return self.now

    def delta(self, text: str, *, generation: int = 1, epoch: int = 1, **anew: Any) -> Scene:
        self.scenes.read_delta("s1", _message(turn=1, generation=generation, epoch=epoch, text=text, **anew), now=0)
        return self.now

    @property
    def now(self) -> Scene:
        return self.scenes.at("s1") or Scene()


def _message(**values: Any) -> bytes:
    return msgspec.json.encode(values)


@pytest.fixture
def watching() -> Watching:
    return Watching()


def test_the_caller_is_heard_word_by_word(watching: Watching) -> None:
    watching.tell(created(), events.TurnStarted(turn=1))
    watching.interim("a table")
    assert watching.interim("a table for two").caller == "a table for two"
    assert watching.now.phase is Phase.LISTENING


def test_a_final_takes_the_interim_away(watching: Watching) -> None:
    watching.interim("a table")
    assert watching.tell(final("A table."), stage=Stage.STT).caller == ""
    assert watching.interim("a table again").caller == ""


def test_a_replaced_recogniser_is_not_heard(watching: Watching) -> None:
    watching.interim("new words", epoch=2)
    assert watching.interim("old words", epoch=1).caller == "new words"


def test_deltas_follow_the_certain_sentences(watching: Watching) -> None:
    watching.tell(ended(1, "Hello?"))
    watching.delta("Good morning. Wh")
    watching.delta("at can I")
    scene = watching.tell(sentence(0, "Good morning."), stage=Stage.LLM)
    assert (scene.agent, scene.coming, scene.phase) == ("Good morning.", "What can I", Phase.SPEAKING)


def test_heard_sentences_are_rows(watching: Watching) -> None:
    watching.tell(sentence(0, "One."), sentence(1, "Two."), stage=Stage.LLM)
    assert watching.tell(played(0, "One.")).agent == "Two."


def test_a_reply_that_was_heard_ends(watching: Watching) -> None:
    watching.tell(ended(1, "Hello?"))
    watching.tell(sentence(0, "One."), events.ReplyDone(turn=1, generation=1, sentences=1), stage=Stage.LLM)
    assert watching.now.phase is Phase.SPEAKING
    assert watching.tell(played(0, "One.")).phase is Phase.WAITING


def test_a_greeting_that_was_heard_ends(watching: Watching) -> None:
    watching.tell(sentence(0, "Good day."), sentence(1, "How are you?"))
    assert watching.tell(played(0, "Good day.")).phase is Phase.SPEAKING
    assert watching.tell(played(1, "How are you?")).phase is Phase.WAITING


def test_an_interruption_drops_the_rest(watching: Watching) -> None:
    watching.tell(sentence(0, "One."), sentence(1, "Two."), stage=Stage.LLM)
    watching.delta("One. Two. Three")
    scene = watching.tell(interrupted(0, "On"))
    assert (scene.agent, scene.coming, scene.phase) == ("", "", Phase.LISTENING)
    assert watching.delta(" and four").coming == ""


def test_a_newer_answer_replaces_an_older_one(watching: Watching) -> None:
    watching.delta("An old answer")
    watching.tell(events.TurnDiscarded(turn=1, generation=1))
    watching.tell(ended(1, "Hello? Are you there?", generation=2))
    assert watching.delta("A new one", generation=2).coming == "A new one"
    assert watching.delta(" goes on").coming == "A new one"


def test_another_worker_goes_on_after_the_last_sentence(watching: Watching) -> None:
    watching.delta("One. Tw")
    watching.tell(sentence(0, "One."), stage=Stage.LLM)
    assert watching.delta("Two and", epoch=2).coming == "Two and"
    assert watching.delta("o lost", epoch=1).coming == "Two and"


def test_another_model_begins_the_sentence_anew(watching: Watching) -> None:
    """A sentence that stands is told later than the words that follow it."""
    watching.delta("One. Tw")
    assert watching.delta("Second", anew=True, sentence=1).coming == "Second"
    assert watching.tell(sentence(0, "One."), stage=Stage.LLM).coming == "Second"
    watching.tell(sentence(1, "Second one."), stage=Stage.LLM)
    assert watching.delta(" one. Third").coming == "Third"


def test_an_end_is_shown_once_and_forgotten(watching: Watching) -> None:
    watching.interim("good")
    watching.tell(events.SessionEnded(reason="hangup"))
    assert watching.scenes.take_changed(0)["s1"].phase is Phase.OVER
    watching.interim("bye", utterance=2)
    assert len(watching.scenes) == 0 and not watching.scenes.take_changed(0)


def test_only_changes_are_taken(watching: Watching) -> None:
    watching.interim("hello")
    assert list(watching.scenes.take_changed(0)) == ["s1"]
    assert not watching.scenes.has_changes and not watching.scenes.take_changed(0)


def test_silent_and_surplus_sessions_are_forgotten() -> None:
    scenes = Scenes()
    for number in range(MOST_SESSIONS + 5):
        scenes.hear_interim(f"s{number}", _message(utterance=1, epoch=1, text="x"), now=0)
    scenes.take_changed(0)
    assert len(scenes) == MOST_SESSIONS and "s0" not in scenes
    scenes.take_changed(SILENT_FOR)
    assert len(scenes) == 0


def test_texts_are_bounded(watching: Watching) -> None:
    for _ in range(3):
        watching.delta("x" * LONGEST_REPLY)
    assert len(watching.now.coming) <= 2 * LONGEST_REPLY


def test_what_cannot_be_read_is_counted(watching: Watching) -> None:
    watching.scenes.hear_interim("s1", b"{", now=0)
    watching.scenes.read_delta("s1", b"[]", now=0)
    assert watching.scenes.unreadable == 2 and len(watching.scenes) == 0
