"""What is wrong with a configuration document, and where."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` as in `pipeline.flow[2].to`; empty for the document as a whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'document'}: {self.message}"


class ConfigError(ValueError):
    """The document is refused; every problem is named, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def below(self, path: str) -> tuple[Problem, ...]:
        """The problems as those of something that has the document at `path`."""
        return tuple(Problem(f"{path}.{each.path}" if each.path else path, each.message) for each in self.problems)


def refusal(message: str) -> ConfigError:
    """Of the document as a whole."""
    return ConfigError((Problem("", message),))


def join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)
