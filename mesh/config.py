"""The agent configuration document: what it may say, what is wrong with one, and its revision.

Reading has two steps. `read` takes the document's shape (keys, types, ranges); `check` holds it to the rules that need
the whole of it (services, steps, connectors). `parse` does both and is what everybody uses.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, NoReturn

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

SERVICES = ("stt", "llm", "tts", "transport")
STREAMS = ("audio", "text")
CARRIED = {
    ("transport", "stt"): "audio",
    ("transport", "llm"): "text",
    ("transport", "tts"): "text",
    ("stt", "llm"): "text",
    ("stt", "tts"): "text",
    ("stt", "transport"): "text",
    ("llm", "tts"): "text",
    ("llm", "transport"): "text",
    ("tts", "transport"): "audio",
}
"""The steps that carry something, and what."""

MAX_BYTES = 256 * 1024
"""The document travels in one event of at most 1 MiB."""
MAX_DEPTH = 32

_GIVEN = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
_WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}


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


ConnectorCheck = Callable[[str, str, Mapping[str, JsonValue]], Iterable[Problem]]
"""Judges (service, provider, options). An empty path means the provider itself, `voice` the option of that name."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


ServiceName = Annotated[str, Field(json_schema_extra={"enum": list(SERVICES)})]


class Step(_Document):
    """One step of the flow, written `{"from": …, "to": …, "stream": …}`."""

    source: ServiceName = Field(alias="from")
    target: ServiceName = Field(alias="to")
    stream: str = Field(min_length=1, max_length=64)


class Pipeline(_Document):
    name: str = Field(min_length=1, max_length=200)
    flow: tuple[Step, ...] = Field(strict=False)


class ServiceConnectors(_Document):
    """The providers of one service. `config` holds a section for each provider, or the primary's options alone."""

    primary: str
    fallback: tuple[str, ...] = Field(default=(), strict=False)
    config: dict[str, JsonValue] = {}

    @property
    def chain(self) -> tuple[str, ...]:
        return (self.primary, *self.fallback)

    @property
    def is_flat(self) -> bool:
        return not all(isinstance(value, dict) for value in self.config.values())

    def options(self, provider: str) -> dict[str, JsonValue]:
        if self.is_flat:
            return dict(self.config) if provider == self.primary else {}
        section = self.config.get(provider, {})
        return dict(section) if isinstance(section, dict) else {}


class TurnOptions(_Document):
    stop_ms: int = Field(
        default=500,
        ge=100,
        le=3000,
        title="Pause that ends an utterance (ms)",
        description="Silence after a word.",
    )
    interrupt_ms: int = Field(
        default=300,
        ge=0,
        le=2000,
        title="Speech to break in (ms)",
        description="Caller speech that stops the agent.",
    )
    threshold: float = Field(
        default=0.5, ge=0.1, le=0.95, title="Voice threshold", description="Voice probability that counts as speech."
    )
    min_speech_ms: int = Field(
        default=100, ge=0, le=2000, title="Shortest utterance (ms)", description="Shorter sounds are not an utterance."
    )
    not_understood: str = Field(
        default="",
        max_length=500,
        title="When nothing was understood",
        description="Said when a longer utterance yields no words; empty: nothing.",
    )


class Limits(_Document):
    max_duration_s: int = Field(
        default=3600, ge=10, le=86_400, title="Longest session (seconds)", description="Then the session ends."
    )


class AgentConfig(_Document):
    system_prompt: str = Field(max_length=100_000)
    pipeline: Pipeline
    connectors: dict[ServiceName, ServiceConnectors]
    credentials: dict[str, Annotated[str, Field(min_length=1, max_length=120)]] = Field(
        default={},
        description="By provider, the name of the workspace's credential to use instead of the one that is in use.",
    )
    greeting: str = Field(default="", max_length=2000, description="Said first; empty: the agent waits.")
    apology: str = Field(
        default="Sorry, I have a technical problem just now. Please try that again.",
        max_length=500,
        title="When no provider answers",
        description="Said when none could do its part of a turn; empty: nothing.",
    )
    turn: TurnOptions = TurnOptions()
    limits: Limits = Limits()

    def roles(self) -> frozenset[str]:
        """The services that the flow uses."""
        return frozenset(name for step in self.pipeline.flow for name in (step.source, step.target))

    def chain(self, service: str) -> tuple[str, ...]:
        """The providers of a service in the order in which they are tried; empty where none is configured."""
        entry = self.connectors.get(service)
        return entry.chain if entry else ()

    def options(self, service: str, provider: str) -> dict[str, JsonValue]:
        entry = self.connectors.get(service)
        return entry.options(provider) if entry else {}

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is allowed but looks like a mistake."""
        return (*_odd_streams(self), *_dead_ends(self), *_unused_connectors(self))


def parse(document: object, check_connectors: ConnectorCheck | None = None) -> AgentConfig:
    """Read and check a document; raises ConfigError."""
    config = read(document)
    check(config, check_connectors)
    return config


def parse_json(text: str | bytes, check_connectors: ConnectorCheck | None = None) -> AgentConfig:
    """Read and check a document's JSON text; raises ConfigError."""
    return parse(load_json(text), check_connectors)


