"""The language model's stage: what an answer costs however it ends, and what its tokens say of themselves."""

import asyncio

import msgspec
import pytest

from connectors_app.base import ErrorKind, Finished
from mesh import subjects
from mesh.bus.client import Bus
from mesh.events import Event, Interrupted, ReplySentence, SessionEnded, TurnDiscarded, TurnEnded, Usage
from mesh.store import Valkey
from mesh.subjects import Stage
from tests.connectors_app.fakes import NEVER, ScriptedModel, failing
from tests.workers.stages import SECONDS, played
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


async def test_tokens_name_their_writers_epoch(bus: Bus, valkey: Valkey) -> None:
    deltas: asyncio.Queue[bytes] = asyncio.Queue()
    async with played(bus, valkey, Stage.LLM, Answering, ScriptedModel("model", "Late.", Finished())) as stage:
        await bus.subscribe(subjects.llm_delta(stage.session), lambda _, told, __: deltas.put_nowait(told))
        await stage.say(TURN)
        told = msgspec.json.decode(await asyncio.wait_for(deltas.get(), SECONDS))
        assert told == {"turn": 1, "generation": 1, "epoch": 1, "text": "Late."}
