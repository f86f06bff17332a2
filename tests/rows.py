"""Which acceptance rows are open: `python -m tests.rows`.

A row of docs/requirements is kept when a test names it, or when the document that it asks for is there. A test that
names a row which does not exist is an error.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ROW = re.compile(r"^\| (?P<id>[A-Z]+\d+) \| (?P<what>.+?) \| (?P<shown>.+?) \|$", re.MULTILINE)
_DOCUMENT = re.compile(r'^document `(?P<path>[^`]+)`(?: with "(?P<words>[^"]+)")?$')


class BadRows(ValueError):
    """The table or a test's mark cannot be read."""


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    what: str
    shown: str

    def is_documented(self, root: Path) -> bool:
        """True where the row asks for a document, and it is there."""
        asked = _DOCUMENT.match(self.shown)
        if not asked:
            return False
        document = root / asked["path"]
        return document.is_file() and (asked["words"] or "") in document.read_text()


@dataclass(frozen=True, slots=True)
class Claim:
    """A test says that it proves this row."""

    id: str
    place: str


def rows_in(text: str) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for match in _ROW.finditer(text):
        if match["id"] in rows:
            raise BadRows(f"row {match['id']} stands twice")
        rows[match["id"]] = Row(match["id"], match["what"], match["shown"])
    return rows


def claims_in(source: str, name: str) -> Iterator[Claim]:
    """Every `pytest.mark.accepts("M1", …)` of a test module."""
    for node in ast.walk(ast.parse(source, name)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.accepts":
            for argument in node.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise BadRows(f"{name}:{argument.lineno}: write the ids of rows as plain strings")
                yield Claim(argument.value, f"{name}:{argument.lineno}")


def all_rows(root: Path = ROOT) -> dict[str, Row]:
    tables = sorted((root / "docs" / "requirements").glob("*.md"))
    return rows_in("\n".join(table.read_text() for table in tables))


def all_claims(root: Path = ROOT) -> list[Claim]:
    modules = sorted((root / "tests").rglob("test_*.py"))
    return [claim for path in modules for claim in claims_in(path.read_text(), str(path.relative_to(root)))]


def unknown_claims(rows: dict[str, Row], claims: list[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.id not in rows]


def open_rows(rows: dict[str, Row], claims: list[Claim], root: Path = ROOT) -> list[Row]:
    claimed = {claim.id for claim in claims}
    return [row for row in rows.values() if row.id not in claimed and not row.is_documented(root)]


def main() -> int:
    rows, claims = all_rows(), all_claims()
    unknown, still_open = unknown_claims(rows, claims), open_rows(rows, claims)
    lines = [f"{row.id:<5} {row.what}  [{row.shown}]" for row in still_open]
    lines.append(f"{len(rows) - len(still_open)} of {len(rows)} rows are kept, {len(still_open)} are open.")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stderr.writelines(f"{claim.place}: there is no row {claim.id}\n" for claim in unknown)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
