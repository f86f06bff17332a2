"""Self-routing: one table of flows and what each makes the services do."""

from dataclasses import dataclass

import pytest

from mesh.config.reading import parse
from mesh.routing import Routes
from mesh.subjects import Stage
from tests.mesh.documents import with_flow

FACTS = (
    "stt_hears_transport",
    "speech_to_llm",
    "typed_to_llm",
    "llm_answers",
    "transport_plays",
)


@dataclass(frozen=True)
class Flow:
    name: str
    steps: tuple[str, ...]
    true: frozenset[str]
    """The facts that hold; every other one must not."""
    voices: frozenset[str]
    """Whose texts are spoken."""
    stages: str


def flow(name: str, steps: str, true: str, voices: str, stages: str) -> Flow:
    return Flow(name, tuple(steps.split()), frozenset(true.split()), frozenset(voices.split()), stages)


LOOP = "transport>stt stt>llm llm>tts tts>transport"
SPOKEN = "stt_hears_transport speech_to_llm llm_answers transport_plays"

FLOWS = [
    flow("voice loop", LOOP, SPOKEN, "llm", "stt llm tts"),
    flow("live captions", "transport>stt stt>transport", "stt_hears_transport", "", "stt"),
    flow("text chat", "transport>llm llm>transport", "typed_to_llm llm_answers", "", "llm"),
    flow("announcer", "transport>tts tts>transport", "transport_plays", "transport", "tts"),
    flow("captioned call", f"{LOOP} stt>transport", SPOKEN, "llm", "stt llm tts"),
    flow("both ways in", f"{LOOP} transport>llm", f"{SPOKEN} typed_to_llm", "llm", "stt llm tts"),
    flow("voice with text", f"{LOOP} llm>transport", SPOKEN, "llm", "stt llm tts"),
    flow(
        "read out", "transport>llm llm>tts tts>transport", "typed_to_llm llm_answers transport_plays", "llm", "llm tts"
    ),
    flow(
        "dictation to a model",
        "transport>stt stt>llm llm>transport",
        "stt_hears_transport speech_to_llm llm_answers",
        "",
        "stt llm",
    ),
    flow("parrot", "transport>stt stt>tts tts>transport", "stt_hears_transport transport_plays", "stt", "stt tts"),
    flow("loop and announcer", f"{LOOP} transport>tts", SPOKEN, "llm transport", "stt llm tts"),
    flow("nothing comes in", "stt>llm llm>tts tts>transport", "speech_to_llm llm_answers transport_plays", "llm", ""),
    flow("useless step", f"{LOOP} tts>llm", SPOKEN, "llm", "stt llm tts"),
]


def routes(case: Flow) -> Routes:
    return Routes.of(parse(with_flow(*case.steps)))


@pytest.mark.accepts("M43")
@pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.name)
def test_a_flow_says_what_is_done(case: Flow) -> None:
    assert {fact for fact in FACTS if getattr(routes(case), fact)} == case.true


@pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.name)
def test_a_flow_says_whose_texts_are_spoken(case: Flow) -> None:
    voices = {source for source in ("transport", "stt", "llm") if routes(case).tts_speaks(source)}
    assert voices == case.voices


@pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.name)
def test_a_flow_says_which_workers_it_needs(case: Flow) -> None:
    assert routes(case).needed_stages == {Stage(name) for name in case.stages.split()}


@pytest.mark.accepts("M43")
def test_order_of_steps_changes_nothing() -> None:
    forward, backward = (Routes.of(parse(with_flow(*order))) for order in (LOOP.split(), reversed(LOOP.split())))
    assert {fact: getattr(forward, fact) for fact in FACTS} == {fact: getattr(backward, fact) for fact in FACTS}


def test_several_steps_fan_out_in_order() -> None:
    fan = Routes.of(parse(with_flow("transport>stt", "stt>transport", "stt>llm", "llm>transport")))
    assert [step.target for step in fan.targets("stt")] == ["transport", "llm"]
    assert [step.source for step in fan.sources("transport")] == ["stt", "llm"]
