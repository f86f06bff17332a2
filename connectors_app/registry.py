"""Finds the providers, says which can be used, and checks the connectors of a configuration document."""

import importlib
import logging
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from inspect import isabstract
from types import ModuleType
from typing import Any, get_origin

from pydantic import ValidationError

from connectors_app import providers
from connectors_app.base.connector import Connector, Door, Options, Role
from connectors_app.base.language_model import LanguageModel
from connectors_app.model_ends import ending
from connectors_app.model_names import ModelNames
from connectors_app.token_limits import too_long

log = logging.getLogger(__name__)

DECLARED = ("role", "slug", "label", "Options")
"""What every provider declares."""


class DuplicateConnector(Exception):
    """Two classes claim the same role and slug."""


class Incomplete(TypeError):
    """A class of a provider's file does not declare what every provider declares."""


class UnknownConnector(LookupError):
    """No provider of this name plays this role; the message lists those that do."""

    def __init__(self, role: Role | Door, slug: str) -> None:
        super().__init__(f"no {role} provider is named “{slug}”; there are: {', '.join(names(role))}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a configuration document, where, and what is allowed."""

    path: str
    message: str


# -- the providers ---------------------------------------------------------------------------------------


def get(role: Role | Door, slug: str) -> type[Connector]:
    """Raises UnknownConnector."""
    try:
        return _connectors()[role, slug]
    except KeyError:
        raise UnknownConnector(role, slug) from None


def names(role: Role | Door) -> tuple[str, ...]:
    return tuple(sorted(slug for found, slug in _connectors() if found is role))


def usable(role: Role | Door, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The providers whose settings are all there, and look right."""
    out = {*missing(role, environ), *wrong(role, environ)}
    return tuple(slug for slug in names(role) if slug not in out)


def missing(role: Role | Door, environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The providers that cannot be used yet, with the environment names that each still needs."""
    wanted = {slug: get(role, slug).missing_settings(environ) for slug in names(role)}
    return {slug: settings for slug, settings in wanted.items() if settings}


def wrong(role: Role | Door, environ: Mapping[str, str]) -> dict[str, str]:
    """The providers that cannot be used as they are set up, each with what is wrong."""
    said = {slug: say_wrong(get(role, slug).wrong_settings(environ)) for slug in names(role)}
    return {slug: why for slug, why in said.items() if why}


def say_wrong(settings: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {problem}" for name, problem in settings.items())


def with_credentials() -> dict[str, type[Connector]]:
    """By the credential's slug: the providers for which a workspace may have a key of its own.

    All that go by one credential declare the same settings, so one stands for all: the one of that name.
    """
    found: dict[str, type[Connector]] = {}
    for (_, slug), connector in sorted(_connectors().items()):
        is_kept = connector.key_setting and connector.is_for_workspaces
        if is_kept and (connector.goes_by() not in found or slug == connector.goes_by()):
            found[connector.goes_by()] = connector
    return dict(sorted(found.items(), key=lambda one: one[1].label.casefold()))


def enterable(environ: Mapping[str, str], *, with_address: bool) -> dict[str, type[Connector]]:
    """The same for one person: who may not give an address leaves out what is nowhere without one."""
    return {slug: each for slug, each in with_credentials().items() if with_address or not _is_nowhere(each, environ)}


def _is_nowhere(connector: type[Connector], environ: Mapping[str, str]) -> bool:
    return connector.base_url_setting in connector.missing_settings(connector.own_settings({}, environ))


def going_by(credential: str) -> tuple[type[Connector], ...]:
    """Every provider, in every role, that goes by the credential of this slug."""
    return tuple(each for _, each in sorted(_connectors().items()) if each.goes_by() == credential)


def credential_of(provider: str) -> str:
    """The slug of the credential by which a provider goes: its own, or that of the account that it belongs to."""
    return next((each.goes_by() for (_, slug), each in _connectors().items() if slug == provider), provider)


@cache
def _connectors() -> dict[tuple[Role | Door, str], type[Connector]]:
    return collect(_modules(providers))


_broken: dict[str, str] = {}


def broken() -> dict[str, str]:
    """By file: why its providers are not there. The others work without them."""
    _connectors()
    return dict(_broken)


def collect(modules: Iterator[ModuleType]) -> dict[tuple[Role | Door, str], type[Connector]]:
    """Every concrete Connector that the modules define; raises DuplicateConnector."""
    found: dict[tuple[Role | Door, str], type[Connector]] = {}
    for module in modules:
        for connector in _defined_in(module):
            key = (connector.role, connector.slug)
            if key in found:
                both = f"{found[key].__module__} and {connector.__module__}"
                raise DuplicateConnector(f"{both} both define the {connector.role} provider “{connector.slug}”")
            found[key] = connector
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    """Those that can be used. A file may be anybody's and raise anything: it does not take the others along."""
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        file = f"{info.name.rpartition('.')[2]}.py"
        try:
            module = importlib.import_module(info.name)
            for connector in _defined_in(module):
                _check_declared(connector)
        except Exception as error:  # noqa: BLE001
            _broken[file] = _why_broken(error)
            log.error("provider cannot be imported", extra={"file": file, "why": _broken[file]}, exc_info=error)
        else:
            _broken.pop(file, None)
            yield module


def _why_broken(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed"
    where = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}{where}: {str(error).splitlines()[0][:200] if str(error) else 'no reason given'}"


def _check_declared(connector: type[Connector]) -> None:
    """Raises Incomplete."""
    lacking = [name for name in DECLARED if not hasattr(connector, name)]
    if lacking:
        raise Incomplete(f"{connector.__name__} declares no {' and no '.join(lacking)}")


def _defined_in(module: ModuleType) -> Iterator[type[Connector]]:
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        if own and issubclass(value, Connector) and not isabstract(value):
            yield value


# -- options ---------------------------------------------------------------------------------------------


def options_by_provider(order: Sequence[str], config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A connector's `config`, keyed by provider; a flat object holds the options of the first."""
    if config and order and not _is_keyed(order, config):
        return {order[0]: config}
    return {slug: config.get(slug, {}) for slug in order}


def make_options(connector: type[Connector], values: Mapping[str, Any]) -> Options:
    """Raises pydantic's ValidationError."""
    return connector.Options.model_validate(dict(values))


def model_problems(slug: str, values: Mapping[str, Any]) -> list[str]:
    """What to say of a language model that is gone or not known, and of a longest answer that is beyond it."""
    try:
        connector = get(Role.LLM, slug)
        options = make_options(connector, values)
    except (UnknownConnector, ValidationError):
        return []
    model = str(getattr(options, "model", ""))
    names = connector.known_models if issubclass(connector, LanguageModel) else ModelNames()
    found = (too_long(options.model_dump()), names.problem(model), ending(slug, model, date.today()))
    return [problem for problem in found if problem]


def _is_keyed(order: Sequence[str], config: Mapping[str, Any]) -> bool:
    """Keyed by provider names: an object that cannot be an option's value is enough to tell."""
    objects = {name for name, value in config.items() if isinstance(value, Mapping)}
    return any(slug in config for slug in order) or not objects <= _mapped_options()


@cache
def _mapped_options() -> frozenset[str]:
    """Names of options that are objects themselves, such as headers."""
    found = (field for cls in _connectors().values() for field in cls.Options.model_fields.items())
    return frozenset(name for name, field in found if get_origin(field.annotation) in (dict, Mapping))


# -- checking a document ---------------------------------------------------------------------------------


def check_connectors(connectors: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the providers in `connectors`: the names of speech and language, everybody's options.

    The names of transports are checked where sessions are opened: there are some without a provider.
    """
    problems: list[Problem] = []
    for role in (*Role, *Door):
        entry = connectors.get(role)
        if isinstance(entry, Mapping):
            problems += _check_door(role, entry) if isinstance(role, Door) else _check_role(role, entry)
    return problems


def check_credentials(named: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the providers in `credentials`. Which names there are, only the workspace can tell."""
    known = with_credentials()
    return [Problem(f"credentials.{slug[:64]}", _no_credential(slug)) for slug in named if slug not in known]


def _no_credential(slug: str) -> str:
    if credential_of(slug) != slug:
        return f"goes by the credential of {credential_of(slug)}: name it there"
    return f"is no provider with credentials; allowed: {', '.join(sorted(with_credentials()))}"


def _check_door(door: Door, entry: Mapping[str, Any]) -> list[Problem]:
    slug, config = entry.get("primary", ""), entry.get("config") or {}
    if not isinstance(slug, str) or not isinstance(config, Mapping):
        return []
    path = f"connectors.{door}.config"
    place = f"{path}.{slug}" if _is_keyed([slug], config) else path
    return _check_options(door, slug, options_by_provider([slug], config).get(slug, {}), place)


def _check_role(role: Role, entry: Mapping[str, Any]) -> list[Problem]:
    path = f"connectors.{role}"
    named = [(f"{path}.primary", entry.get("primary", ""))]
    named += [(f"{path}.fallback[{n}]", slug) for n, slug in enumerate(entry.get("fallback") or ())]
    unknown = [Problem(where, _say_unknown(role, slug)) for where, slug in named if slug not in names(role)]
    order = [slug for _, slug in named if isinstance(slug, str)]
    return unknown + _check_config(role, order, entry.get("config") or {}, f"{path}.config")


def _say_unknown(role: Role, slug: object) -> str:
    return f"“{slug}” is not a known {role} provider; allowed: {', '.join(names(role))}"


def _check_config(role: Role, order: list[str], config: Mapping[str, Any], path: str) -> list[Problem]:
    if order and config and not _is_keyed(order, config):
        return _check_options(role, order[0], config, path)
    problems: list[Problem] = []
    for slug in dict.fromkeys((*order, *config)):
        problems += _check_options(role, slug, config.get(slug, {}), f"{path}.{slug}")
    unknown = [slug for slug in config if slug not in names(role) and slug not in order]
    return problems + [Problem(f"{path}.{slug}", _say_unknown(role, slug)) for slug in unknown]


def _check_options(role: Role | Door, slug: str, values: object, path: str) -> list[Problem]:
    if slug not in names(role):
        return []
    if not isinstance(values, Mapping):
        return [Problem(path, f"must be an object with options of {slug}")]
    connector = get(role, slug)
    try:
        make_options(connector, values)
    except ValidationError as error:
        return [_problem(connector, path, detail) for detail in error.errors(include_url=False, include_input=False)]
    return []


def _problem(connector: type[Connector], path: str, detail: Mapping[str, Any]) -> Problem:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        allowed = ", ".join(connector.Options.model_fields) or "none"
        message = f"is not an option of {connector.slug}; allowed: {allowed}"
    elif detail["type"] == "too_long":
        told = detail["ctx"]
        message = f"may have {told['max_length']} entries at most, not {told['actual_length']}"
    else:
        message = str(detail["msg"]).removeprefix("Value error, ")
    return Problem(f"{path}.{location}" if location else path, message[:1].lower() + message[1:])
