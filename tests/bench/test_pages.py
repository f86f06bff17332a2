from pathlib import Path

from bench.pages import table_of, write_between


def test_only_text_between_the_marks_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- sums -->\nold\n<!-- end of sums -->\nafter\n")
    write_between(page, "sums", ["new"])
    assert page.read_text() == "before\n<!-- sums -->\n\nnew\n\n<!-- end of sums -->\nafter\n"


def test_a_page_without_marks_gets_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n")
    for text in ("old", "new"):
        write_between(page, "sums", [text])
    assert page.read_text() == "before\n<!-- sums -->\n\nnew\n\n<!-- end of sums -->\n"


def test_a_table_has_a_head() -> None:
    assert table_of(("a", "b"), ["| 1 | 2 |"]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
