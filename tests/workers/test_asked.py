"""What the web process asks by NATS: sessions are opened, talked into, changed and ended; strangers find nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from mesh import asking, subjects
from mesh.asking import ChangeConfig, Declined, End, Opened, Question, Say
from mesh.bus.errors import NobodyThere
from mesh.events import ReplySentence, SessionCreated, SessionEnded, TurnEnded
from mesh.roster import Beat
from mesh.subjects import Stage
from tests.workers.desks import document
from tests.workers.lines import DEADLINE, HandWire, Process, transport_process
from tests.workers.test_call import TEXT_ONLY, reply, until
from workers.asked import Asked
from workers.call import WAITING_TEXTS
from workers.media.wire import Typed

HOME = "default"


@pytest.fixture
async def one(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        employ(process)
        yield process


@pytest.fixture
async def other(nats_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with transport_process(nats_url, valkey_url) as process:
        yield process


def employ(process: Process) -> None:
    """A worker of each role is known, and stays so."""
    providers = {"stt": ("openai",), "llm": ("openai",), "tts": ("elevenlabs",)}
    for role, names in providers.items():
        process.transport.casting.roster.hear(Beat(id=role, role=role, providers=names), float("inf"))


async def ask(process: Process, question: Question) -> dict[str, Any]:
    """Straight to this process, whichever the queue group would choose."""
    answer: dict[str, Any] = msgspec.json.decode(await Asked(process.transport)(asking.encode(question)))
    return answer


async def declined(process: Process, question: Question) -> Declined:
    return msgspec.convert(await ask(process, question), Declined)


async def open_session(process: Process, **changes: Any) -> Opened:
    changes = {"config": document(), **changes}
    return msgspec.convert(await ask(process, asking.Open(workspace=HOME, **changes)), Opened)


def say(session: str, text: str = "One moment.", workspace: str = HOME) -> Say:
    return Say(workspace=workspace, session=session, text=text)


async def announced(process: Process, session: str) -> list[tuple[int, str]]:
    """The sentences that the transport had the agent say, with their generations."""
    history = await process.transport.bus.history(session)
    sentences = [stored.event for stored in history if stored.stage == Stage.SESSION]
    return [(event.generation, event.text) for event in sentences if isinstance(event, ReplySentence)]


async def until_announced(process: Process, session: str, text: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(DEADLINE):
        while not any(text == said for _, said in found):
            await process.transport.bus.round_trip()
            found = await announced(process, session)
    return found


# -- open ------------------------------------------------------------------------------------------------


async def test_open_answers_over_the_queue_group(one: Process, other: Process) -> None:
    employ(other)
    question = asking.Open(workspace=HOME, config=document())
    payload = await one.transport.bus.request(subjects.TRANSPORT_ASK, asking.encode(question), within=DEADLINE)
    opened = msgspec.json.decode(payload, type=Opened)
    assert opened.path == f"/media/websocket/{opened.session}"
    assert opened.socket_path == f"{opened.path}/{opened.token}"
    assert opened.expires_in == 600


async def test_a_caller_may_have_to_hurry(one: Process) -> None:
    opened = await open_session(one, join_within=60)
    record = await one.transport.sessions.get(opened.session)
    assert record is not None
    waits = datetime.fromisoformat(record["join_by"]) - datetime.fromisoformat(record["created_at"])
    assert (opened.expires_in, waits) == (60, timedelta(seconds=60))
    for seconds in (0, 601):
        question = asking.Open(workspace=HOME, config=document(), join_within=seconds)
        assert (await declined(one, question)).status == 400


async def test_an_opened_session_knows_its_agent(one: Process) -> None:
    opened = await open_session(one, agent="shop", agent_version=3, name="Trial", caller="Ada", captions=False)
    created = (await until(one.transport.bus, opened.session, SessionCreated)).event
    assert isinstance(created, SessionCreated)
    assert (created.agent, created.agent_version, created.name, created.caller) == ("shop", 3, "Trial", "Ada")
    assert created.details["transcription"] is False


async def test_an_agent_for_the_telephone_opens_in_a_browser(one: Process) -> None:
    assert (await declined(one, asking.Open(workspace=HOME, config=document("twilio")))).status == 422
    opened = await open_session(one, config=document("twilio"), transport="websocket")
    record = await one.transport.sessions.get(opened.session)
    assert record and record["transport"] == "websocket"


@pytest.mark.parametrize(
    ("changes", "status", "path"),
    [
        ({"config": []}, 422, "config"),
        ({"config": document() | {"greeting": 1}}, 422, "config.greeting"),
        ({"config": document("carrier pigeon")}, 422, "config.connectors.transport.primary"),
        ({"transport": "carrier pigeon"}, 422, "transport"),
        ({"name": "n" * 201}, 422, "name"),
        ({"caller": "a\nb"}, 422, "caller"),
    ],
)
async def test_a_wrong_open_names_the_field(one: Process, changes: dict[str, Any], status: int, path: str) -> None:
    answer = await declined(one, asking.Open(workspace=HOME, **({"config": document()} | changes)))
    assert (answer.status, [detail.path for detail in answer.detail]) == (status, [path])


async def test_open_without_workers_says_who_is_missing(other: Process) -> None:
    answer = await declined(other, asking.Open(workspace=HOME, config=document()))
    assert answer.status == 503
    assert "openai needs OPENAI_API_KEY" in answer.error


# -- say -------------------------------------------------------------------------------------------------


async def test_a_text_is_said_sentence_by_sentence(one: Process) -> None:
    session = await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    assert await ask(one, say(session, "  We close soon. Please come back tomorrow.  ")) == {"ok": True}
    assert await until_announced(one, session, "Please come back tomorrow.") == [
        (1, "We close soon."),
        (1, "Please come back tomorrow."),
    ]
    await wire.until("reply")


async def test_a_text_waits_for_the_running_answer(one: Process) -> None:
    bus, session = one.transport.bus, await one.create(**TEXT_ONLY)
    wire, _ = await one.call(session)
    wire.facts.put_nowait(Typed("Are you open?"))
    await until(bus, session, TurnEnded)
    await ask(one, say(session, "We close soon."))
    assert await announced(one, session) == []
    await reply(bus, session, "Yes.", "Until six.")
    await until_announced(one, session, "We close soon.")
    said = [stored.event.text for stored in await bus.history(session) if isinstance(stored.event, ReplySentence)]
    assert said == ["Yes.", "Until six.", "We close soon."]


async def test_texts_are_said_in_their_order(one: Process) -> None:
    session = await one.create(**TEXT_ONLY)
    await one.call(session)
    for number in range(1, 4):
        await ask(one, say(session, f"Number {number}."))
    found = await until_announced(one, session, "Number 3.")
    assert found == [(1, "Number 1."), (2, "Number 2."), (3, "Number 3.")]


async def test_a_text_in_the_first_moment_follows_the_greeting(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    transport, session = one.transport, await one.create(**TEXT_ONLY, greeting="Hello.")
    note = transport.records.note

    async def say_and_note(session: str, **changes: Any) -> None:
        """Before the call has read its history."""
        if changes.get("state") == "live":
            assert transport.calls[session].say("We close soon.") == ""
        await note(session, **changes)

    monkeypatch.setattr(transport.records, "note", say_and_note)
    one.answer(session, HandWire())
    assert await until_announced(one, session, "We close soon.") == [(1, "Hello."), (2, "We close soon.")]


async def test_another_process_passes_a_text_on(one: Process, other: Process) -> None:
    session = await one.create(**TEXT_ONLY)
    await one.call(session)
    assert await ask(other, say(session, "From the neighbour.")) == {"ok": True}
    assert await until_announced(one, session, "From the neighbour.") == [(1, "From the neighbour.")]


async def test_waiting_texts_have_a_bound(one: Process, other: Process) -> None:
    session = await one.create()  # with a voice, which nobody has here: the first text is never over
    await one.call(session)
    for _ in range(WAITING_TEXTS + 1):
        assert await ask(one, say(session)) == {"ok": True}
    for process in (one, other):
        answer = await declined(process, say(session))
        assert (answer.status, "wait to be said" in answer.error) == (409, True)


@pytest.mark.parametrize("text", ["", " \n", "a" * 4001])
async def test_a_text_that_cannot_be_said_is_refused(one: Process, text: str) -> None:
    session = await one.create(**TEXT_ONLY)
    await one.call(session)
    answer = await declined(one, say(session, text))
    assert (answer.status, [detail.path for detail in answer.detail]) == (422, ["text"])


async def test_nothing_is_said_without_a_caller(one: Process) -> None:
    answer = await declined(one, say(await one.create()))
    assert (answer.status, "no caller yet" in answer.error) == (409, True)


async def test_nothing_is_said_after_the_end(one: Process) -> None:
    session = await one.create()
    await ask(one, End(workspace=HOME, session=session))
    answer = await declined(one, say(session))
    assert (answer.status, "is over" in answer.error) == (409, True)


async def test_a_live_session_that_nobody_holds_is_unavailable(one: Process) -> None:
    session = await one.create()
    await one.transport.records.note(session, state="live")
    answer = await declined(one, say(session))
    await one.transport.sessions.delete(session)  # no other test shall find it
    assert answer.status == 503


# -- end and config --------------------------------------------------------------------------------------


async def test_end_ends_the_call_with_its_reason(one: Process, other: Process) -> None:
    session = await one.create()
    wire, _ = await one.call(session)
    assert await ask(other, End(workspace=HOME, session=session, reason="operator")) == {"ok": True}
    ended = (await until(one.transport.bus, session, SessionEnded)).event
    assert isinstance(ended, SessionEnded) and ended.reason == "operator"
    assert await ask(other, End(workspace=HOME, session=session)) == {"ok": True}
    assert await one.transport.configs.get_document(session) is None


async def test_a_reason_is_one_word(one: Process) -> None:
    question = End(workspace=HOME, session=await one.create(), reason="I say so!")
    assert [detail.path for detail in (await declined(one, question)).detail] == ["reason"]


async def test_config_is_stored_for_the_next_turn(one: Process) -> None:
    session = await one.create()
    changed = document() | {"system_prompt": "Be brief."}
    answer = await ask(one, ChangeConfig(workspace=HOME, session=session, config=changed))
    assert await one.transport.configs.get_document(session) == changed
    assert len(answer["revision"]) == 12


async def test_a_wrong_config_changes_nothing(one: Process) -> None:
    session = await one.create()
    answer = await declined(one, ChangeConfig(workspace=HOME, session=session, config=document("twilio")))
    assert (answer.status, answer.detail[0].path) == (422, "connectors.transport.primary")
    assert await one.transport.configs.get_document(session) == document()


# -- strangers, noise and stops --------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["mine", "unknown", "no id!", "keys"])
async def test_a_stranger_finds_nothing(one: Process, session: str) -> None:
    session = await one.create() if session == "mine" else session
    questions: list[Question] = [
        say(session, workspace="elsewhere"),
        End(workspace="elsewhere", session=session),
        ChangeConfig(workspace="elsewhere", session=session, config=document()),
    ]
    answers = [await declined(one, question) for question in questions]
    assert {(answer.status, answer.error) for answer in answers} == {(404, "There is no such session.")}


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b'{"verb": "sing"}', b'{"verb": "say"}', b"[" * 5000])
async def test_what_is_no_question_is_answered(one: Process, payload: bytes) -> None:
    answer = msgspec.json.decode(await Asked(one.transport)(payload), type=Declined)
    assert (answer.status, answer.error.startswith("The question cannot be read: ")) == (400, True)


async def test_a_fault_of_ours_is_answered(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one.transport.sessions, "get", None)
    assert (await declined(one, say("s1"))).status == 500


async def test_a_process_that_stops_takes_no_questions(one: Process) -> None:
    await one.transport.take_nothing_new()
    with pytest.raises(NobodyThere):
        await one.transport.bus.request(subjects.TRANSPORT_ASK, asking.encode(say("s1")), within=DEADLINE)
