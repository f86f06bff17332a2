"""The language model's stage: what an answer costs however it ends, and what its tokens say of themselves."""

import asyncio
from typing import Any

import msgspec
import pytest

from connectors_app.base.errors import ErrorKind
from connectors_app.base.language_model import Finished
from mesh import subjects
from mesh.bus.client import Bus
from mesh.events import (
    Event,
    Interrupted,
    ProviderFailed,
    ProviderSwitched,
    ReplyDone,
    ReplySentence,
    SessionEnded,
    SessionUpdated,
    TurnDiscarded,
    TurnEnded,
    Usage,
)
from mesh.store import Valkey
from mesh.subjects import Stage
from tests.connectors_app.fakes import NEVER, ScriptedModel, failing
from tests.unsupervised import document
from tests.workers.stages import SECONDS, begin_session, played
from workers.llm import Answering

pytestmark = pytest.mark.nats
TURN = TurnEnded(turn=1, generation=1, text="What time is it?", cause="speech")
ENDS = (
    Interrupted(turn=1, generation=1, sentence=0, samples=0, rate=8000, heard=""),
    TurnDiscarded(turn=1, generation=1, reason="went on"),
    SessionEnded(reason="hangup"),
)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.type())
async def test_an_answer_cut_short_is_paid(end: Event, bus: Bus, valkey: Valkey) -> None:
    model = ScriptedModel("model", "It is late. ", "It is", NEVER)
    async with played(bus, valkey, Stage.LLM, Answering, model) as stage:
        await stage.say(TURN)
        await stage.hear(ReplySentence)
        await stage.say(end)
        used = [await stage.hear(Usage), await stage.hear(Usage)]
        assert [(usage.unit, usage.estimated, usage.generation) for usage in used] == [
            ("input_tokens", True, 1),
            ("output_tokens", True, 1),
        ]


async def test_a_whole_answer_costs_what_it_says(bus: Bus, valkey: Valkey) -> None:
    model = ScriptedModel("model", "It is late.", Finished("stop", 30, 4))
    async with played(bus, valkey, Stage.LLM, Answering, model) as stage:
        await stage.say(TURN)
        used = [await stage.hear(Usage), await stage.hear(Usage)]
        assert [(usage.quantity, usage.estimated) for usage in used] == [(30, False), (4, False)]


async def test_words_begun_anew_say_so(bus: Bus, valkey: Valkey) -> None:
    deltas: asyncio.Queue[bytes] = asyncio.Queue()
    models = (
        ScriptedModel("one", "It is late. I w", failing(ErrorKind.BROKEN)),
        ScriptedModel("other", "Good night.", Finished()),
    )
    async with played(bus, valkey, Stage.LLM, Answering, *models) as stage:
        await bus.subscribe(subjects.llm_delta(stage.session), lambda _, told, __: deltas.put_nowait(told))
        await stage.say(TURN)
        told = [msgspec.json.decode(await asyncio.wait_for(deltas.get(), SECONDS)) for _ in range(2)]
    assert [one["text"] for one in told] == ["It is late. I w", "Good night. "]
    assert "anew" not in told[0] and (told[1]["anew"], told[1]["sentence"]) == (True, 1)


async def test_a_break_in_the_middle_is_told_and_counted(bus: Bus, valkey: Valkey) -> None:
    models = (
        ScriptedModel("one", "It is late. I w", failing(ErrorKind.BROKEN)),
        ScriptedModel("other", "Good night.", Finished()),
    )
    async with played(bus, valkey, Stage.LLM, Answering, *models) as stage:
        await stage.say(TURN)
        failed, switched = await stage.hear(ProviderFailed), await stage.hear(ProviderSwitched)
        done = await stage.hear(ReplyDone)
        count = stage.host._metrics.provider_failures.labels("one", ErrorKind.BROKEN)._value.get()
    assert (failed.provider, failed.kind, failed.turn) == ("one", ErrorKind.BROKEN, 1)
    assert (switched.before, switched.after) == ("one", "other")
    assert (done.sentences, done.provider, count) == (2, "other", 1)


