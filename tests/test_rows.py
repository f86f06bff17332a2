"""The account of acceptance rows is itself kept right."""

from pathlib import Path

import pytest

from tests.rows import BadRows, Claim, all_claims, all_rows, claims_in, open_rows, rows_in, unknown_claims

TABLE = """
| id | what | what shows it |
|---|---|---|
| M1 | a prompt | it is read |
| M2 | a name | it comes back |
| M3 | a guide | document `GUIDE.md` |
| M4 | a licence | document `LICENSE` with "as is" |
"""
MODULE = """
import pytest

@pytest.mark.accepts("M1", "M9")
def test_one() -> None: ...

@pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.accepts("M2"))])
def test_two(a) -> None: ...
"""


def test_every_row_is_there_once() -> None:
    assert list(all_rows()) == [f"M{number}" for number in range(1, 119)]


def test_tests_name_only_rows_that_exist() -> None:
    assert unknown_claims(all_rows(), all_claims()) == []


def test_claims_are_found_wherever_they_stand() -> None:
    assert list(claims_in(MODULE, "test_a.py")) == [
        Claim("M1", "test_a.py:4"),
        Claim("M9", "test_a.py:4"),
        Claim("M2", "test_a.py:7"),
    ]


def test_an_unknown_row_is_told() -> None:
    (claim,) = unknown_claims(rows_in(TABLE), list(claims_in(MODULE, "test_a.py")))
    assert claim.id == "M9"


def test_rows_without_test_or_document_are_open(tmp_path: Path) -> None:
    claims = list(claims_in(MODULE, "test_a.py"))
    assert [row.id for row in open_rows(rows_in(TABLE), claims, tmp_path)] == ["M3", "M4"]


def test_a_document_closes_its_row(tmp_path: Path) -> None:
    (tmp_path / "GUIDE.md").write_text("Do this.")
    (tmp_path / "LICENSE").write_text("All rights reserved.")
    assert [row.id for row in open_rows(rows_in(TABLE), [], tmp_path)] == ["M1", "M2", "M4"]


def test_a_row_stands_once() -> None:
    with pytest.raises(BadRows, match="row M1 stands twice"):
        rows_in(TABLE + "| M1 | again | never |\n")


def test_computed_ids_are_refused() -> None:
    with pytest.raises(BadRows, match=r"test_a\.py:1: write the ids"):
        list(claims_in("@pytest.mark.accepts(ROW)\ndef test_it(): ...", "test_a.py"))
