"""What events become in the rows."""

from typing import Any

import pytest

from accounts_app.models import Workspace
from mesh import events
from mesh.events import Stored
from mesh.subjects import Stage
from pipelines_app.models import Agent, AgentVersion
from sessions_app.fold import fold
from sessions_app.models import (
    BridgeCursor,
    CursorMoved,
    Incident,
    Session,
    State,
    TranscriptEntry,
    Turn,
    TurnState,
    Usage,
)
from tests.sessions_app.stories import Story, Write, created, ended, final, interrupted, played, tell_a_call, usage

pytestmark = pytest.mark.django_db


def everything() -> list[Any]:
    models = (Session, Turn, TranscriptEntry, Usage, Incident)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def spoken() -> list[tuple[str, str]]:
    return list(TranscriptEntry.objects.values_list("speaker", "text"))


def test_a_call_becomes_its_rows(workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    session = Session.objects.get()
    assert (session.state, session.reason, session.media_ms) == (State.ENDED, "hangup", 9000)
    assert (session.workspace, session.owner, session.name) == (workspace, "transport-1", "Booking")
    assert session.last_sequence == story.sequence


def test_the_transcript_is_what_was_heard(workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    heard = [("agent", "Hello."), ("caller", "A table for two."), ("agent", "When?"), ("agent", "I have")]
    assert spoken() == heard
    assert [entry.turn for entry in TranscriptEntry.objects.all()] == [0, 1, 1, 1]
    assert [entry.interrupted for entry in TranscriptEntry.objects.all()] == [False, False, False, True]


def test_a_turn_holds_question_and_answer(workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    turn = Turn.objects.get()
    assert (turn.text, turn.reply, turn.state) == ("A table for two.", "When? I have", TurnState.INTERRUPTED)
    assert (turn.generation, turn.cause, turn.waterfall) == (2, "speech", {"transcript": 210, "turn_end": 212})


def test_usage_is_counted_once(workspace: Workspace, story: Story, write: Write, cursor: BridgeCursor) -> None:
    write(tell_a_call(story))
    cursor.sequence = 0
    cursor.save()
    write(story.told)
    assert [(row.quantity, row.micros, row.workspace) for row in Usage.objects.all()] == [(12, 34, workspace)]


def test_an_estimate_is_kept_as_one(workspace: Workspace, story: Story, write: Write) -> None:
    told = events.Usage(role="llm", provider="p", model="m", unit="output_tokens", quantity=3, estimated=True)
    write(tell_a_call(story))
    write(story.tell(told, stage=Stage.LLM))
    assert Usage.objects.filter(estimated=True).count() == 1


def test_a_whole_replay_changes_nothing(workspace: Workspace, story: Story, write: Write, cursor: BridgeCursor) -> None:
    write(tell_a_call(story))
    before = everything()
    cursor.sequence = 0
    cursor.save()
    write(story.told)
    assert everything() == before


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_batches_of_any_size_agree(
    size: int, workspace: Workspace, story: Story, write: Write, cursor: BridgeCursor
) -> None:
    told = tell_a_call(story)
    write(told)
    whole = everything()
    Session.objects.all().delete()
    Usage.objects.all().delete()  # which outlives its session
    cursor.sequence = 0
    cursor.save()
    for start in range(0, len(told), size):
        write(told[start : start + size])
    assert [_without_ids(rows) for rows in everything()] == [_without_ids(rows) for rows in whole]


def _without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("id", "owner")} for row in rows]


def test_events_before_the_cursor_pass(workspace: Workspace, story: Story, write: Write) -> None:
    write(tell_a_call(story))
    assert write(story.told).events == 0


def test_another_bridge_is_noticed(workspace: Workspace, story: Story, write: Write, cursor: BridgeCursor) -> None:
    BridgeCursor.at("EVENTS", created="today").advance(7)
    with pytest.raises(CursorMoved):
        write(tell_a_call(story))
    assert not Session.objects.exists()


def test_a_crash_loses_and_doubles_nothing(workspace: Workspace, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tell_a_call(story)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Usage.objects.__class__, "bulk_create", _die)
        fold(told, BridgeCursor.at("EVENTS", created="today"))
    fold(told, BridgeCursor.at("EVENTS", created="today"))
    assert (Session.objects.count(), TranscriptEntry.objects.count(), Usage.objects.count()) == (1, 4, 1)


def _die(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_new_stream_is_read_from_its_start(cursor: BridgeCursor) -> None:
    cursor.advance(500)
    assert BridgeCursor.at("EVENTS", created="today").sequence == 500
    assert BridgeCursor.at("EVENTS", created="tomorrow").sequence == 0


def test_strange_events_are_counted_and_passed(workspace: Workspace, story: Story, write: Write) -> None:
    unknown = Stored(sequence=1, subject="x", id="", session="s1", stage="", epoch=0, at=0, type="new", event=None)
    story.sequence = 1
    batch = [unknown, *story.tell(events.TurnStarted(turn=1)), *story.tell(created("nobody")), *story.tell(created())]
    folded = write(batch)
    assert folded.skipped == {"unknown_type": 1, "unknown_session": 2, "unknown_workspace": 1}
    assert Session.objects.count() == 1


def test_a_refused_event_holds_nothing_up(workspace: Workspace, story: Story, write: Write) -> None:
    story.tell(created())
    story.tell(events.Usage(role="llm", provider="p", model="m", unit="u", quantity=1 << 70), usage(), stage=Stage.LLM)
    assert write(story.told).skipped == {"refused": 1}
    assert Usage.objects.get().quantity == 12


def test_the_session_runs_its_agent_version(workspace: Workspace, story: Story, write: Write) -> None:
    agent = Agent.objects.create(workspace=workspace, slug="frontdesk", name="Front desk")
    version = AgentVersion.objects.create(agent=agent, number=3, config={}, sha256="", revision="")
    write(story.tell(created(agent="frontdesk", agent_version=3)))
    assert Session.objects.get().agent_version == version


def test_what_the_caller_adds_is_the_same_turn(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), events.TurnStarted(turn=1), ended(1, "I want", generation=1)))
    write(story.tell(events.TurnDiscarded(turn=1, generation=1), ended(1, "I want a table", generation=2)))
    turn = Turn.objects.get()
    assert (turn.text, turn.generation, turn.state) == ("I want a table", 2, TurnState.ANSWERING)