async def test_tokens_name_their_writers_epoch(bus: Bus, valkey: Valkey) -> None:
    deltas: asyncio.Queue[bytes] = asyncio.Queue()
    async with played(bus, valkey, Stage.LLM, Answering, ScriptedModel("model", "Late.", Finished())) as stage:
        await bus.subscribe(subjects.llm_delta(stage.session), lambda _, told, __: deltas.put_nowait(told))
        await stage.say(TURN)
        told = msgspec.json.decode(await asyncio.wait_for(deltas.get(), SECONDS))
        assert told == {"turn": 1, "generation": 1, "epoch": 1, "text": "Late."}


async def test_words_after_a_takeover_are_begun_anew(bus: Bus, valkey: Valkey) -> None:
    """The former owner may have shown half of the sentence."""
    session = await begin_session(bus)
    transport = await bus.take_fence(session, Stage.SESSION, owner="transport")
    await transport.append(TURN)
    former = await bus.take_fence(session, Stage.LLM, owner="former")
    await former.append(ReplySentence(turn=1, generation=1, sentence=0, text="It is late."))
    deltas: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe(subjects.llm_delta(session), lambda _, told, __: deltas.put_nowait(told))
    model = ScriptedModel("model", " Good night.", Finished())
    async with played(bus, valkey, Stage.LLM, Answering, model, session=session):
        told = msgspec.json.decode(await asyncio.wait_for(deltas.get(), SECONDS))
    assert (told["epoch"], told["anew"], told["sentence"]) == (2, True, 1)


# -- a configuration that changes ------------------------------------------------------------------------


def thought_by(model: str, **changes: Any) -> SessionUpdated:
    config = document(**changes)
    config["connectors"]["llm"]["config"] = {"openai": {"model": model}}
    return SessionUpdated(config=config, revision=f"{model} {changes}")


class Fragile(Answering):
    """Breaks as soon as it has another configuration."""

    def configured(self) -> None:
        super().configured()
        self.tasks.create_task(self._break())

    async def _break(self) -> None:
        raise ValueError("a fault")


async def test_a_broken_actor_gives_all_its_models_back(bus: Bus, valkey: Valkey) -> None:
    """Also the one that a reply still ran on."""
    model = ScriptedModel("model", "It is late.", NEVER)
    async with played(bus, valkey, Stage.LLM, Fragile, model) as stage, asyncio.timeout(SECONDS):
        await stage.say(TURN)
        await model.began.wait()
        await stage.say(thought_by("gpt-4o-mini"))
        await asyncio.wait(stage.host._tasks())
        assert stage.host._pool._users == {model: 0}


async def test_another_prompt_leaves_the_models(bus: Bus, valkey: Valkey) -> None:
    model = ScriptedModel("model", "Late.", Finished())
    async with played(bus, valkey, Stage.LLM, Answering, model) as stage:
        await stage.say(thought_by("gpt-4o", system_prompt="Be brief."))
        await stage.say(TURN)
        await stage.hear(ReplyDone)
        assert stage.host._pool._users == {model: 1} and model.asked[0][0].content == "Be brief."


# -- prompts ---------------------------------------------------------------------------------------------


@pytest.mark.accepts("C38", "C39", "C40")
async def test_the_model_is_told_by_templates(bus: Bus, valkey: Valkey) -> None:
    """A changed one holds from the next turn on, for what was said before as well; history keeps the words."""
    model = ScriptedModel("model", "Late.", Finished())
    changed = document(system_prompt="Be kind.", user_template="{mood}: {input_data}", variables={"mood": "Sad"})
    session = await begin_session(bus, context_instructions="In {session_id}.")
    async with played(bus, valkey, Stage.LLM, Answering, model, session=session) as stage:
        await stage.say(TURN)
        await stage.hear(ReplyDone)
        await stage.say(SessionUpdated(config=changed, revision="2"))
        await stage.say(TurnEnded(turn=2, generation=2, text="Why?", cause="speech"))
        await stage.hear(ReplyDone)
    told = [[(message.role, message.content) for message in asked] for asked in model.asked]
    assert told[0] == [
        ("system", f"You are a helpful voice assistant.\n\nIn {session}."),
        ("user", "What time is it?"),
    ]
    assert told[1] == [("system", "Be kind."), ("user", "Sad: What time is it? Why?")]
