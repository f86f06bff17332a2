from xml.etree import ElementTree

import pytest

from pipelines_app.drawing import Arrow, draw
from pipelines_app.flows import READY_MADE, Flow

SVG = "{http://www.w3.org/2000/svg}"
LOOP = [
    Arrow("transport", "stt", "audio"),
    Arrow("stt", "llm", "text"),
    Arrow("llm", "tts", "text"),
    Arrow("tts", "transport", "audio"),
]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_boxes_and_arrows_are_named() -> None:
    shown = texts(draw(LOOP).svg)
    assert [name for name in shown if name in ("Caller", "Hearing", "Thinking", "Speaking")] == [
        "Caller",
        "Hearing",
        "Thinking",
        "Speaking",
    ]
    assert sorted(name for name in shown if name in ("audio", "text")) == ["audio", "audio", "text", "text"]


def test_the_picture_has_words() -> None:
    picture = draw(LOOP[:2])
    assert picture.words == "Caller to Hearing (audio); Hearing to Thinking (text)."
    assert ElementTree.fromstring(picture.svg).get("aria-label") == picture.words


def test_services_without_steps_are_left_out() -> None:
    assert "Thinking" not in texts(draw([LOOP[0]]).svg)


def test_nothing_in_it_needs_a_style_rule() -> None:
    svg = draw(LOOP).svg
    assert "style" not in svg and "class" not in svg and "currentColor" in svg


def test_what_is_unknown_is_told_and_escaped() -> None:
    picture = draw([Arrow("<b>", "stt", "<i>"), Arrow("transport", "stt", '"<&')])
    assert picture.words.startswith("<b> to Hearing (<i>)")
    assert ElementTree.fromstring(picture.svg).get("aria-label") == picture.words


@pytest.mark.parametrize("arrows", [[], [Arrow("stt", "stt", "text")]])
def test_a_picture_of_nothing_is_well_formed(arrows: list[Arrow]) -> None:
    ElementTree.fromstring(draw(arrows).svg)


@pytest.mark.parametrize("flow", READY_MADE, ids=lambda flow: flow.slug)
def test_arrows_stay_on_the_paper(flow: Flow) -> None:
    root = ElementTree.fromstring(draw([Arrow(s["from"], s["to"], s["stream"]) for s in flow.steps]).svg)
    left, top, width, height = map(float, root.get("viewBox", "").split())
    for text in root.iter(f"{SVG}text"):
        assert left < float(text.get("x", "")) < left + width
        assert top < float(text.get("y", "")) < top + height
