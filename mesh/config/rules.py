"""The rules that need the whole document: what is refused, and what is allowed but looks like a mistake."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from pydantic import JsonValue

from mesh.config.document import SERVICES, AgentConfig, Step
from mesh.config.problems import ConfigError, Problem, join
from mesh.config.templates import GIVEN, LONGEST, filled_length, placeholders, templates

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

ConnectorCheck = Callable[[str, str, Mapping[str, JsonValue]], Iterable[Problem]]
"""Judges (service, provider, options). An empty path means the provider itself, `voice` the option of that name."""


def check(config: AgentConfig, check_connectors: ConnectorCheck | None = None) -> None:
    """The rules that need the whole document; raises ConfigError."""
    problems = [*_flow_problems(config), *_connector_problems(config), *_template_problems(config)]
    if check_connectors and not problems:
        problems.extend(_provider_problems(config, check_connectors))
    if problems:
        raise ConfigError(problems)


def warnings(config: AgentConfig) -> tuple[Problem, ...]:
    """What is allowed but looks like a mistake."""
    return (*_odd_streams(config), *_dead_ends(config), *_unused_connectors(config), *_unknown_placeholders(config))


# -- what is refused -------------------------------------------------------------------------------------


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
                yield Problem(join(section, problem.path) if problem.path else place, problem.message)


def _template_problems(config: AgentConfig) -> Iterator[Problem]:
    yield from variable_problems(config.variables)
    for path, template in templates(config).items():
        if filled_length(template, config.variables) > LONGEST[path]:
            yield Problem(path, f"is longer than {LONGEST[path]} characters with its names filled in")


def variable_problems(variables: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for name in GIVEN:
        if name in variables:
            yield Problem(f"variables.{name}", "is filled by every session itself; choose another name")


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


def _unknown_placeholders(config: AgentConfig) -> Iterator[Problem]:
    known = {*GIVEN, *config.variables}
    for path, template in templates(config).items():
        if unknown := [name for name in placeholders(template) if name not in known]:
            names = ", ".join(f"{{{name[:64]}}}" for name in unknown[:10])
            yield Problem(path, f"{names} stays empty while a session brings no variable of that name")
