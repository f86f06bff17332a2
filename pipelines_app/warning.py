"""What is told to who publishes an agent, restores a version or rolls back to it, although nothing is refused."""

from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from mesh.config.rules import warnings
from pipelines_app import drafts
from pipelines_app.naming import name_of
from pipelines_app.providers import call_warnings


def all_warnings(document: drafts.Document, workspace: int) -> list[str]:
    """What calls that run this document lack or may fail of, and what looks like a mistake."""
    return [*call_warnings(document, workspace), *mistakes(document)]


def mistakes(document: drafts.Document) -> list[str]:
    """None of a document that cannot be read: a restored one may be older than a rule."""
    try:
        found = warnings(parse(document))
    except ConfigError:
        return []
    return [f"Looks like a mistake: {name_of(problem.path)}: {problem.message}." for problem in found]
