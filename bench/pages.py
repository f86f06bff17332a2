"""Tables in documents, each between two marks of its own."""

from collections.abc import Iterable
from pathlib import Path


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def table_of(columns: tuple[str, ...], rows: Iterable[str]) -> list[str]:
    return [line(*columns), line(*["---"] * len(columns)), *rows]


def write_between(file: Path, name: str, lines: Iterable[str]) -> None:
    """Between `<!-- name -->` and `<!-- end of name -->`; at the end of a document that has no such marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = file.read_text().partition(begin)
    _, _, after = rest.partition(end)
    file.write_text("\n".join((before + begin, "", *lines, "", end + (after or "\n"))))
