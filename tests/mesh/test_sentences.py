"""Sentences out of deltas: what ends one, what does not, and that nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.sentences import LONGEST, Sentences


def cut(*deltas: str) -> list[str]:
    sentences = Sentences()
    return [sentence for delta in deltas for sentence in sentences.feed(delta)] + sentences.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Wait... what?! Yes.", ["Wait...", "what?!", "Yes."]),
        ('He said "Go!" and left. Bye.', ['He said "Go!"', "and left.", "Bye."]),
        ("(It rains.) It pours.", ["(It rains.)", "It pours."]),
        ("First line\nSecond line\n\nThird", ["First line", "Second line", "Third"]),
        ("你好。“再见！”她说。谢谢", ["你好。", "“再见！”", "她说。", "谢谢"]),
        ("「行く？」と言った。はい", ["「行く？」", "と言った。", "はい"]),
        ("¿Qué tal? Bien.", ["¿Qué tal?", "Bien."]),
        ("It is me, I. You know.", ["It is me, I.", "You know."]),
        ("He was born in 1990. She was not.", ["He was born in 1990.", "She was not."]),
    ],
)
def test_marks_end_a_sentence(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "Pi is 3.14 and not 3.15 today.",
        "Please ask Dr. Smith or Mrs. Jones about it.",
        "Bring something, e.g. this one (i.e. that one).",
        "We open at 9 a.m. on weekdays.",
        "J. R. Tolkien wrote it.",
        "1. First of all, sit down.",
        "See example.com for more.",
    ],
)
def test_other_full_stops_do_not(text: str) -> None:
    assert cut(text) == [text]
    assert cut(*text) == [text]


def test_a_numbered_list_keeps_its_numbers() -> None:
    assert cut("1. Sit down. 2. Stand up.\n3. Go.") == ["1. Sit down.", "2. Stand up.", "3. Go."]


def test_a_sentence_comes_when_it_is_complete() -> None:
    sentences = Sentences()
    assert [sentences.feed(delta) for delta in ("It is 3", ".", "5 today", ".", " Bye")] == [
        [],
        [],
        [],
        [],
        ["It is 3.5 today."],
    ]
    assert sentences.flush() == ["Bye"]


def test_the_rest_comes_once() -> None:
    sentences = Sentences()
    sentences.feed("and so")
    assert (sentences.flush(), sentences.flush()) == (["and so"], [])


def test_a_text_without_marks_is_cut_after_a_clause() -> None:
    text = "word " * 50 + "and, " + "word " * 60
    first, *others = cut(text)
    assert first.endswith("and,") and len(first) <= LONGEST
    assert " ".join([first, *others]) == text.strip()


def test_a_text_without_clauses_is_cut_after_a_word() -> None:
    assert all(len(part) <= LONGEST and part.endswith("word") for part in cut("word " * 500))


def test_one_endless_word_is_cut_too() -> None:
    assert [len(part) for part in cut("x" * 1000)] == [LONGEST, LONGEST, 200]


TEXTS = st.lists(
    st.one_of(
        st.sampled_from([". ", "! ", "?", "…", "。", "！", "」", '"', ")", "\n", "Dr. ", "3.14", "1. ", ", ", "e.g. "]),
        st.text("aбü字 ", max_size=8),
        st.just("word " * 45),
    ),
    max_size=25,
).map("".join)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the same text in deltas."""
    text = draw(TEXTS)
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=20)))
    bounds = [0, *places, len(text)]
    return text, [text[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


@given(chunked())
def test_nothing_but_white_space_is_lost(told: tuple[str, list[str]]) -> None:
    text, deltas = told
    sentences = cut(*deltas)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(0 < len(sentence) <= LONGEST for sentence in sentences[:-1])


@given(chunked())
def test_deltas_do_not_change_the_sentences(told: tuple[str, list[str]]) -> None:
    text, deltas = told
    assert cut(*deltas) == cut(text) == cut(*text)


@given(st.text(), st.text())
def test_any_text_comes_out_whole(first: str, second: str) -> None:
    assert "".join("".join(cut(first, second)).split()) == "".join((first + second).split())
