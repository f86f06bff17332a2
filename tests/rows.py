"""`make rows`: which acceptance rows no test proves yet. The rows are in docs/requirements, the proofs are marks."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = re.compile(r'document `([^`]+)`(?: with "([^"]+)")?')
"""How a row says that it asks for a document, and for what must stand in it."""
ROW = re.compile(r"^\|\s*([A-Z]+\d+)\s*\|(.*)\|\s*$", re.MULTILINE)


def rows(folder: Path) -> dict[str, str]:
    """Every row's text by its id, in the order of the documents."""
    documents = (document.read_text() for document in sorted(folder.glob("*.md")))
    return {name: text.strip() for document in documents for name, text in ROW.findall(document)}


def proofs(folder: Path) -> dict[str, list[str]]:
    """For each id the tests that carry it: `@pytest.mark.accepts("M72")`, also in a module's `pytestmark`."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for name, test in _marks(ast.parse(path.read_text())):
            found.setdefault(name, []).append(f"{path.relative_to(folder.parent)}::{test}")
    return found


def documents(wanted: dict[str, str], root: Path) -> dict[str, list[str]]:
    """The rows that only ask for a document, and have it."""
    found: dict[str, list[str]] = {}
    for name, text in wanted.items():
        if asked := DOCUMENT.search(text):
            file = root / asked[1]
            if file.exists() and (asked[2] or "") in file.read_text():
                found[name] = [asked[1]]
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                marked, test = list[ast.expr](node.decorator_list), node.name
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                marked, test = [value], "*"
            case _:
                continue
        for mark in marked:
            yield from ((name, test) for name in _ids(mark))


def _ids(mark: ast.expr) -> Iterator[str]:
    for node in ast.walk(mark):
        match node:
            case ast.Call(func=ast.Attribute(attr="accepts"), args=args):
                yield from (arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def report(wanted: dict[str, str], proved: dict[str, list[str]]) -> str:
    lines = [f"{name:<5} {text}" for name, text in wanted.items() if name not in proved]
    lines.append(f"{len(wanted) - len(lines)} of {len(wanted)} rows are proved, {len(lines)} are open.")
    lines.extend(f"{name} is no row, but {tests[0]} proves it." for name, tests in proved.items() if name not in wanted)
    return "\n".join(lines)


if __name__ == "__main__":
    wanted = rows(ROOT / "docs" / "requirements")
    sys.stdout.write(report(wanted, documents(wanted, ROOT) | proofs(ROOT / "tests")) + "\n")