def load_json(text: str | bytes) -> object:
    """Strict JSON: no comments, no NaN, no key twice in one object; raises ConfigError."""
    try:
        loaded: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        hint = "; JSON has no comments" if text[error.pos : error.pos + 1] in ("/", b"/") else ""
        raise _refusal(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}") from None
    except RecursionError:
        raise _refusal(f"is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise _refusal(f"is not JSON: {error}") from None
    return loaded


def read(document: object) -> AgentConfig:
    """Keys, types and ranges; raises ConfigError."""
    if unstorable := tuple(_unstorable(document)):
        raise ConfigError(unstorable)
    if len(_canonical(document)) > MAX_BYTES:
        raise _refusal(f"is longer than {MAX_BYTES // 1024} KiB")
    try:
        return AgentConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(map(_explain, error.errors(include_url=False))) from None


def check(config: AgentConfig, check_connectors: ConnectorCheck | None = None) -> None:
    """The rules that need the whole document; raises ConfigError."""
    problems = [*_flow_problems(config), *_connector_problems(config)]
    if check_connectors and not problems:
        problems.extend(_provider_problems(config, check_connectors))
    if problems:
        raise ConfigError(problems)


def dump(config: AgentConfig) -> dict[str, JsonValue]:
    """The document as its author wrote it: the documented keys, and no default that was left out."""
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def revision(document: object) -> str:
    """Twelve hex digits that are the same for the same content, whatever its spacing and key order."""
    return hashlib.sha256(_canonical(document)).hexdigest()[:12]


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


# -- JSON ------------------------------------------------------------------------------------------------


def _refusal(message: str) -> ConfigError:
    return ConfigError((Problem("", message),))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice)} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unstorable(document: object) -> Iterator[Problem]:
    """What JSON, Valkey or a database column could not hold. A loop, because the depth is the sender's choice."""
    pending: list[tuple[str, object, int]] = [("", document, 0)]
    while pending:
        path, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            yield Problem(path[:200], f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(value, dict):
            for key in value:
                yield from _unstorable_text(path, key, "has a key that")
            pending.extend((_join(path, key), item, depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{path}[{index}]", item, depth + 1) for index, item in enumerate(value))
        elif isinstance(value, str):
            yield from _unstorable_text(path, value, "")
        elif isinstance(value, float):
            if not math.isfinite(value):
                yield Problem(path, "must be a finite number")
        elif isinstance(value, int):
            if abs(value) >= 2**63:
                yield Problem(path, "must be a number of at most 64 bits")
        elif value is not None:
            yield Problem(path, f"must be JSON, not {type(value).__name__}")


def _unstorable_text(path: str, text: object, prefix: str) -> Iterator[Problem]:
    if not isinstance(text, str):
        yield Problem(path, f"{prefix} is not a string".strip())
    elif "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        yield Problem(path, f"{prefix} holds a character that cannot be stored (NUL or half of a pair)".strip())


# -- shape -----------------------------------------------------------------------------------------------


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)


def _path(location: Iterable[int | str]) -> str:
    """`pipeline.flow[2].to`; parts that the sender chose are cut, since paths end up in answers and logs."""
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part[:64])
    return path


def _explain(error: ErrorDetails) -> Problem:
    location = error["loc"]
    return Problem(_path(location), _message(error, location))


def _message(error: ErrorDetails, location: tuple[int | str, ...]) -> str:
    kind = error["type"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        model = _model_at(location[:-1])
        return f"is not a key of this object; allowed: {', '.join(_keys(model))}"
    if kind in ("greater_than_equal", "less_than_equal"):
        return _range(_model_at(location[:-1]), str(location[-1]), error["input"])
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_GIVEN.get(type(error['input']), 'null')}"
    return error["msg"].replace("String should", "must", 1).replace("Input should", "must", 1)


def _model_at(location: tuple[int | str, ...]) -> type[_Document]:
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


def _keys(model: type[_Document]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _range(model: type[_Document], name: str, value: object) -> str:
    metadata = model.model_fields[name].metadata
    low = next(item.ge for item in metadata if isinstance(item, Ge))
    high = next(item.le for item in metadata if isinstance(item, Le))
    return f"must be {low} to {high}, not {value}"


# -- rules -----------------------------------------------------------------------------------------------


def _flow_problems(config: AgentConfig) -> Iterator[Problem]:
    flow = config.pipeline.flow
    if not flow:
        yield Problem("pipeline.flow", "must have at least one step")
    seen: dict[Step, int] = {}
    for index, step in enumerate(flow):
        path = f"pipeline.flow[{index}]"
        yield from _service_problems(config, f"{path}.from", step.source)
        yield from _service_problems(config, f"{path}.to", step.target)
        if step.source == step.target:
            yield Problem(path, f"leads from {step.source!r} to itself; a step joins two services")
        if seen.setdefault(step, index) != index:
            yield Problem(path, f"repeats step {seen[step]}; each step may stand once")


def _service_problems(config: AgentConfig, path: str, name: str) -> Iterator[Problem]:
    if name not in SERVICES:
        yield Problem(path, _unknown_service(name))
    elif name not in config.connectors:
        yield Problem(path, f"uses {name!r}, which has no entry in connectors")


def _unknown_service(name: str) -> str:
    return f"unknown service {name[:64]!r}; allowed: {', '.join(SERVICES)}"


def _connector_problems(config: AgentConfig) -> Iterator[Problem]:
    for service, entry in config.connectors.items():
        path = f"connectors.{service}"
        if service not in SERVICES:
            yield Problem(path, _unknown_service(service))
        if not entry.primary.strip():
            yield Problem(f"{path}.primary", "must name a provider")
        for index, name in enumerate(entry.fallback):
            if not name.strip():
                yield Problem(f"{path}.fallback[{index}]", "must name a provider")
            elif name in entry.chain[: index + 1]:
                yield Problem(f"{path}.fallback[{index}]", f"repeats {name!r}; a provider is tried once")
        if entry.is_flat and any(isinstance(entry.config.get(name), dict) for name in entry.chain):
            yield Problem(f"{path}.config", "mixes options with a provider's section; put them into a section too")


def _provider_problems(config: AgentConfig, check_connectors: ConnectorCheck) -> Iterator[Problem]:
    for service, entry in config.connectors.items():
        path = f"connectors.{service}"
        places = [f"{path}.primary", *(f"{path}.fallback[{index}]" for index in range(len(entry.fallback)))]
        for provider, place in zip(entry.chain, places, strict=True):
            section = f"{path}.config" if entry.is_flat else f"{path}.config.{provider}"
            for problem in check_connectors(service, provider, entry.options(provider)):
                yield Problem(_join(section, problem.path) if problem.path else place, problem.message)


# -- warnings --------------------------------------------------------------------------------------------


def _odd_streams(config: AgentConfig) -> Iterator[Problem]:
    for index, step in enumerate(config.pipeline.flow):
        path = f"pipeline.flow[{index}]"
        carried = CARRIED.get((step.source, step.target))
        if carried is None:
            yield Problem(path, f"carries nothing: {step.target} has no use for what {step.source} makes")
        elif step.stream not in STREAMS:
            yield Problem(f"{path}.stream", f"{step.stream!r} is passed through; known: {', '.join(STREAMS)}")
        elif step.stream != carried:
            yield Problem(f"{path}.stream", f"{step.source} to {step.target} carries {carried}")


def _dead_ends(config: AgentConfig) -> Iterator[Problem]:
    flow = config.pipeline.flow
    sources = {step.source for step in flow}
    targets = {step.target for step in flow}
    if "transport" not in sources:
        yield Problem("pipeline.flow", "no step starts at transport: nothing a caller says comes in")
    if "transport" not in targets:
        yield Problem("pipeline.flow", "no step leads to transport: the caller gets nothing back")
    for name in SERVICES[:-1]:
        if name in sources - targets:
            yield Problem("pipeline.flow", f"no step leads to {name}")
        if name in targets - sources:
            yield Problem("pipeline.flow", f"no step starts at {name}")


def _unused_connectors(config: AgentConfig) -> Iterator[Problem]:
    for service, entry in config.connectors.items():
        path = f"connectors.{service}"
        if service == "transport" and entry.fallback:
            yield Problem(f"{path}.fallback", "is not used: a session stays on the transport it came by")
        for name in () if entry.is_flat else entry.config:
            if name not in entry.chain:
                yield Problem(f"{path}.config.{name}", f"is not used while {name} is neither primary nor fallback")
