"""The configuration document: what is read, what is refused and with which words."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from mesh.config.document import AgentConfig, dump
from mesh.config.json_text import MAX_BYTES, load_json, revision
from mesh.config.problems import ConfigError, Problem
from mesh.config.reading import parse, parse_json, read
from mesh.config.rules import check, warnings
from tests.mesh.documents import EXAMPLE, Document, example, with_flow

LOOP = ("transport>stt", "stt>llm", "llm>tts", "tts>transport")


def refusal(document: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(document)
    return [str(problem) for problem in caught.value.problems]


def changed(change: Callable[[Document], Any]) -> Document:
    document = example()
    change(document)
    return document


def put(*path: str | int, value: object) -> Callable[[Document], None]:
    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = value

    return change


@pytest.mark.accepts("M1")
def test_the_prompt_is_read_as_written() -> None:
    assert parse(example()).system_prompt == example()["system_prompt"]


@pytest.mark.accepts("M1")
def test_a_missing_prompt_is_refused() -> None:
    assert refusal(changed(lambda d: d.pop("system_prompt"))) == ["system_prompt: is missing"]


@pytest.mark.accepts("M1")
@pytest.mark.parametrize("prompt", [3, None, ["a", "b"], {"de": "x"}])
def test_the_prompt_is_one_string(prompt: object) -> None:
    (problem,) = refusal(changed(put("system_prompt", value=prompt)))
    assert problem.startswith("system_prompt: must be a string, not ")


@pytest.mark.accepts("M2")
def test_the_pipeline_keeps_its_name() -> None:
    document = changed(put("pipeline", "name", value="night desk"))
    assert parse(document).pipeline.name == "night desk"
    assert dump(parse(document))["pipeline"] == document["pipeline"]


@pytest.mark.accepts("M3")
def test_steps_keep_their_order() -> None:
    document = with_flow(*reversed(LOOP))
    assert [f"{step.source}>{step.target}" for step in parse(document).pipeline.flow] == list(reversed(LOOP))
    assert dump(parse(document)) == document


@pytest.mark.accepts("M4")
@pytest.mark.parametrize("key", ["from", "to", "stream"])
def test_an_incomplete_step_is_named(key: str) -> None:
    assert refusal(changed(lambda d: d["pipeline"]["flow"][2].pop(key))) == [f"pipeline.flow[2].{key}: is missing"]


@pytest.mark.accepts("M5")
@pytest.mark.parametrize("index", range(4))
def test_audio_and_text_need_no_warning(index: int) -> None:
    config = parse(example())
    assert config.pipeline.flow[index].stream in ("audio", "text")
    assert warnings(config) == ()


@pytest.mark.accepts("M5")
def test_other_labels_pass_with_a_warning() -> None:
    config = parse(changed(put("pipeline", "flow", 1, "stream", value="tokens")))
    assert config.pipeline.flow[1].stream == "tokens"
    assert warnings(config) == (Problem("pipeline.flow[1].stream", "'tokens' is passed through; known: audio, text"),)


@pytest.mark.accepts("M6")
def test_the_documented_loop_is_valid() -> None:
    config = parse(with_flow(*LOOP))
    assert config.roles() == {"transport", "stt", "llm", "tts"}
    assert warnings(config) == ()


@pytest.mark.accepts("M7")
@pytest.mark.parametrize("service", ["stt", "llm", "tts", "transport"])
def test_every_service_needs_its_connectors(service: str) -> None:
    problems = refusal(changed(lambda d: d["connectors"].pop(service)))
    assert problems
    assert all(f"uses '{service}', which has no entry in connectors" in problem for problem in problems)


@pytest.mark.accepts("M7")
def test_connectors_of_strangers_are_refused() -> None:
    assert refusal(changed(put("connectors", "vision", value={"primary": "openai"}))) == [
        "connectors.vision: unknown service 'vision'; allowed: stt, llm, tts, transport"
    ]


@pytest.mark.accepts("M8")
@pytest.mark.parametrize("primary", ["", "  "])
def test_an_empty_primary_is_refused(primary: str) -> None:
    assert refusal(changed(put("connectors", "llm", "primary", value=primary))) == [
        "connectors.llm.primary: must name a provider"
    ]


@pytest.mark.accepts("M8")
def test_a_missing_primary_is_refused() -> None:
    assert refusal(changed(lambda d: d["connectors"]["llm"].pop("primary"))) == ["connectors.llm.primary: is missing"]


@pytest.mark.accepts("M9")
def test_no_fallback_equals_an_empty_one() -> None:
    without = parse(changed(lambda d: d["connectors"]["stt"].pop("fallback")))
    empty = parse(changed(put("connectors", "stt", "fallback", value=[])))
    assert without.chain("stt") == empty.chain("stt") == ("openai",)


@pytest.mark.accepts("M9")
def test_the_chain_keeps_its_order() -> None:
    config = parse(changed(put("connectors", "llm", "fallback", value=["anthropic", "ollama"])))
    assert config.chain("llm") == ("openai", "anthropic", "ollama")


@pytest.mark.parametrize("fallback", [["openai"], ["anthropic", "anthropic"]])
def test_a_provider_is_tried_once(fallback: list[str]) -> None:
    (problem,) = refusal(changed(put("connectors", "llm", "fallback", value=fallback)))
    assert problem.endswith(f"repeats {fallback[-1]!r}; a provider is tried once")


def test_a_fallback_has_a_name() -> None:
    assert refusal(changed(put("connectors", "llm", "fallback", value=[" "]))) == [
        "connectors.llm.fallback[0]: must name a provider"
    ]


@pytest.mark.accepts("M10")
def test_a_provider_gets_its_own_section() -> None:
    config = parse(changed(put("connectors", "stt", "config", "deepgram", value={"model": "nova-3"})))
    assert config.options("stt", "deepgram") == {"model": "nova-3"}
    assert config.options("stt", "openai")["model"] == "whisper-1"


@pytest.mark.accepts("M10")
def test_flat_options_belong_to_the_primary() -> None:
    config = parse(changed(put("connectors", "llm", "config", value={"model": "gpt-4o-mini"})))
    assert config.options("llm", "openai") == {"model": "gpt-4o-mini"}
    assert config.options("llm", "anthropic") == {}


@pytest.mark.accepts("M10", "M14")
def test_empty_options_are_allowed() -> None:
    config = parse(example())
    assert config.chain("transport") == ("daily",)
    assert config.options("transport", "daily") == {}


def test_half_flat_options_are_refused() -> None:
    mixed = {"openai": {"model": "gpt-4o"}, "temperature": 1}
    (problem,) = refusal(changed(put("connectors", "llm", "config", value=mixed)))
    assert problem.startswith("connectors.llm.config: mixes options with a provider's section")


def test_sections_of_idle_providers_only_warn() -> None:
    (warning,) = warnings(parse(changed(put("connectors", "llm", "primary", value="ollama"))))
    assert str(warning).startswith("connectors.llm.config.openai: is not used")


@pytest.mark.accepts("M15", "M16")
def test_the_shipped_file_has_the_default_pairs() -> None:
    config = parse_json(EXAMPLE.read_text())
    assert {service: config.chain(service) for service in config.connectors} == {
        "stt": ("openai", "deepgram"),
        "llm": ("openai", "anthropic"),
        "tts": ("elevenlabs", "azure"),
        "transport": ("daily",),
    }
    assert warnings(config) == ()


@pytest.mark.accepts("M17")
def test_the_document_needs_no_addresses() -> None:
    assert "://" not in EXAMPLE.read_text()
    assert refusal(changed(put("connectors", "stt", "url", value="http://localhost"))) == [
        "connectors.stt.url: is not a key of this object; allowed: primary, fallback, config"
    ]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (
            ("tools",),
            "system_prompt, context_instructions, user_template, variables, pipeline, connectors, credentials, "
            "greeting, apology, turn, limits",
        ),
        (("pipeline", "mode"), "name, flow"),
        (("pipeline", "flow", 0, "codec"), "from, to, stream"),
        (("turn",), "stop_ms, interrupt_ms, threshold, min_speech_ms, not_understood"),
        (("limits",), "max_duration_s"),
    ],
)
def test_unknown_keys_are_refused_with_the_allowed(path: tuple[str | int, ...], allowed: str) -> None:
    value: object = {"patience": 1} if path[0] in ("turn", "limits") else 1
    (problem,) = refusal(changed(put(*path, value=value)))
    assert problem.endswith(f"is not a key of this object; allowed: {allowed}")


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("turn", "stop_ms", 99, "must be 100 to 3000, not 99"),
        ("turn", "interrupt_ms", 2001, "must be 0 to 2000, not 2001"),
        ("turn", "threshold", 1, "must be 0.1 to 0.95, not 1"),
        ("turn", "min_speech_ms", "200", "must be a whole number, not a string"),
        ("limits", "max_duration_s", 9, "must be 10 to 86400, not 9"),
    ],
)
def test_a_range_is_told(section: str, key: str, value: object, words: str) -> None:
    assert refusal(changed(put(section, value={key: value}))) == [f"{section}.{key}: {words}"]


@pytest.mark.parametrize("name", ["", "1st", "opening hours", "a-b", "{a}", "a" * 65])
def test_variables_have_plain_names(name: str) -> None:
    (problem,) = refusal(changed(put("variables", value={name: "x"})))
    assert problem.startswith("variables") and problem.endswith("letters, digits and _, and no digit first")


@pytest.mark.parametrize("name", ["input_data", "session_id"])
def test_what_a_session_fills_is_no_variable(name: str) -> None:
    (problem,) = refusal(changed(put("variables", value={name: "x"})))
    assert problem.startswith(f"variables.{name}: is filled by every session itself")


@pytest.mark.parametrize("template", ["{a}" * 3, "{input_data}" * 51])
def test_a_template_stays_short_when_it_is_filled(template: str) -> None:
    document = example() | {"user_template": template, "variables": {"a": "x" * 70_000}}
    assert refusal(document) == ["user_template: is longer than 20000 characters with its names filled in"]


@pytest.mark.accepts("C39", "C40")
@pytest.mark.parametrize("key", ["user_template", "context_instructions"])
def test_names_without_a_value_are_warned_of(key: str) -> None:
    document = example() | {key: 'For {input_data} {session_id} {city} {team} {"a": 1}', "variables": {"city": "Ulm"}}
    (problem,) = warnings(parse(document))
    assert (problem.path, problem.message.partition(" ")[0]) == (key, "{team}")


def test_an_agent_greets_only_when_told() -> None:
    assert parse(example()).greeting == ""
    assert parse(changed(put("greeting", value="Good morning."))).greeting == "Good morning."


def test_an_agent_apologises_unless_told_not_to() -> None:
    assert parse(example()).apology
    assert parse(changed(put("apology", value=""))).apology == ""
    assert refusal(changed(put("apology", value="a" * 501))) == ["apology: must have at most 500 characters"]


def test_unknown_services_are_refused() -> None:
    assert refusal(changed(put("pipeline", "flow", 2, "to", value="ears"))) == [
        "pipeline.flow[2].to: unknown service 'ears'; allowed: stt, llm, tts, transport"
    ]


def test_a_step_never_leads_to_itself() -> None:
    (problem,) = refusal(with_flow(*LOOP, "llm>llm"))
    assert problem == "pipeline.flow[4]: leads from 'llm' to itself; a step joins two services"


def test_a_step_stands_once() -> None:
    assert refusal(with_flow(*LOOP, "stt>llm")) == ["pipeline.flow[4]: repeats step 1; each step may stand once"]


def test_an_empty_flow_is_refused() -> None:
    assert refusal(with_flow()) == ["pipeline.flow: must have at least one step"]


def test_all_problems_are_named_at_once() -> None:
    document = changed(put("connectors", "stt", "primary", value=""))
    document["pipeline"]["flow"][0]["to"] = "ears"
    assert len(refusal(document)) == 2


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (("stt>llm", "llm>tts", "tts>transport"), "no step starts at transport: nothing a caller says comes in"),
        (("transport>stt", "stt>llm", "llm>tts"), "no step leads to transport: the caller gets nothing back"),
        (("transport>llm", "llm>transport", "tts>transport"), "no step leads to tts"),
        (("transport>llm", "llm>transport", "llm>tts"), "no step starts at tts"),
        ((*LOOP, "llm>stt"), "carries nothing: stt has no use for what llm makes"),
    ],
)
def test_dead_ends_are_warned_of(steps: tuple[str, ...], words: str) -> None:
    assert words in [problem.message for problem in warnings(parse(with_flow(*steps)))]


def test_a_wrong_label_is_warned_of() -> None:
    (warning,) = warnings(parse(changed(put("pipeline", "flow", 0, "stream", value="text"))))
    assert str(warning) == "pipeline.flow[0].stream: transport to stt carries audio"


def test_a_transport_never_falls_back() -> None:
    (warning,) = warnings(parse(changed(put("connectors", "transport", "fallback", value=["websocket"]))))
    assert str(warning).startswith("connectors.transport.fallback: is not used")


@pytest.mark.parametrize("document", [None, 3, "text", [], {}, {"pipeline": []}])
def test_other_values_are_no_document(document: object) -> None:
    assert refusal(document)


@pytest.mark.parametrize(
    "value", ["\0", "\ud800", float("nan"), float("inf"), 2**63, -(2**70), b"x", {1: 2}, {"a\0": 1}, {1, 2}]
)
def test_values_that_cannot_be_stored_are_refused(value: object) -> None:
    (problem,) = refusal(changed(put("connectors", "llm", "config", "openai", "seed", value=value)))
    assert problem.startswith("connectors.llm.config.openai.seed: ")


def test_a_deep_document_is_refused() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = {"a": deep}
    (problem,) = refusal(changed(put("connectors", "llm", "config", value=deep)))
    assert problem.endswith("is nested more than 32 levels deep")
    assert len(problem) < 300


def test_a_long_document_is_refused() -> None:
    options = {"model": "x" * MAX_BYTES}
    assert refusal(changed(put("connectors", "llm", "config", value=options))) == ["document: is longer than 256 KiB"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON: Expecting value at line 1, column 1"),
        ('{"a": /* none */ 1}', "at line 1, column 7; JSON has no comments"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice in one object'),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("9" * 5000, "is not JSON"),
        (b"\xff", "is not JSON"),
        ("[" * 100_000, "is nested more than 32 levels deep"),
    ],
)
def test_only_strict_json_is_read(text: str | bytes, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_json(text)
    assert words in str(caught.value)


def test_the_dump_adds_no_defaults() -> None:
    assert dump(parse(example())) == example()


def test_the_dump_keeps_our_own_keys() -> None:
    document = example() | {"greeting": "Hello.", "turn": {"stop_ms": 800}, "limits": {"max_duration_s": 60}}
    assert dump(parse(document)) == document
    assert parse(dump(parse(document))) == parse(document)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(example()).system_prompt = "other"  # type: ignore[misc]


def test_the_revision_ignores_spelling() -> None:
    spelled = json.dumps(dict(reversed(example().items())), indent=8)
    assert revision(load_json(spelled)) == revision(example())
    assert len(revision(example())) == 12


def test_the_revision_follows_the_content() -> None:
    assert revision(changed(put("greeting", value="Hi."))) != revision(example())


def test_shape_and_rules_are_separate() -> None:
    config = read(with_flow("llm>llm"))
    with pytest.raises(ConfigError, match="to itself"):
        check(config)


def only_known(service: str, provider: str, options: Mapping[str, JsonValue]) -> Iterator[Problem]:
    if provider == "azure":
        yield Problem("", "no such voice provider")
    if service == "llm" and options.get("temperature") == 9:
        yield Problem("temperature", "must be 0 to 2, not 9")


def problems_with_connectors(document: Document) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(document, only_known)
    return [str(problem) for problem in caught.value.problems]


def test_an_unknown_provider_is_found_where_it_stands() -> None:
    assert problems_with_connectors(example()) == ["connectors.tts.fallback[0]: no such voice provider"]


@pytest.mark.parametrize(
    ("config", "path"),
    [({"openai": {"temperature": 9}}, "config.openai.temperature"), ({"temperature": 9}, "config.temperature")],
)
def test_a_wrong_option_is_found_where_it_stands(config: Document, path: str) -> None:
    document = changed(put("connectors", "llm", "config", value=config))
    assert f"connectors.llm.{path}: must be 0 to 2, not 9" in problems_with_connectors(document)


def test_the_schema_lists_the_services() -> None:
    schema = AgentConfig.model_json_schema()
    assert schema["$defs"]["Step"]["properties"]["from"]["enum"] == ["stt", "llm", "tts", "transport"]