def test_an_announcement_leaves_the_turn_as_it_is(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), ended(1, "Hi", generation=1)))
    write(story.tell(events.ReplyDone(turn=1, generation=1, sentences=1), stage=Stage.LLM))
    write(story.tell(events.TurnDiscarded(turn=1, generation=2, reason="the caller spoke")))
    assert Turn.objects.get().state == TurnState.ANSWERED


FAILURES: list[tuple[Stage, list[events.Event]]] = [
    (Stage.SESSION, [events.TurnDiscarded(turn=1, reason="all fail", failed="stt")]),
    (Stage.LLM, [ended(1, "Hi"), events.ReplyFailed(turn=1, generation=1, sentences=0, detail="all fail")]),
    (Stage.TTS, [ended(1, "Hi"), events.SentenceFailed(turn=1, generation=1, sentence=0, detail="all fail")]),
]


@pytest.mark.parametrize(("stage", "told"), FAILURES)
def test_a_turn_has_failed_whichever_role_did(
    stage: Stage, told: list[events.Event], workspace: Workspace, story: Story, write: Write
) -> None:
    write(story.tell(created(), events.TurnStarted(turn=1)))
    write(story.tell(*told, stage=stage))
    write(story.tell(events.ReplyDone(turn=1, generation=1, sentences=1), stage=Stage.LLM))
    write(story.tell(events.Apologised(turn=1, generation=2, role="tts"), played(1, "Sorry.", generation=2)))
    turn, session = Turn.objects.get(), Session.objects.get()
    assert (turn.state, turn.detail, turn.reply, session.state) == (TurnState.FAILED, "all fail", "Sorry.", "created")


@pytest.mark.parametrize("number", [0, 1])
def test_an_announcement_that_fails_is_no_failed_turn(
    number: int, workspace: Workspace, story: Story, write: Write
) -> None:
    write(story.tell(created(), ended(1, "Hi")))
    write(story.tell(events.ReplyDone(turn=1, generation=1, sentences=1), stage=Stage.LLM))
    write(story.tell(events.SentenceFailed(turn=number, generation=2, sentence=0, detail="no voice"), stage=Stage.TTS))
    assert Turn.objects.get().state == TurnState.ANSWERED


def test_what_the_caller_stopped_has_not_failed(workspace: Workspace, story: Story, write: Write) -> None:
    """What was made ahead and never heard: in whatever order it is told."""
    failed = events.SentenceFailed(turn=1, generation=1, sentence=3, detail="no voice")
    write(story.tell(created(), ended(1, "Hi"), interrupted(1, "Well,"), failed))
    assert (Turn.objects.get().state, Turn.objects.get().detail) == (TurnState.INTERRUPTED, "")


