import copy
from typing import Any

import pytest

from connectors_app.base.connector import Role
from mesh.config.rules import warnings
from pipelines_app import drafts
from pipelines_app.actions import check_document
from pipelines_app.flows import READY_MADE, Flow
from tests.world import make_document


def entry_of(config: dict[str, Any], *order: str) -> drafts.Document:
    return {"connectors": {"llm": {"primary": order[0], "fallback": list(order[1:]), "config": config}}}


@pytest.mark.parametrize("flow", READY_MADE, ids=lambda flow: flow.slug)
def test_every_ready_made_flow_is_sound(flow: Flow) -> None:
    document = drafts.with_flow(drafts.first_document(lambda _: ()), flow.slug, flow.steps)
    assert warnings(check_document(document)) == ()


def test_a_new_agent_prefers_what_has_a_key() -> None:
    document = drafts.first_document(lambda role: ("openai",))
    assert [drafts.chain(document, role) for role in Role] == [("openai",)] * 3


def test_a_new_agent_runs_without_keys() -> None:
    document = drafts.first_document(lambda role: ())
    assert [drafts.chain(document, role) for role in Role] == [("pocketsphinx",), ("script",), ("espeak",)]


@pytest.mark.parametrize(
    "document",
    [{}, {"connectors": []}, {"connectors": {"llm": 1}}, {"connectors": {"llm": {"primary": 5, "fallback": "x"}}}],
)
def test_what_is_malformed_counts_as_missing(document: drafts.Document) -> None:
    assert drafts.chain(document, "llm") == ()
    assert drafts.options(document, "llm", "openai") == {}
    assert drafts.flow_steps(document) == ()


def test_nothing_changed_is_the_same_document() -> None:
    document = make_document(greeting="Hello")
    before = copy.deepcopy(document)
    same = drafts.with_text(document, "greeting", "Hello")
    same = drafts.with_chain(same, "llm", ["openai"], {"openai": {"temperature": 0.5}})
    same = drafts.with_transport(same, "websocket")
    same = drafts.with_section(same, "turn", {})
    assert same == before and same is document


def test_an_empty_text_does_not_appear() -> None:
    assert "greeting" not in drafts.with_text({}, "greeting", "")


def test_a_text_that_holds_anyway_does_not_appear() -> None:
    assert "apology" not in drafts.with_text({}, "apology", "Sorry.", "Sorry.")
    assert drafts.with_text({}, "apology", "", "Sorry.") == {"apology": ""}


def test_options_follow_their_provider() -> None:
    document = entry_of({"openai": {"seed": 1}, "custom": {"model": "x"}}, "openai", "custom")
    moved = drafts.with_chain(document, "llm", ["custom", "openai"])
    assert moved["connectors"]["llm"] == {
        "primary": "custom",
        "fallback": ["openai"],
        "config": {"openai": {"seed": 1}, "custom": {"model": "x"}},
    }


def test_a_removed_provider_takes_its_options_along() -> None:
    document = entry_of({"openai": {"seed": 1}, "left": {"kept": True}}, "openai", "anthropic")
    changed = drafts.with_chain(document, "llm", ["anthropic"])
    assert changed["connectors"]["llm"]["config"] == {"left": {"kept": True}}


def test_flat_options_stay_flat() -> None:
    document = entry_of({"seed": 1}, "openai")
    changed = drafts.with_chain(document, "llm", ["openai"], {"openai": {"seed": 2}})
    assert changed["connectors"]["llm"]["config"] == {"seed": 2}


def test_flat_options_become_a_section_beside_others() -> None:
    document = entry_of({"seed": 1}, "openai")
    changed = drafts.with_chain(document, "llm", ["anthropic", "openai"], {"anthropic": {"top_k": 5}})
    assert changed["connectors"]["llm"]["config"] == {"anthropic": {"top_k": 5}, "openai": {"seed": 1}}


def test_the_transports_own_keys_stay() -> None:
    document = {"connectors": {"transport": {"primary": "daily", "config": {"room": 1}}}}
    changed = drafts.with_transport(document, "websocket")
    assert changed["connectors"]["transport"] == {"primary": "websocket", "config": {"room": 1}}
