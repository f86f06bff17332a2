"""Reads agent configuration documents.

It has two steps. `read` takes the document's shape (keys, types, ranges); `check` of the rules holds it to those that
need the whole of it (services, steps, connectors). `parse` does both and is what everybody uses.
"""

from collections.abc import Iterable

from annotated_types import Ge, Le
from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mesh.config.document import (
    AgentConfig,
    Document,
    Limits,
    Pipeline,
    ServiceConnectors,
    Step,
    TurnOptions,
    Variables,
)
from mesh.config.json_text import MAX_BYTES, canonical, load_json, unstorable
from mesh.config.problems import ConfigError, Problem, join, refusal
from mesh.config.rules import ConnectorCheck, check, variable_problems

_GIVEN = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
_WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}


def parse(document: object, check_connectors: ConnectorCheck | None = None) -> AgentConfig:
    """Read and check a document; raises ConfigError."""
    config = read(document)
    check(config, check_connectors)
    return config


def parse_json(text: str | bytes, check_connectors: ConnectorCheck | None = None) -> AgentConfig:
    """Read and check a document's JSON text; raises ConfigError."""
    return parse(load_json(text), check_connectors)


def read(document: object) -> AgentConfig:
    """Keys, types and ranges; raises ConfigError."""
    if problems := tuple(unstorable(document)):
        raise ConfigError(problems)
    if len(canonical(document)) > MAX_BYTES:
        raise refusal(f"is longer than {MAX_BYTES // 1024} KiB")
    try:
        return AgentConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(map(_explain, error.errors(include_url=False))) from None


_variables: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(Variables)
KEY = "[key]"
"""Pydantic's last part of a place where the name itself is wrong."""


def read_variables(given: object) -> dict[str, JsonValue]:
    """What a session brings for an agent's templates; raises ConfigError."""
    if problems := tuple(unstorable(given)):
        raise ConfigError(ConfigError(problems).below("variables"))
    try:
        variables = _variables.validate_python(given, strict=True)
    except ValidationError as error:
        raise ConfigError(ConfigError(map(_explain, error.errors(include_url=False))).below("variables")) from None
    if problems := tuple(variable_problems(variables)):
        raise ConfigError(problems)
    return variables


def _path(location: Iterable[int | str]) -> str:
    """`pipeline.flow[2].to`; parts that the sender chose are cut, since paths end up in answers and logs."""
    path = ""
    for part in location:
        if part == KEY:
            continue
        path = f"{path}[{part}]" if isinstance(part, int) else join(path, part[:64])
    return path


def _explain(error: ErrorDetails) -> Problem:
    location = error["loc"]
    return Problem(_path(location), _message(error, location))


def _message(error: ErrorDetails, location: tuple[int | str, ...]) -> str:
    kind = error["type"]
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch" and location[-1:] == (KEY,):
        return "is no name: take up to 64 letters, digits and _, and no digit first"
    if kind == "extra_forbidden":
        model = _model_at(location[:-1])
        return f"is not a key of this object; allowed: {', '.join(_keys(model))}"
    if kind in ("greater_than_equal", "less_than_equal"):
        return _range(_model_at(location[:-1]), str(location[-1]), error["input"])
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_GIVEN.get(type(error['input']), 'null')}"
    return error["msg"].replace("String should", "must", 1).replace("Input should", "must", 1)


def _model_at(location: tuple[int | str, ...]) -> type[Document]:
    match location:
        case ("pipeline",):
            return Pipeline
        case ("pipeline", "flow", int()):
            return Step
        case ("connectors", str()):
            return ServiceConnectors
        case ("turn",):
            return TurnOptions
        case ("limits",):
            return Limits
        case _:
            return AgentConfig


def _keys(model: type[Document]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _range(model: type[Document], name: str, value: object) -> str:
    metadata = model.model_fields[name].metadata
    low = next(item.ge for item in metadata if isinstance(item, Ge))
    high = next(item.le for item in metadata if isinstance(item, Le))
    return f"must be {low} to {high}, not {value}"