def recognition(utterance: int) -> list[events.Event]:
    return [
        events.ProviderFailed(role="stt", provider="a", kind="auth", detail="no", utterance=utterance),
        events.ProviderSwitched(role="stt", before="a", after="b", utterance=utterance),
        events.Usage(role="stt", provider="b", model="", unit="audio_ms", quantity=9, utterance=utterance),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_recognition_belongs_to_the_turn_that_it_became(
    size: int, workspace: Workspace, story: Story, write: Write
) -> None:
    """And what was heard of a noise to none."""
    story.tell(created(), events.TurnStarted(turn=1))
    for utterance in (1, 2, 3):
        story.tell(*recognition(utterance), final("Hi", utterance), stage=Stage.STT)
    story.tell(events.TurnEnded(turn=1, generation=1, text="Hi Hi", cause="speech", utterances=(1, 3)))
    story.tell(events.TurnStarted(turn=2), *recognition(4), events.TurnDiscarded(turn=2, failed="stt", utterances=(4,)))
    for start in range(0, len(story.told), size):
        write(story.told[start : start + size])
    turns = {1: 1, 2: 0, 3: 1, 4: 2}
    assert dict(Usage.objects.values_list("utterance", "turn")) == turns
    assert set(Incident.objects.values_list("utterance", "turn")) == set(turns.items())
    assert Usage.objects.count() == 4 and Incident.objects.count() == 8


def test_words_that_break_in_belong_to_the_new_turn(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), events.TurnStarted(turn=1), ended(1, "Hi")))
    write(story.tell(final("No, stop.", 2), stage=Stage.STT))
    write(story.tell(events.TurnStarted(turn=2), ended(2, "No, stop.")))
    assert TranscriptEntry.objects.get().turn == 2


def test_typed_words_are_not_said_twice(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), ended(1, "a table", generation=1, cause="typed")))
    write(story.tell(ended(1, "a table for two", generation=2, cause="typed")))
    assert spoken() == [("caller", "a table"), ("caller", "for two")]


def test_a_sentence_is_one_entry(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), ended(1, "Hi"), interrupted(1, "Good")))
    write(story.tell(played(1, "Good morning.")))
    assert spoken() == [("agent", "Good morning.")]
    assert Turn.objects.get().reply == "Good morning."


def test_a_sentence_begins_before_who_interrupts_it(workspace: Workspace, story: Story, write: Write) -> None:
    story.tell(created())
    story.tell(final("Stop!"), stage=Stage.STT)
    story.tell(interrupted(1, "Let me tell you all", samples=24_000))  # three seconds of it, the words came in between
    write(story.told)
    said = TranscriptEntry.objects.order_by("at").values_list("speaker", "text")
    assert list(said) == [("agent", "Let me tell you all"), ("caller", "Stop!")]


def test_an_unheard_sentence_is_no_entry(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), ended(1, "Hi"), interrupted(1, "", samples=0)))
    assert spoken() == []
    assert Turn.objects.get().state == TurnState.INTERRUPTED


def test_failures_of_providers_are_kept(workspace: Workspace, story: Story, write: Write) -> None:
    story.tell(created())
    failed = events.ProviderFailed(role="llm", provider="openai", kind="timeout", detail="no token", turn=1, ms=1500)
    story.tell(failed, events.ProviderSwitched(role="llm", before="openai", after="anthropic"), stage=Stage.LLM)
    story.tell(events.SentenceFailed(turn=1, generation=1, sentence=2, detail="no voice"), stage=Stage.TTS)
    story.tell(events.Apologised(turn=1, generation=2, role="tts"))
    write(story.told)
    kept = list(Incident.objects.values_list("kind", "role", "provider", "successor", "error"))
    assert kept == [
        ("provider.failed", "llm", "openai", "", "timeout"),
        ("provider.switched", "llm", "openai", "anthropic", ""),
        ("sentence.failed", "tts", "", "", ""),
        ("apologised", "tts", "", "", ""),
    ]


def test_words_after_the_end_are_kept(workspace: Workspace, story: Story, write: Write) -> None:
    """A recogniser gives the caller's last words, and the bill for them, when the line is cut already."""
    write(tell_a_call(story))
    before, used = len(spoken()), Usage.objects.count()
    write(story.tell(final("Thank you, goodbye.", 9), usage(), stage=Stage.STT))
    assert spoken()[before:] == [("caller", "Thank you, goodbye.")]
    assert Usage.objects.count() == used + 1 and Session.objects.get().state == State.ENDED


def test_the_first_end_counts(workspace: Workspace, story: Story, write: Write) -> None:
    write(story.tell(created(), events.SessionEnded(reason="hangup")))
    write(story.tell(events.SessionEnded(reason="transport_lost", failed=True), epoch=2))
    assert Session.objects.get().reason == "hangup"
