"""The list of open acceptance rows."""

from pathlib import Path

import pytest

from tests.rows import documents, proofs, report, rows

MODULE = """
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.accepts("M1")]

@pytest.mark.accepts("M2", "M3")
async def test_one(): ...

class TestAll:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.accepts("M4"))])
    def test_two(self, x): ...
"""


@pytest.fixture
def proved(tmp_path: Path) -> dict[str, list[str]]:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(MODULE)
    return proofs(tmp_path / "tests")


def test_marks_are_found_wherever_they_are(proved: dict[str, list[str]]) -> None:
    assert proved == {
        "M1": ["tests/test_it.py::*"],
        "M2": ["tests/test_it.py::test_one"],
        "M3": ["tests/test_it.py::test_one"],
        "M4": ["tests/test_it.py::test_two"],
    }


def test_rows_come_from_tables(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("| id | what |\n|---|---|\n| M1 | it speaks | twice |\n| W20 | it works |\n")
    assert rows(tmp_path) == {"M1": "it speaks | twice", "W20": "it works"}


def test_open_rows_are_listed() -> None:
    lines = report({"M1": "it speaks", "M2": "it hears"}, {"M1": ["tests/a"], "M9": ["tests/b"]}).splitlines()
    assert lines == [
        "M2    it hears",
        "1 of 2 rows are proved, 1 are open.",
        "M9 is no row, but tests/b proves it.",
    ]


def test_a_document_counts_when_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "GUIDE.md").write_text("how to begin")
    wanted = {
        "M1": "a guide | document `GUIDE.md`",
        "M2": 'its end | document `GUIDE.md` with "the end"',
        "M3": "another | document `OTHER.md`",
    }
    assert documents(wanted, tmp_path) == {"M1": ["GUIDE.md"]}
